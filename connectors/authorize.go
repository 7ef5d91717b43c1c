package connectors

import (
	"errors"
	"maps"
	"net/url"
	"strings"
)

// AuthorizationRequest is what one trip of a browser to the provider adds to the connector.
type AuthorizationRequest struct {
	ClientID, RedirectURI, State string
	// Challenge is the S256 challenge of [GenerateVerifier]; it is sent if the connector takes PKCE.
	Challenge string
	// Scopes are asked for as they are. None sends no scope parameter: a caller that wants the provider's
	// defaults passes the connector's DefaultScopes, so that it knows what was asked for.
	Scopes []string
}

// AuthorizationURL is where the browser goes (RFC 6749 section 4.1.1, RFC 7636 section 4.3). Parameters
// that the provider's own URL has are kept, except for those of ours, of which each is there once.
//
// The address is the browser's to resolve, so only the URL's form is checked: https, or http on
// loopback where egress allows that. An error is an [Error] of class Blocked or Refused.
func (c *Client) AuthorizationURL(conn *Connector, r AuthorizationRequest) (string, error) {
	u, query, err := c.authorization(conn, r)
	if err != nil {
		return "", err
	}
	return conn.browserURL(u, query), nil
}

// authorization is an authorization request: the provider's URL and all parameters.
func (c *Client) authorization(conn *Connector, r AuthorizationRequest) (*url.URL, url.Values, error) {
	if conn.AuthorizationURL == "" {
		return nil, nil, refusal("the provider has no authorization endpoint")
	}
	if !conn.Complete() {
		return nil, nil, refusal("the provider's URLs need config that was not given")
	}
	if conn.PKCE && r.Challenge == "" {
		return nil, nil, refusal("a challenge is required")
	}
	u, err := c.egress.check(conn.AuthorizationURL, false)
	if err != nil {
		return nil, nil, blocked(err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, nil, refusal("the authorization URL has a malformed query")
	}
	// Also those that are not set below: a request object would be read in place of all of ours, and a
	// challenge be another's. The scopes of the URL stand where nobody asks for others.
	maps.DeleteFunc(query, func(name string, _ []string) bool { return ownParam(name) && name != "scope" })
	for name, value := range conn.AuthorizeParams {
		query.Set(name, value)
	}
	query.Set("response_type", "code")
	if !conn.Quirks.NoAuthorizeClientID {
		query.Set(conn.clientIDParam(), r.ClientID)
	}
	query.Set("redirect_uri", conn.redirectURI(r.RedirectURI))
	query.Set("state", r.State)
	if conn.PKCE {
		query.Set("code_challenge", r.Challenge)
		query.Set("code_challenge_method", "S256")
	}
	conn.setScopes(query, r.Scopes)
	return u, query, nil
}

// setScopes puts each scope into the parameter that takes it.
func (c *Connector) setScopes(query url.Values, scopes []string) {
	if c.NoScopes {
		return
	}
	lists := map[string][]string{}
	for _, scope := range scopes {
		param := "scope"
		for prefix, other := range c.ScopeRules.Params {
			if rest, ok := strings.CutPrefix(scope, prefix); ok {
				param, scope = other, rest
				break
			}
		}
		lists[param] = append(lists[param], scope)
	}
	for param, list := range lists {
		query.Set(param, strings.Join(list, c.ScopeSeparator))
	}
}

// ownParam tells the authorization parameters that are ours to set: a connector's own may not be among
// them. request and request_uri would replace all of ours (RFC 9101 section 4).
func ownParam(name string) bool {
	switch name {
	case "response_type", "client_id", "redirect_uri", "state", "scope",
		"code_challenge", "code_challenge_method", "request", "request_uri":
		return true
	}
	return false
}

func refusal(cause string) error { return &Error{Class: Refused, Cause: errors.New(cause)} }

func blocked(cause error) error { return &Error{Class: Blocked, Cause: cause} }
