package connectors

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"

	"culvert/internal/secret"
)

// Quirks are how a provider's requests and callbacks depart from RFC 6749. The zero value is none.
type Quirks struct {
	// ClientIDParam is what it calls client_id, everywhere. NoAuthorizeClientID leaves it out of the
	// authorization request, where another parameter names the app.
	ClientIDParam       string
	NoAuthorizeClientID bool
	// RedirectURI is sent in place of ours: what a provider knows our redirect URI by, where that is not
	// the URI itself.
	RedirectURI string
	// FragmentRoute is the route behind "#" that the parameters of the authorization request follow.
	FragmentRoute string
	// ExchangeParams and RefreshParams are added to those token requests.
	ExchangeParams, RefreshParams map[string]string

	// CodeParam is what its callbacks call the code.
	CodeParam string
	// CallbackPins are parameters that a callback may have, and then with these values alone: a provider with
	// many hosts names the one where the code is good.
	CallbackPins map[string]string
	// CallbackMAC is the parameter that authenticates all others: HMAC-SHA256 in hex, keyed with the client's
	// secret, of their encoding as a form in the order of their names. Without it a callback is none.
	CallbackMAC string
	// CallbackScopes is the parameter that names what was granted, where the token reply does not.
	CallbackScopes string
}

// LongLived is a provider whose codes give a token of an hour or so, which is traded at once for one of
// weeks. That token is its own refresh token, if it can be renewed at all. The trades are GETs with all in
// the query: nothing else is documented. They may be sent again, as nothing is used up.
type LongLived struct {
	// URL and Grant are those of the trade; an empty URL: there is none. TokenParam takes the token.
	URL, Grant, TokenParam string
	// ClientID sends the client's id beside its secret.
	ClientID bool
	// RefreshGrant renews at the refresh endpoint; empty: only the user can.
	RefreshGrant string
}

// clientIDParam is the name of client_id.
func (c *Connector) clientIDParam() string { return cmp.Or(c.Quirks.ClientIDParam, "client_id") }

// redirectURI is what the provider is told for ours.
func (c *Connector) redirectURI(ours string) string { return cmp.Or(c.Quirks.RedirectURI, ours) }

// CalledBack reports a callback that may be one of the connector as it is filled in. read is the value of a
// parameter, empty if it is not there.
func (c *Connector) CalledBack(read func(parameter string) string) bool {
	for name, want := range c.Quirks.CallbackPins {
		if got := read(name); got != "" && got != want {
			return false
		}
	}
	return true
}

// Signed reports a callback that the provider has authenticated, or one of a provider that does not. given are
// its parameters but for the code.
//
// Attacker: whoever changes what a callback says on its way through the browser, to have a code traded for
// another shop's. Defence: he does not have the client's secret. What stays open: an old callback that comes
// again, which the flow state holds off.
func (c *Connector) Signed(creds Credentials, code secret.Bytes, given map[string]string) bool {
	name := c.Quirks.CallbackMAC
	if name == "" {
		return true
	}
	sum, err := hex.DecodeString(given[name])
	if err != nil || creds.Secret.Len() == 0 {
		return false
	}
	query := url.Values{cmp.Or(c.Quirks.CodeParam, "code"): {string(code.Reveal())}}
	for parameter, value := range given {
		if parameter != name {
			query.Set(parameter, value)
		}
	}
	mac := hmac.New(sha256.New, creds.Secret.Reveal())
	mac.Write([]byte(query.Encode()))
	return hmac.Equal(sum, mac.Sum(nil))
}

// GrantedIn is what a callback says was granted: nil where it does not, or its provider's reply does.
func (c *Connector) GrantedIn(read func(parameter string) string) []string {
	if c.Quirks.CallbackScopes == "" {
		return nil
	}
	granted := read(c.Quirks.CallbackScopes)
	if granted == "" {
		return nil
	}
	return boundedScopes(splitScopes(granted))
}

// add appends parameters in the order of their names.
func (p params) add(more map[string]string) params {
	for _, name := range slices.Sorted(maps.Keys(more)) {
		p = append(p, param{name, hiddenText(more[name])})
	}
	return p
}
