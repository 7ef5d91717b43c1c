package connectors

import (
	"cmp"
	"strings"
	"time"

	"culvert/internal/origin"
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
	// Methods are the ways in which accounts can be connected.
	Methods []Method
	// Config are the values that the provider needs besides credentials. [Connector.With] puts them into
	// the URLs below, where ${config.key} stands for them.
	Config []ConfigField

	// Both are empty for a provider without OAuth.
	AuthorizationURL, TokenURL string
	// RefreshURL is empty where refreshes go to TokenURL.
	RefreshURL string
	// PushURL is where authorization requests are pushed ahead of the browser (RFC 9126), at the origin of
	// TokenURL; empty where they go with the browser. Where it is set they never do.
	PushURL string
	// RevocationURL takes requests of RFC 7009; empty where the provider has no such endpoint, also if it
	// has another call for the purpose.
	RevocationURL string
	// Issuer is what the callback's iss must be (RFC 9207); empty where the provider sends none.
	Issuer string
	// IdentityURL answers a request with an access token as bearer: who it belongs to, as JSON. Empty where
	// the provider has no such call.
	IdentityURL string
	// Identity is how to read the answer, and where else the provider says whose account it is.
	Identity Identity
	// Revocation is the provider's own call, where it has none of RFC 7009.
	Revocation RevocationCall
	// APIKey is how it takes API keys, if Methods has that.
	APIKey APIKey

	ClientAuth ClientAuth
	Body       Body
	// PKCE sends S256 challenges (RFC 7636). Off where a provider rejects them, or does not say that it
	// takes them.
	PKCE bool
	// ScopeSeparator joins scopes in an authorization request; replies are split at spaces and commas.
	ScopeSeparator string
	DefaultScopes  []string
	// ScopeRules are how the scopes of a reply differ from those of the request.
	ScopeRules ScopeRules
	// AuthorizeParams are added to every authorization request.
	AuthorizeParams map[string]string
	// Quirks are how requests and callbacks depart from the RFC; LongLived is a second token request.
	Quirks    Quirks
	LongLived LongLived
	// NoSecret is a provider that takes clients without a secret; NoScopes one that ignores scopes.
	NoSecret, NoScopes bool

	// Metadata are members of a token reply that callers need besides the token.
	Metadata []ReplyField

	// Lifetime is that of an access token whose reply does not say; 0: it does not end.
	Lifetime time.Duration
	// ZeroNeverEnds is a provider whose expires_in of 0 means that the token does not end. Anywhere else
	// such a token has ended already.
	ZeroNeverEnds bool
	// RefreshIdle is how long a refresh token lives that is not used; 0: for ever, or not known.
	RefreshIdle time.Duration
	// GrantLifetime is when a grant ends, counted from the consent, however often it is refreshed; 0: it
	// does not, or not known.
	GrantLifetime time.Duration
	// KillsPreviousAccessToken is a provider whose refresh ends the old access token at once: its
	// margin is small, and callers wait for the refresh instead of getting a dying token.
	KillsPreviousAccessToken bool
	// ReuseKillsFamily is a provider that ends the whole grant when an old refresh token comes back.
	ReuseKillsFamily bool
	// RevokesAll is a provider where the end of one token, by RFC 7009, ends all that the client has of the
	// same account, those of other grants included.
	RevokesAll bool
	// OneGrantPerAccount is a provider that knows one grant per app and account.
	OneGrantPerAccount bool
	// DeadGrantCodes are its own names for invalid_grant; DeadClientCodes those for invalid_client;
	// TransientCodes those for temporarily_unavailable.
	DeadGrantCodes, DeadClientCodes, TransientCodes []string
	// Endings are why a grant is dead, by the codes that say so: error codes, or the finer ones that stand
	// in EndingMember, a code or a list of them, at the top of a reply or inside its error.
	Endings      map[string]Ending
	EndingMember string

	// Reply reads a token reply that no RFC describes; nil for all others. It stands in a file of the
	// provider's own, with its documentation linked on top. Its errors are those that the methods of
	// [Reply] make.
	Reply func(Reply) (Tokens, error)
	// Preview marks a provider whose authorization or token URL, or way of taking keys, was found in its
	// documentation only, if at all: nothing else that calls it was seen to agree.
	Preview bool

	// ClientOrigin is set by [Connector.With] where TokenURL's host depends on the account: the origin with
	// the variable in the place of the value. Read it through [Connector.SecretOrigin].
	ClientOrigin string
}

// SecretOrigin is what client secrets are bound to: TokenOrigin, but for providers where each account has
// a host of its own. There it is the pattern of the hosts, as in https://${config.shop}.example.com.
func (c *Connector) SecretOrigin() string {
	if c.ClientOrigin == "" && strings.Contains(authority(c.TokenURL), variable) {
		return authority(c.TokenURL)
	}
	return cmp.Or(c.ClientOrigin, c.TokenOrigin())
}

// TokenOrigin is the origin that refresh tokens go to: what grants are bound to. It is empty while the
// host holds a variable.
func (c *Connector) TokenOrigin() string { return origin.Of(c.RefreshEndpoint()) }

// RefreshEndpoint is where refreshes go.
func (c *Connector) RefreshEndpoint() string {
	if c.RefreshURL != "" {
		return c.RefreshURL
	}
	return c.TokenURL
}

// Credentials are a client's at a provider.
type Credentials struct {
	ID string
	// Secret is empty for a public client, which is then identified by its id alone, whatever the
	// connector's ClientAuth.
	Secret secret.Bytes
}

// Tokens is what a provider gave us.
type Tokens struct {
	Access, Refresh secret.Bytes
	// ExpiresAt is counted from the moment the request was sent, in whole milliseconds; zero means that the
	// token does not end.
	ExpiresAt time.Time
	// RefreshExpiresAt is zero where the provider does not say.
	RefreshExpiresAt time.Time
	// Scopes are what was granted; nil where the reply did not say, which means what was asked for
	// (RFC 6749 section 5.1) or, after a refresh, what was granted before (section 6).
	Scopes []string
	// Named are access tokens of the same reply by their provider's name (Slack: "bot", "user"); Access
	// is one of them. A refresh renews one: names that its reply lacks keep the token they had.
	Named map[string]secret.Bytes
	// Metadata are the values of the connector's fields of replies, each as its pattern has it; nil for none.
	Metadata map[string]string
	// NamedRefresh are the refresh tokens of Named, where each has its own. They are never vended.
	NamedRefresh map[string]secret.Bytes
	// NamedExpiresAt are when those of Named end; no time for one that does not.
	NamedExpiresAt map[string]time.Time
	// Account is whose they are, as far as the reply says.
	Account Account
}
