package connectors

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"culvert/internal/secret"
)

const (
	// defaultTimeout bounds a whole call, from the name's lookup to the last byte of the reply.
	defaultTimeout = 20 * time.Second
	// maxReplyBytes bounds a reply; token replies have a few kilobytes.
	maxReplyBytes = 1 << 20
	// maxHeaderBytes bounds a reply's header.
	maxHeaderBytes = 64 << 10
	userAgent      = "culvert"
)

// ClientConfig is what a [Client] is made of.
type ClientConfig struct {
	// Egress is required.
	Egress *Egress
	// Timeout bounds a whole call; default 20 s.
	Timeout time.Duration
	// RootCAs are whom TLS trusts; default the system's.
	RootCAs *x509.CertPool
	// Now defaults to time.Now.
	Now func() time.Time
	// Logger gets one line per call at debug level, without anything of the request or the reply;
	// default none.
	Logger *slog.Logger
}

// Client calls the endpoints of providers at which tokens are had, told whose they are, and revoked. Every call is
// sent at most once: there is no retry, no redirect, no second try with another client authentication, and no
// connection that an earlier call left behind, on which net/http would send again. It is safe for concurrent use.
type Client struct {
	egress    *Egress
	timeout   time.Duration
	now       func() time.Time
	logger    *slog.Logger
	transport *http.Transport
}

// NewClient returns a client that is ready.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Egress == nil {
		return nil, errors.New("connectors: a client needs egress rules")
	}
	if c.Timeout < 0 {
		return nil, errors.New("connectors: a negative timeout")
	}
	client := &Client{egress: c.Egress, timeout: c.Timeout, now: c.Now, logger: c.Logger}
	if client.timeout == 0 {
		client.timeout = defaultTimeout
	}
	if client.now == nil {
		client.now = time.Now
	}
	if client.logger == nil {
		client.logger = slog.New(slog.DiscardHandler)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // HTTP/2 would repeat a request after GOAWAY and REFUSED_STREAM
	client.transport = &http.Transport{
		Proxy:                  nil, // a proxy would resolve the name itself, behind the egress rules
		DialContext:            c.Egress.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs},
		TLSHandshakeTimeout:    connectTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true, // a small reply must not unfold into a large one
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              protocols,
	}
	return client, nil
}

// ExchangeRequest is a callback's code with what its flow began with.
type ExchangeRequest struct {
	Code, Verifier secret.Bytes
	// RedirectURI is the one of the authorization request (RFC 6749 section 4.1.3).
	RedirectURI string
}

// Exchange trades a code for tokens. Codes live for as little as 30 s: call it at once. A code that was
// sent must not be sent again, whatever the error, which is an [Error].
func (c *Client) Exchange(ctx context.Context, conn *Connector, creds Credentials, r ExchangeRequest) (Tokens, error) {
	if conn.PKCE && r.Verifier.Len() == 0 {
		return Tokens{}, refusal("a verifier is required")
	}
	p := params{
		{"grant_type", hiddenText("authorization_code")},
		{"code", r.Code},
		{"redirect_uri", hiddenText(conn.redirectURI(r.RedirectURI))},
	}.add(conn.Quirks.ExchangeParams)
	sent := []secret.Bytes{r.Code, creds.Secret}
	if conn.PKCE {
		p = append(p, param{"code_verifier", r.Verifier})
		sent = append(sent, r.Verifier)
	}
	tokens, err := c.call(ctx, conn, conn.TokenURL, creds, p, sent)
	if err != nil || conn.LongLived.URL == "" {
		return tokens, err
	}
	return c.prolong(ctx, conn, creds, tokens), nil
}

// Refresh trades a refresh token for new tokens. The result has the old refresh token where the reply
// has none: it goes on being good (RFC 6749 section 6). Errors are of type [Error]; after an Ambiguous
// one the old token may be used up.
func (c *Client) Refresh(ctx context.Context, conn *Connector, creds Credentials, refresh secret.Bytes) (Tokens, error) {
	if conn.LongLived.RefreshGrant != "" {
		return c.renew(ctx, conn, refresh)
	}
	p := params{
		{"grant_type", hiddenText("refresh_token")},
		{"refresh_token", refresh},
	}.add(conn.Quirks.RefreshParams)
	tokens, err := c.call(ctx, conn, conn.RefreshEndpoint(), creds, p, []secret.Bytes{refresh, creds.Secret})
	if err != nil {
		return Tokens{}, err
	}
	if tokens.Refresh.Len() == 0 {
		tokens.Refresh = refresh
	}
	return tokens, nil
}

// call sends one token request and reads its reply. sent are the secrets in it.
func (c *Client) call(ctx context.Context, conn *Connector, endpoint string, creds Credentials, p params, sent []secret.Bytes) (Tokens, error) {
	if endpoint == "" {
		return Tokens{}, refusal("the provider has no token endpoint")
	}
	if !conn.Complete() {
		return Tokens{}, refusal("the provider's URLs need config that was not given")
	}
	if err := c.egress.CheckURL(endpoint); err != nil {
		return Tokens{}, blocked(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := newRequest(ctx, conn, endpoint, creds, p)
	if err != nil {
		return Tokens{}, err
	}
	a := &answer{conn: conn, sent: c.now().UTC(), secrets: sent}
	tokens, err := c.roundTrip(request, a, connected)
	c.log(ctx, "token request", conn, a, err)
	return tokens, err
}

// roundTrip sends a token request and reads the tokens in the reply.
func (c *Client) roundTrip(request *http.Request, a *answer, connected *atomic.Bool) (Tokens, error) {
	body, err := c.send(request, a, connected)
	if err != nil {
		return Tokens{}, err
	}
	tokens, err := a.read(body)
	clear(body)
	return tokens, err
}

// noted is a context for one request, and whether there was a connection for it. Once there is one, the request may
// have been written. net/http tells later too, but what it has written is not what has left, so the earlier moment
// is the safe one.
func noted(ctx context.Context) (context.Context, *atomic.Bool) {
	connected := new(atomic.Bool)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	return httptrace.WithClientTrace(ctx, trace), connected
}

// send does without http.Client, which would follow redirects, and with the code or token.
func (c *Client) send(request *http.Request, a *answer, connected *atomic.Bool) ([]byte, error) {
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, transportError(err, connected.Load())
	}
	defer func() { _ = response.Body.Close() }()
	a.status = response.StatusCode
	a.received = c.now().UTC()
	a.date = replyDate(response.Header)
	a.retryAfter = retryAfter(response.Header, a.received)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReplyBytes+1))
	switch {
	case err != nil:
		return nil, Reply{answer: a}.Unreadable("broke off: " + causeOf(err).Error())
	case len(body) > maxReplyBytes:
		return nil, Reply{answer: a}.Unreadable("is larger than 1 MiB")
	}
	return body, nil
}

// log writes what an operator needs to see of a call. The URL is not in it: a custom one may have a key
// in its query.
func (c *Client) log(ctx context.Context, what string, conn *Connector, a *answer, err error) {
	attrs := []slog.Attr{
		slog.String("connector", conn.Slug),
		slog.Int("status", a.status),
		slog.Duration("took", c.now().UTC().Sub(a.sent)),
	}
	if e := Of(err); e != nil {
		attrs = append(attrs, slog.String("class", e.Class.String()), slog.String("code", e.Code))
	}
	c.logger.LogAttrs(ctx, slog.LevelDebug, what, attrs...)
}

// newRequest builds the POST of RFC 6749 sections 4.1.3 and 6.
func newRequest(ctx context.Context, conn *Connector, endpoint string, creds Credentials, p params) (*http.Request, error) {
	how := conn.ClientAuth
	if creds.Secret.Len() == 0 {
		how = ClientAuthNone
	}
	if how != ClientAuthBasic {
		p = append(p, param{conn.clientIDParam(), hiddenText(creds.ID)})
	}
	if how == ClientAuthBody {
		p = append(p, param{"client_secret", creds.Secret})
	}
	body, err := p.encode(conn.Body)
	if err != nil {
		return nil, refusal("a parameter is not UTF-8 text")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, refusal("the token endpoint is not a URL") // the error would quote it
	}
	request.GetBody = nil // without it, nothing below can send the body again
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", string(conn.Body))
	request.Header.Set("User-Agent", userAgent)
	if how == ClientAuthBasic {
		request.Header.Set("Authorization", basicAuth(creds))
	}
	return request, nil
}
