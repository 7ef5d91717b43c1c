package connectors

import (
	"net/url"
	"time"

	"culvert/internal/secret"
)

// ClientAuth is how a provider wants the client to authenticate at its token endpoint. It is set per
// provider and never probed: a second try would send a one-time code or refresh token twice.
type ClientAuth string

// The ways of RFC 6749 section 2.3.1. ClientAuthNone is a public client.
const (
	ClientAuthBody  ClientAuth = "request_body"
	ClientAuthBasic ClientAuth = "basic_auth_header"
	ClientAuthNone  ClientAuth = "none"
)

// Body is the content type of a token request.
type Body string

// The bodies that providers take.
const (
	BodyForm Body = "application/x-www-form-urlencoded"
	BodyJSON Body = "application/json"
)

// Connector is one provider as data: where its endpoints are and how it departs from the RFCs. It is
// immutable and shared.
type Connector struct {
	// Slug is its name in URLs and in the API; Name is what people call the provider.
	Slug, Name string
	// Type is the contract's integration_type: a name of its catalogue, or "custom".
	Type    string
	DocsURL string

	AuthorizationURL, TokenURL string
	// RefreshURL is empty where refreshes go to TokenURL. RevocationURL is empty where there is none.
	RefreshURL, RevocationURL string
	// Issuer is what the callback's iss must be (RFC 9207); empty where the provider sends none.
	Issuer string
	// IdentityURL answers who a token belongs to; empty where the provider has no such call.
	IdentityURL string

	ClientAuth ClientAuth
	Body       Body
	// PKCE sends S256 challenges (RFC 7636). Off only where a provider rejects them.
	PKCE bool
	// ScopeSeparator joins scopes in an authorization request; replies are split at spaces and commas.
	ScopeSeparator string
	DefaultScopes  []string
	// AuthorizeParams are added to every authorization request.
	AuthorizeParams map[string]string
	// NoSecret is a provider that takes clients without a secret; NoScopes one that ignores scopes.
	NoSecret, NoScopes bool

	// Lifetime is that of an access token whose reply does not say; 0: it does not end.
	Lifetime time.Duration
	// KillsPreviousAccessToken is a provider whose refresh ends the old access token at once: its
	// margin is small, and callers wait for the refresh instead of getting a dying token.
	KillsPreviousAccessToken bool
	// ReuseKillsFamily is a provider that ends the whole grant when an old refresh token comes back.
	ReuseKillsFamily bool
	// OneGrantPerAccount is a provider that knows one grant per app and account.
	OneGrantPerAccount bool
	// DeadGrantCodes are its own names for invalid_grant; DeadClientCodes those for invalid_client.
	DeadGrantCodes, DeadClientCodes []string

	// Reply reads a token reply that no RFC describes; nil for all others. It stands in a file of the
	// provider's own, with its documentation linked on top.
	Reply func(status int, body []byte) (Tokens, error)
	// Preview marks data whose URLs nobody has verified.
	Preview bool
}

// TokenOrigin is the origin that refresh tokens and client secrets go to: what grants are bound to.
func (c *Connector) TokenOrigin() string { return Origin(c.RefreshEndpoint()) }

// RefreshEndpoint is where refreshes go.
func (c *Connector) RefreshEndpoint() string {
	if c.RefreshURL != "" {
		return c.RefreshURL
	}
	return c.TokenURL
}

// Origin is scheme, host and port of a URL (RFC 6454), or "" if it has none.
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Credentials are a client's at a provider.
type Credentials struct {
	ID     string
	Secret secret.Bytes
}

// Tokens is what a provider gave us.
type Tokens struct {
	Access, Refresh secret.Bytes
	// ExpiresAt is counted from the moment the request was sent; zero means that the token does not end.
	ExpiresAt time.Time
	// RefreshExpiresAt is zero where the provider does not say.
	RefreshExpiresAt time.Time
	// Scopes are what was granted; nil where the reply did not say, which means what was asked for
	// (RFC 6749 section 5.1).
	Scopes []string
	// Named are further access tokens of the same reply, by their provider's name (Slack: "bot", "user").
	Named map[string]secret.Bytes
}

// Class tells what may be concluded from a failed call.
type Class int

// The classes of practice: what a broker may do next depends on nothing else.
const (
	// Transient: the provider is down or busy; nothing happened. Retry later.
	Transient Class = iota + 1
	// Ambiguous: the request was sent and no readable answer came; it may have taken effect.
	Ambiguous
	// DeadGrant: the provider says that this code or refresh token is no longer good.
	DeadGrant
	// ClientRejected: the provider refuses the client itself. No account is to blame.
	ClientRejected
	// Refused: any other definite refusal, such as a wrong parameter.
	Refused
	// Blocked: our own rules forbid the address; nothing was sent.
	Blocked
)

// Error is a failed call to a provider. It never holds a body, a token or a URL with a query.
type Error struct {
	Class Class
	// Code is the provider's error code if it is made of [a-z0-9_.-] and short, else "".
	Code string
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is the provider's wish, 0 without one.
	RetryAfter time.Duration
	// Cause is for the log; it holds no part of the request or the reply.
	Cause error
}

func (e *Error) Error() string {
	text := "connectors: provider call failed"
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }
