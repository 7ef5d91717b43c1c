package connectors

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"culvert/internal/secret"
)

// CanRevoke reports a provider that can be told that its tokens are not needed any more.
func (c *Connector) CanRevoke() bool { return c.RevocationURL != "" || c.Revocation.URL != "" }

// RevocationEndsGrant reports a provider for which the end of one token is the end of all that this client
// has of the same account, those of other grants included.
func (c *Connector) RevocationEndsGrant() bool {
	return c.RevokesAll || c.Revocation.EndsGrant || c.OneGrantPerAccount
}

// Codes of an [Error] of [Client.Revoke] that are not the provider's.
const (
	// CodeUnsupportedToken is that of RFC 7009 section 2.2.1.
	CodeUnsupportedToken = "unsupported_token_type"
	// CodeAccessExpired: the provider's call takes a living access token alone, and only the refresh token
	// lives. Nothing was sent.
	CodeAccessExpired = "access_token_expired"
)

// Revoke has a provider take tokens back: by RFC 7009, or by its own call. nil means that it said of each
// that it is gone, or that it was before. After an error, which is an [Error], the same tokens may be sent
// again: a second revocation changes nothing.
func (c *Client) Revoke(ctx context.Context, conn *Connector, creds Credentials, t Tokens) error {
	if !conn.CanRevoke() {
		return refusal("the provider has no revocation call")
	}
	all, err := conn.revocable(t, c.now())
	if err != nil {
		return err
	}
	ended := false
	var unsupported error
	for _, each := range all {
		err := c.revoke(ctx, conn, creds, each)
		switch e := Of(err); {
		case err == nil:
			ended = true
		case e != nil && e.Code == CodeUnsupportedToken:
			unsupported = err
		default:
			return err
		}
	}
	if ended {
		// RFC 7009 section 2.1: a server that takes one kind ends the grant with it; access tokens that it
		// does not take end by themselves.
		return nil
	}
	return unsupported
}

// revocable is a token that has to be sent, and what it is.
type revocable struct {
	token secret.Bytes
	// hint is token_type_hint (RFC 7009 section 2.1).
	hint string
}

// revocable is what has to be sent of a grant's tokens, in the order of sending: refresh tokens first,
// because they are what lives on.
func (c *Connector) revocable(t Tokens, now time.Time) ([]revocable, error) {
	const access, refresh = "access_token", "refresh_token"
	var all []revocable
	add := func(token secret.Bytes, hint string) {
		if token.Len() > 0 && !slices.ContainsFunc(all, func(r revocable) bool { return r.token.Equal(token) }) {
			all = append(all, revocable{token, hint})
		}
	}
	own := c.Revocation.URL != ""
	if !own || c.Revocation.Refresh {
		add(t.Refresh, refresh)
		for _, name := range slices.Sorted(maps.Keys(t.NamedRefresh)) {
			add(t.NamedRefresh[name], refresh)
		}
	}
	ended := !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
	switch {
	case own && c.Revocation.Refresh && len(all) > 0:
	case own && ended && t.Refresh.Len() > 0:
		return nil, &Error{Class: Refused, Code: CodeAccessExpired}
	case own && ended:
		return nil, nil // nothing is left of it
	default:
		add(t.Access, access)
		for _, name := range slices.Sorted(maps.Keys(t.Named)) {
			add(t.Named[name], access)
		}
	}
	if c.RevocationEndsGrant() && len(all) > 1 {
		all = all[:1]
	}
	return all, nil
}

// revoke sends one token.
func (c *Client) revoke(ctx context.Context, conn *Connector, creds Credentials, r revocable) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := newRevocation(ctx, conn, creds, r)
	if err != nil {
		return err
	}
	if err := c.egress.CheckURL(request.URL.String()); err != nil {
		return blocked(err)
	}
	a := &answer{conn: conn, sent: c.now().UTC(), secrets: []secret.Bytes{r.token, creds.Secret}}
	body, err := c.send(request, a, connected)
	if err == nil {
		err = a.revoked(body)
		clear(body)
	}
	c.log(ctx, "revocation", conn, a, err)
	return err
}

// newRevocation builds the POST of RFC 7009 section 2.1, which is a form whatever token requests are, or
// the provider's own call.
func newRevocation(ctx context.Context, conn *Connector, creds Credentials, r revocable) (*http.Request, error) {
	if conn.Revocation.URL != "" {
		return newOwnRevocation(ctx, conn, creds, r)
	}
	form := *conn
	form.Body = BodyForm
	return newRequest(ctx, &form, conn.RevocationURL, creds, params{
		{"token", r.token},
		{"token_type_hint", hiddenText(r.hint)},
	})
}

func newOwnRevocation(ctx context.Context, conn *Connector, creds Credentials, r revocable) (*http.Request, error) {
	call := &conn.Revocation
	var p params
	if call.TokenParam != "" {
		p = append(p, param{call.TokenParam, r.token})
	}
	if call.ClientParam != "" {
		p = append(p, param{call.ClientParam, hiddenText(creds.ID)})
	}
	body, err := p.encode(call.Body)
	if err != nil {
		return nil, refusal("a parameter is not UTF-8 text")
	}
	if len(p) == 0 {
		body = nil
	}
	endpoint := strings.ReplaceAll(call.URL, "${client_id}", url.PathEscape(creds.ID))
	request, err := http.NewRequestWithContext(ctx, call.Method, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, refusal("the revocation URL is not a URL") // the error would quote it
	}
	request.GetBody = nil
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if len(p) > 0 {
		request.Header.Set("Content-Type", string(call.Body))
	}
	switch call.Auth {
	case RevokeAsClient:
		request.Header.Set("Authorization", basicAuth(creds))
	case RevokeAsSecret:
		request.Header.Set("Authorization", "Client "+string(creds.Secret.Reveal()))
	case RevokeAsToken:
		request.Header.Set("Authorization", "Bearer "+string(r.token.Reveal()))
	}
	return request, nil
}

// revoked reads the answer to a revocation. nil: the token is gone.
func (a *answer) revoked(body []byte) error {
	body = bytes.TrimSpace(body)
	good := a.status >= 200 && a.status < 300
	if good && (len(body) == 0 || body[0] != '{' && body[0] != '<') {
		return nil // RFC 7009 section 2.2: what it says does not matter
	}
	r, err := a.parse(body)
	if err != nil && good {
		return err // a page of something that stands before the provider, or half of an answer
	}
	code, failed := "", false
	if err == nil {
		code, failed = r.failure()
	}
	if good && !failed && !r.False("ok") && !r.False("success") {
		return nil
	}
	if e := Of(r.Fail(code)); !a.gone(e, code) {
		return e
	}
	return nil
}

// gone reports a refusal that says that there is nothing to revoke any more: RFC 7009 has no such error,
// but the calls of providers do.
func (a *answer) gone(e *Error, code string) bool {
	asToken := a.conn.Revocation.URL != "" && a.conn.Revocation.Auth == RevokeAsToken
	switch {
	case e.Class == Transient || e.Class == Ambiguous:
		return false
	case e.Class == DeadGrant || code == "invalid_token" || code == "invalid_auth":
		return true
	case a.status == http.StatusUnauthorized && asToken:
		return true
	case a.status == http.StatusUnauthorized && e.Class == Refused:
		e.Class = ClientRejected
	}
	return slices.Contains(a.conn.Revocation.Gone, a.status)
}
