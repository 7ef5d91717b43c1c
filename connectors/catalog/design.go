package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// design is connectors of files, documents, drawing and web sites.
func design() []connectors.Connector {
	return []connectors.Connector{
		adobe(),
		box(),
		canva(),
		docuSign(),
		dropbox(),
		dropboxSign(),
		figma(),
		frameIO(),
		intralinks(),
		miro(),
		mural(),
		webflow(),
		wordPress(),
	}
}

// adobe is Adobe IMS. Refresh tokens need the scope offline_access and live for fourteen days.
func adobe() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "adobe",
		Name:             "Adobe",
		DocsURL:          "https://developer.adobe.com/developer-console/docs/guides/authentication/UserAuthentication/ims",
		AuthorizationURL: "https://ims-na1.adobelogin.com/ims/authorize/v2",
		TokenURL:         "https://ims-na1.adobelogin.com/ims/token/v3",
		RevocationURL:    "https://ims-na1.adobelogin.com/ims/revoke",
		IdentityURL:      "https://ims-na1.adobelogin.com/ims/userinfo/v2",
		Identity:         connectors.Identity{ID: []string{"sub"}, Name: []string{"email", "name"}},
		PKCE:             true,
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"openid", "AdobeID", "offline_access"},
		RefreshIdle:      14 * 24 * time.Hour,
	})
}

// box gives the scopes of the app. Refresh tokens work once and live for sixty days.
func box() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "box",
		Name:             "Box",
		DocsURL:          "https://developer.box.com/guides/authentication/oauth2/",
		AuthorizationURL: "https://account.box.com/api/oauth2/authorize",
		TokenURL:         "https://api.box.com/oauth2/token",
		RevocationURL:    "https://api.box.com/oauth2/revoke",
		IdentityURL:      "https://api.box.com/2.0/users/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"login", "name"}},
		NoScopes:         true,
		Lifetime:         time.Hour,
		RefreshIdle:      60 * 24 * time.Hour,
	})
}

// canva ends the whole grant when an old refresh token comes back.
func canva() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "canva",
		Name:             "Canva",
		DocsURL:          "https://www.canva.dev/docs/connect/authentication/",
		AuthorizationURL: "https://www.canva.com/api/oauth/authorize",
		TokenURL:         "https://api.canva.com/rest/v1/oauth/token",
		RevocationURL:    "https://api.canva.com/rest/v1/oauth/revoke",
		IdentityURL:      "https://api.canva.com/rest/v1/users/me",
		Identity:         connectors.Identity{ID: []string{"team_user.team_id", "team_user.user_id"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"profile:read", "design:meta:read"},
		Lifetime:         4 * time.Hour,
		ReuseKillsFamily: true,
	})
}

// docuSign is production; the demonstration environment is the setting base_url with
// https://account-d.docusign.com. A refresh token lives for thirty days, which only the scope extended
// renews. The host of the API is told with the identity, for each account of a user: the default one's is kept.
func docuSign() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "docusign",
		Name:             "DocuSign",
		DocsURL:          "https://developers.docusign.com/platform/auth/authcode/",
		AuthorizationURL: "https://account.docusign.com/oauth/auth",
		TokenURL:         "https://account.docusign.com/oauth/token",
		IdentityURL:      "https://account.docusign.com/oauth/userinfo",
		Identity:         connectors.Identity{ID: []string{"sub"}, Name: []string{"email", "name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"signature", "extended"},
		Metadata: []connectors.ReplyField{
			{Name: "base_uri", From: connectors.FromIdentity, Path: "accounts.?is_default.base_uri", Pattern: hostURL, Domains: []string{"docusign.net"}},
			{Name: "account_id", From: connectors.FromIdentity, Path: "accounts.?is_default.account_id", Pattern: `^(?:[0-9A-Fa-f-]{1,64})$`},
		},
		Lifetime:    8 * time.Hour,
		RefreshIdle: 30 * 24 * time.Hour,
	})
}

// dropbox gives a refresh token with token_access_type=offline only. Its calls for identity and revocation
// are POSTs of its own.
func dropbox() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "dropbox",
		Name:             "Dropbox",
		DocsURL:          "https://developers.dropbox.com/oauth-guide",
		AuthorizationURL: "https://www.dropbox.com/oauth2/authorize",
		TokenURL:         "https://api.dropboxapi.com/oauth2/token",
		IdentityURL:      "https://api.dropboxapi.com/2/users/get_current_account",
		Identity:         connectors.Identity{Post: "null", ID: []string{"account_id"}, Name: []string{"email"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://api.dropboxapi.com/2/auth/token/revoke", Auth: connectors.RevokeAsToken,
		},
		PKCE:            true,
		AuthorizeParams: map[string]string{"token_access_type": "offline"},
		Lifetime:        4 * time.Hour,
	})
}

// figma refreshes at a URL of its own, and names no refresh token there: the first one stays. Codes live for
// thirty seconds.
func figma() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "figma",
		Name:             "Figma",
		DocsURL:          "https://developers.figma.com/docs/rest-api/authentication/",
		AuthorizationURL: "https://www.figma.com/oauth",
		TokenURL:         "https://api.figma.com/v1/oauth/token",
		RefreshURL:       "https://api.figma.com/v1/oauth/refresh",
		IdentityURL:      "https://api.figma.com/v1/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "handle"}},
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"current_user:read", "file_content:read"},
		Lifetime:         2160 * time.Hour,
	})
}

// miro gives the scopes of the app. It revokes by a call of its own.
func miro() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "miro",
		Name:             "Miro",
		DocsURL:          "https://developers.miro.com/docs/getting-started-with-oauth",
		AuthorizationURL: "https://miro.com/oauth/authorize",
		TokenURL:         "https://api.miro.com/v1/oauth/token",
		IdentityURL:      "https://api.miro.com/v1/oauth-token",
		Identity:         connectors.Identity{ID: []string{"team.id", "user.id"}, Name: []string{"user.name"}},
		NoScopes:         true,
		Lifetime:         3599 * time.Second,
		RefreshIdle:      60 * 24 * time.Hour,
	})
}

// mural gives tokens for fifteen minutes.
func mural() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "mural",
		Name:             "Mural",
		DocsURL:          "https://developers.mural.co/public/docs/oauth",
		AuthorizationURL: "https://app.mural.co/api/public/v1/authorization/oauth2/",
		TokenURL:         "https://app.mural.co/api/public/v1/authorization/oauth2/token",
		IdentityURL:      "https://app.mural.co/api/public/v1/users/me",
		Identity:         connectors.Identity{ID: []string{"value.id"}, Name: []string{"value.email"}},
		DefaultScopes:    []string{"identity:read"},
	})
}

// webflow gives tokens that do not end.
func webflow() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "webflow",
		Name:             "Webflow",
		DocsURL:          "https://developers.webflow.com/data/reference/oauth-app",
		AuthorizationURL: "https://webflow.com/oauth/authorize",
		TokenURL:         "https://api.webflow.com/oauth/access_token",
		IdentityURL:      "https://api.webflow.com/v2/token/authorized_by",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"authorized_user:read", "sites:read"},
	})
}

// wordPress gives a token for one blog unless the scope is global. Tokens do not end.
func wordPress() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "wordpress",
		Name:             "WordPress.com",
		DocsURL:          "https://developer.wordpress.com/docs/oauth2/",
		AuthorizationURL: "https://public-api.wordpress.com/oauth2/authorize",
		TokenURL:         "https://public-api.wordpress.com/oauth2/token",
		IdentityURL:      "https://public-api.wordpress.com/rest/v1.1/me",
		Identity:         connectors.Identity{ID: []string{"ID"}, Name: []string{"email", "username"}},
		DefaultScopes:    []string{"auth"},
	})
}

// dropboxSign refreshes at a URL with a query.
func dropboxSign() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "dropbox-sign",
		Name:             "Dropbox Sign",
		DocsURL:          "https://developers.hellosign.com/docs/authentication/oauth2/overview/",
		AuthorizationURL: "https://app.hellosign.com/oauth/authorize",
		TokenURL:         "https://app.hellosign.com/oauth/token",
		RefreshURL:       "https://app.hellosign.com/oauth/token?refresh",
		IdentityURL:      "https://api.hellosign.com/v3/account",
		Identity:         connectors.Identity{ID: []string{"account.account_id"}, Name: []string{"account.email_address"}},
		Lifetime:         24 * time.Hour,
	})
}

// frameIO is version 4, whose users sign in at [adobe].
func frameIO() connectors.Connector {
	c := adobe()
	c.Slug, c.Name, c.Type = "frame-io", "Frame.io", "frame-io"
	c.DocsURL = "https://developer.adobe.com/frameio/guides/Authentication/"
	c.IdentityURL = "https://api.frame.io/v4/me"
	c.Identity = connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.email", "data.name"}}
	c.DefaultScopes = []string{"openid", "profile", "email", "offline_access", "additional_info.roles"}
	c.Preview = true
	return c
}

// intralinks names no account to everybody who has a token.
func intralinks() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "intralinks",
		Name:             "Intralinks",
		DocsURL:          "https://developers.intralinks.com/",
		AuthorizationURL: "https://api.intralinks.com/v2/oauth/authorize",
		TokenURL:         "https://api.intralinks.com/v2/oauth/token",
		NoScopes:         true,
		Preview:          true,
	})
}
