package catalog

// https://developers.tiktok.com/doc/oauth-user-access-token-management

import (
	"time"

	"culvert/connectors"
)

// tikTok is Login Kit. It calls the client's id client_key, and sends failures with status 200. Refresh tokens
// live for a year.
func tikTok() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "tiktok",
		Name:             "TikTok",
		DocsURL:          "https://developers.tiktok.com/doc/oauth-user-access-token-management",
		AuthorizationURL: "https://www.tiktok.com/v2/auth/authorize/",
		TokenURL:         "https://open.tiktokapis.com/v2/oauth/token/",
		RevocationURL:    "https://open.tiktokapis.com/v2/oauth/revoke/",
		IdentityURL:      "https://open.tiktokapis.com/v2/user/info/?fields=open_id,display_name",
		Identity:         connectors.Identity{ID: []string{"data.user.open_id"}, Name: []string{"data.user.display_name"}},
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"user.info.basic"},
		Quirks:           connectors.Quirks{ClientIDParam: "client_key"},
		Lifetime:         24 * time.Hour,
	})
}
