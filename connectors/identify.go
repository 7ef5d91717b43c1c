package connectors

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/secret"
	"culvert/internal/text"
)

const (
	// identityTimeout bounds an identity call: a person waits for it, with tokens that are stored nowhere yet.
	identityTimeout = 5 * time.Second
	// maxAccountBytes bounds an id and a name.
	maxAccountBytes = 255
)

// Account is whose account a token is of, in the provider's words. Both are printable text of at most 255
// bytes, and empty where the provider did not say.
type Account struct {
	// ID names the account for good, Name is what people call it.
	ID, Name string
}

// Identified is what a provider says of a token: whose it is, and the values of the connector's fields
// ([ReplyField]), each as its rules have it; nil for none.
type Identified struct {
	Account
	Metadata map[string]string
}

// CanIdentify reports a connector that can be asked whose a token is.
func (c *Connector) CanIdentify() bool { return c.IdentityURL != "" && len(c.Identity.ID) > 0 }

// Identify asks the provider whose account a token is of, and for what else it says there. Nothing at the
// provider changes by it, so it may be asked again. Errors are of type [Error].
func (c *Client) Identify(ctx context.Context, conn *Connector, access secret.Bytes) (Identified, error) {
	if !conn.CanIdentify() {
		return Identified{}, refusal("the provider has no identity call")
	}
	if !conn.Complete() {
		return Identified{}, refusal("the provider's URLs need config that was not given")
	}
	if err := c.egress.CheckURL(conn.IdentityURL); err != nil {
		return Identified{}, blocked(err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.timeout, identityTimeout))
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := newIdentityRequest(ctx, conn, access)
	if err != nil {
		return Identified{}, err
	}
	a := &answer{conn: conn, sent: c.now().UTC(), secrets: []secret.Bytes{access}}
	body, err := c.send(request, a, connected)
	if err != nil {
		return Identified{}, err
	}
	defer clear(body)
	if a.status < 200 || a.status > 299 {
		return Identified{}, &Error{
			Class: Refused, Status: a.status, RetryAfter: a.retryAfter,
			Cause: errors.New("the identity call was refused, status " + strconv.Itoa(a.status)),
		}
	}
	return a.account(body)
}

func newIdentityRequest(ctx context.Context, conn *Connector, access secret.Bytes) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if conn.Identity.Post != "" {
		method, body = http.MethodPost, bytes.NewReader([]byte(conn.Identity.Post))
	}
	request, err := http.NewRequestWithContext(ctx, method, conn.IdentityURL, body)
	if err != nil {
		return nil, refusal("the identity URL is not a URL") // the error would quote it
	}
	request.GetBody = nil
	own := false
	for name, value := range conn.Identity.Headers {
		filled := strings.ReplaceAll(value, "${token}", string(access.Reveal()))
		own = own || filled != value
		request.Header.Set(name, filled)
	}
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json")
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", userAgent)
	if !own {
		request.Header.Set("Authorization", "Bearer "+string(access.Reveal()))
	}
	return request, nil
}

// account reads the answer of an identity call.
func (a *answer) account(body []byte) (Identified, error) {
	v := jsontext.Value(bytes.TrimSpace(body))
	if !shallow(v) {
		return Identified{}, Reply{answer: a}.Unreadable("is no JSON, or nested too deeply")
	}
	account := a.conn.Identity.read(a.conn.Identity.ID, a.conn.Identity.Name, func(path string) string { return lookup(v, path) }, a.secrets)
	if account.ID == "" {
		return Identified{}, Reply{answer: a}.Unreadable("does not say whose the account is")
	}
	return Identified{account, a.conn.metadataOf(v)}, nil
}

// accountOf reads what a token reply says of the account.
func (r Reply) accountOf(t Tokens) Account {
	i := &r.conn.Identity
	secrets := append([]secret.Bytes{t.Access, t.Refresh}, r.secrets...)
	return i.read(i.TokenID, i.TokenName, func(path string) string {
		first, rest, _ := strings.Cut(path, ".")
		v := r.member(first)
		if first == idToken {
			v = claims(v)
		}
		return lookup(v, rest)
	}, secrets)
}

// read takes an id and a name from where their paths lead. An id needs all of its paths.
//
// Attacker: a provider, a custom one for example, that sends the token back as a name, to have it shown in
// lists and events. Defence: a text that holds a secret of the call is none. Gap: a part of a token, or
// the token in another encoding; who made the token may give it to anybody anyway.
func (i *Identity) read(id, name []string, at func(path string) string, secrets []secret.Bytes) Account {
	var a Account
	parts := make([]string, 0, len(id))
	for _, path := range id {
		part := at(path)
		if part == "" {
			parts = nil
			break
		}
		parts = append(parts, part)
	}
	if whole := strings.Join(parts, "/"); len(whole) <= maxAccountBytes && presentable(whole, secrets) {
		a.ID = whole
	}
	for _, path := range name {
		if found := strings.TrimSpace(at(path)); found != "" && presentable(found, secrets) {
			a.Name = cut(found, maxAccountBytes)
			break
		}
	}
	return a
}

func presentable(s string, secrets []secret.Bytes) bool {
	if text.Unprintable(s) {
		return false
	}
	for _, hidden := range secrets {
		if hidden.Len() >= 8 && bytes.Contains([]byte(s), hidden.Reveal()) {
			return false
		}
	}
	return true
}

// cut shortens a text to whole characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// FromCallback is what a callback's parameters say, where the provider says it there alone. They come through
// the browser: its user can say what he likes of his own account.
func (c *Connector) FromCallback(parameter func(name string) string) Identified {
	said := Identified{Metadata: c.metadata(FromCallback, parameter)}
	if c.Identity.CallbackID != "" {
		if id := parameter(c.Identity.CallbackID); len(id) <= maxAccountBytes && !text.Unprintable(id) {
			said.ID = id
		}
	}
	return said
}
