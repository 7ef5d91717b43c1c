package catalog

// https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/
// https://dev.twitch.tv/docs/authentication/refresh-tokens/

import (
	"strings"

	"culvert/connectors"
)

// twitch names scopes as a list, and failures by a message without a code. A grant ends with the user's
// password.
func twitch() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "twitch",
		Name:             "Twitch",
		DocsURL:          "https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/",
		AuthorizationURL: "https://id.twitch.tv/oauth2/authorize",
		TokenURL:         "https://id.twitch.tv/oauth2/token",
		RevocationURL:    "https://id.twitch.tv/oauth2/revoke",
		IdentityURL:      "https://id.twitch.tv/oauth2/validate",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"login"}},
		DefaultScopes:    []string{"user:read:email"},
		Methods:          []connectors.Method{connectors.MethodOAuth, connectors.MethodClientCredentials},
		Reply:            twitchReply,
	})
}

// twitchReply reads {"status", "message"}, which say no with the name of the status as error, or without one.
func twitchReply(r connectors.Reply) (connectors.Tokens, error) {
	switch strings.ToLower(r.Text("message")) {
	case "invalid refresh token", "invalid authorization code":
		return connectors.Tokens{}, r.Fail("invalid_grant")
	case "invalid client", "invalid client secret":
		return connectors.Tokens{}, r.Fail("invalid_client")
	}
	return r.Tokens()
}
