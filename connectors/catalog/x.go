package catalog

// https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code

import (
	"time"

	"culvert/connectors"
)

// xCom is X, formerly Twitter. Refresh tokens work once, and need the scope offline.access; codes live for
// thirty seconds.
func xCom() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "x",
		Name:             "X",
		DocsURL:          "https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code",
		AuthorizationURL: "https://x.com/i/oauth2/authorize",
		TokenURL:         "https://api.x.com/2/oauth2/token",
		RevocationURL:    "https://api.x.com/2/oauth2/revoke",
		IdentityURL:      "https://api.x.com/2/users/me",
		Identity:         connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.username"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"tweet.read", "users.read", "offline.access"},
		Lifetime:         2 * time.Hour,
		Reply:            xReply,
	})
}

// xReply reads a refresh token or code that is no longer good, which X calls an invalid request. Its text
// alone tells it from a request that is wrong in itself, and that must not end a grant.
func xReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.Text("error") == "invalid_request" {
		switch r.Text("error_description") {
		case "Value passed for the token was invalid.", "Value passed for the authorization code was invalid.":
			return connectors.Tokens{}, r.Fail("invalid_grant")
		}
	}
	return r.Tokens()
}
