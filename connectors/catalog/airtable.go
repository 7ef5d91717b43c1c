package catalog

// https://airtable.com/developers/web/api/oauth-reference

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// airtable ends the old pair with a refresh, and may end the whole grant when an old refresh token comes
// back. A second refresh while one goes on is refused with 409.
func airtable() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:                     "airtable",
		Name:                     "Airtable",
		DocsURL:                  "https://airtable.com/developers/web/api/oauth-reference",
		AuthorizationURL:         "https://airtable.com/oauth2/v1/authorize",
		TokenURL:                 "https://airtable.com/oauth2/v1/token",
		IdentityURL:              "https://api.airtable.com/v0/meta/whoami",
		Identity:                 connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		ClientAuth:               connectors.ClientAuthBasic,
		PKCE:                     true,
		DefaultScopes:            []string{"data.records:read", "schema.bases:read"},
		Lifetime:                 time.Hour,
		RefreshIdle:              60 * 24 * time.Hour,
		KillsPreviousAccessToken: true,
		ReuseKillsFamily:         true,
		Reply:                    airtableReply,
	})
}

// airtableReply reads 409: another refresh of the grant goes on, and this one did nothing.
func airtableReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.Status() == http.StatusConflict {
		return connectors.Tokens{}, r.FailAs(connectors.Transient, r.Text("error"))
	}
	return r.Tokens()
}
