package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// communication is connectors of telephony, chat and support.
func communication() []connectors.Connector {
	return []connectors.Connector{
		aircall(),
		discord(),
		freshdesk(),
		front(),
		helpScout(),
		intercom(),
		ringCentral(),
		slack(),
		webex(),
		zendesk(),
		zoom(),
	}
}

// aircall gives tokens that do not end.
func aircall() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "aircall",
		Name:             "Aircall",
		DocsURL:          "https://developer.aircall.io/tutorials/basic-authentication/",
		AuthorizationURL: "https://dashboard.aircall.io/oauth/authorize",
		TokenURL:         "https://api.aircall.io/v1/oauth/token",
		DefaultScopes:    []string{"public_api"},
	})
}

// discord takes bodies of forms only. With the scope bot a server is joined too.
func discord() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "discord",
		Name:             "Discord",
		DocsURL:          "https://discord.com/developers/docs/topics/oauth2",
		AuthorizationURL: "https://discord.com/oauth2/authorize",
		TokenURL:         "https://discord.com/api/oauth2/token",
		RevocationURL:    "https://discord.com/api/oauth2/token/revoke",
		IdentityURL:      "https://discord.com/api/users/@me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "username"}},
		DefaultScopes:    []string{"identify", "email", "guilds"},
		Lifetime:         168 * time.Hour,
	})
}

// front says when tokens end as an absolute time.
func front() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "front",
		Name:             "Front",
		DocsURL:          "https://dev.frontapp.com/docs/oauth",
		AuthorizationURL: "https://app.frontapp.com/oauth/authorize",
		TokenURL:         "https://app.frontapp.com/oauth/token",
		IdentityURL:      "https://api2.frontapp.com/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		Lifetime:         time.Hour,
	})
}

// intercom is the region of the United States; others are the settings authorization_url and token_url.
// Permissions belong to the app, and tokens do not end.
func intercom() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "intercom",
		Name:             "Intercom",
		DocsURL:          "https://developers.intercom.com/docs/build-an-integration/learn-more/authentication/setting-up-oauth",
		AuthorizationURL: "https://app.intercom.com/oauth",
		TokenURL:         "https://api.intercom.io/auth/eagle/token",
		IdentityURL:      "https://api.intercom.io/me",
		Identity:         connectors.Identity{ID: []string{"app.id_code", "id"}, Name: []string{"email", "name"}},
		NoScopes:         true,
	})
}

// ringCentral ends refresh tokens that were not used for seven days. Five tokens per user and app live at a
// time.
func ringCentral() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "ringcentral",
		Name:             "RingCentral",
		DocsURL:          "https://developers.ringcentral.com/guide/authentication/auth-code-flow",
		AuthorizationURL: "https://platform.ringcentral.com/restapi/oauth/authorize",
		TokenURL:         "https://platform.ringcentral.com/restapi/oauth/token",
		RevocationURL:    "https://platform.ringcentral.com/restapi/oauth/revoke",
		IdentityURL:      "https://platform.ringcentral.com/restapi/v1.0/account/~/extension/~",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"contact.email", "name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		Lifetime:         time.Hour,
		RefreshIdle:      7 * 24 * time.Hour,
	})
}

// webex renews the ninety days of a refresh token with each use.
func webex() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "webex",
		Name:             "Webex",
		DocsURL:          "https://developer.webex.com/docs/integrations",
		AuthorizationURL: "https://webexapis.com/v1/authorize",
		TokenURL:         "https://webexapis.com/v1/access_token",
		IdentityURL:      "https://webexapis.com/v1/people/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"emails.0", "displayName"}},
		PKCE:             true,
		DefaultScopes:    []string{"spark:people_read"},
		Lifetime:         336 * time.Hour,
		RefreshIdle:      90 * 24 * time.Hour,
	})
}

// zoom gives the scopes of the app, whatever is asked for. A refresh ends the old pair at once, and a refresh
// token that is not used lives for ninety days.
func zoom() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:                     "zoom",
		Name:                     "Zoom",
		DocsURL:                  "https://developers.zoom.us/docs/integrations/oauth/",
		AuthorizationURL:         "https://zoom.us/oauth/authorize",
		TokenURL:                 "https://zoom.us/oauth/token",
		RevocationURL:            "https://zoom.us/oauth/revoke",
		IdentityURL:              "https://api.zoom.us/v2/users/me",
		Identity:                 connectors.Identity{ID: []string{"id"}, Name: []string{"email", "display_name"}},
		ClientAuth:               connectors.ClientAuthBasic,
		PKCE:                     true,
		NoScopes:                 true,
		Lifetime:                 time.Hour,
		RefreshIdle:              90 * 24 * time.Hour,
		KillsPreviousAccessToken: true,
	})
}

// freshdesk takes any password beside the key.
func freshdesk() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "freshdesk",
		Name:    "Freshdesk",
		DocsURL: "https://developers.freshdesk.com/api/",
		Config:  []connectors.ConfigField{label("subdomain", "Subdomain", "The name before .freshdesk.com.", "acme")},
		APIKey: connectors.APIKey{
			Label: "API key", Help: "In Freshdesk in the settings of the profile.", Username: "${key}", Password: "X",
			VerifyURL: "https://${config.subdomain}.freshdesk.com/api/v2/agents/me",
		},
	})
}

// helpScout gives the permissions of the app. A refresh ends the old pair.
func helpScout() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "helpscout",
		Name:             "Help Scout",
		DocsURL:          "https://developer.helpscout.com/mailbox-api/overview/authentication/",
		AuthorizationURL: "https://secure.helpscout.net/authentication/authorizeClientApplication",
		TokenURL:         "https://api.helpscout.net/v2/oauth2/token",
		IdentityURL:      "https://api.helpscout.net/v2/users/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		NoScopes:         true,
		Lifetime:         48 * time.Hour,
	})
}

// zendesk has a host per account. Tokens end if the client was made to have them end, and the reply says so.
func zendesk() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "zendesk",
		Name:             "Zendesk",
		DocsURL:          "https://support.zendesk.com/hc/en-us/articles/4408845965210",
		AuthorizationURL: "https://${config.subdomain}.zendesk.com/oauth/authorizations/new",
		TokenURL:         "https://${config.subdomain}.zendesk.com/oauth/tokens",
		IdentityURL:      "https://${config.subdomain}.zendesk.com/api/v2/users/me.json",
		Identity:         connectors.Identity{ID: []string{"user.id"}, Name: []string{"user.email", "user.name"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodDelete, URL: "https://${config.subdomain}.zendesk.com/api/v2/oauth/tokens/current.json",
			Auth: connectors.RevokeAsToken,
		},
		Config:        []connectors.ConfigField{label("subdomain", "Subdomain", "The name before .zendesk.com.", "acme")},
		PKCE:          true,
		DefaultScopes: []string{"read"},
	})
}
