package catalog

// https://dev.fitbit.com/build/reference/web-api/troubleshooting-guide/error-messages/

import (
	"time"

	"culvert/connectors"
)

// fitbit answers a repeated refresh with the same reply for two minutes.
func fitbit() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "fitbit",
		Name:             "Fitbit",
		DocsURL:          "https://dev.fitbit.com/build/reference/web-api/authorization/",
		AuthorizationURL: "https://www.fitbit.com/oauth2/authorize",
		TokenURL:         "https://api.fitbit.com/oauth2/token",
		RevocationURL:    "https://api.fitbit.com/oauth2/revoke",
		IdentityURL:      "https://api.fitbit.com/1/user/-/profile.json",
		Identity:         connectors.Identity{ID: []string{"user.encodedId"}, Name: []string{"user.displayName"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"profile"},
		Lifetime:         8 * time.Hour,
		Reply:            fitbitReply,
	})
}

// fitbitReply reads failures, which come as a list of objects with the code as errorType.
func fitbitReply(r connectors.Reply) (connectors.Tokens, error) {
	if first, there := r.First("errors"); there {
		return connectors.Tokens{}, r.Fail(first.Text("errorType"))
	}
	return r.Tokens()
}
