package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// developer is connectors of tools for building and running software.
func developer() []connectors.Connector {
	return []connectors.Connector{
		bitbucket(),
		contentful(),
		digitalOcean(),
		github(),
		githubApp(),
		gitlab(),
		heroku(),
		netlify(),
		pagerDuty(),
		segment(),
		sentry(),
		vercel(),
	}
}

// bitbucket is Bitbucket Cloud. A consumer has its scopes; a request can only narrow them.
func bitbucket() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "bitbucket",
		Name:             "Bitbucket",
		DocsURL:          "https://developer.atlassian.com/cloud/bitbucket/oauth-2/",
		AuthorizationURL: "https://bitbucket.org/site/oauth2/authorize",
		TokenURL:         "https://bitbucket.org/site/oauth2/access_token",
		IdentityURL:      "https://api.bitbucket.org/2.0/user",
		Identity:         connectors.Identity{ID: []string{"account_id"}, Name: []string{"username", "display_name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		Lifetime:         2 * time.Hour,
	})
}

// contentful is the management API.
func contentful() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "contentful",
		Name:             "Contentful",
		DocsURL:          "https://www.contentful.com/developers/docs/extensibility/oauth/",
		AuthorizationURL: "https://be.contentful.com/oauth/authorize",
		TokenURL:         "https://be.contentful.com/oauth/token",
		IdentityURL:      "https://api.contentful.com/users/me",
		Identity:         connectors.Identity{ID: []string{"sys.id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"content_management_manage"},
	})
}

// digitalOcean revokes by a call of its own, with the token as bearer.
func digitalOcean() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "digitalocean",
		Name:             "DigitalOcean",
		DocsURL:          "https://docs.digitalocean.com/reference/api/oauth/",
		AuthorizationURL: "https://cloud.digitalocean.com/v1/oauth/authorize",
		TokenURL:         "https://cloud.digitalocean.com/v1/oauth/token",
		IdentityURL:      "https://api.digitalocean.com/v2/account",
		Identity:         connectors.Identity{ID: []string{"account.uuid"}, Name: []string{"account.email"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://cloud.digitalocean.com/v1/oauth/revoke",
			Auth: connectors.RevokeAsToken, TokenParam: "token", Body: connectors.BodyForm,
		},
		DefaultScopes: []string{"read"},
		Lifetime:      720 * time.Hour,
	})
}

// gitlab is gitlab.com; one of your own is the setting base_url. A refresh ends the old pair at once.
func gitlab() connectors.Connector {
	return connectors.Connector{
		Slug:                     "gitlab",
		Name:                     "GitLab",
		Type:                     "gitlab",
		DocsURL:                  "https://docs.gitlab.com/api/oauth2/",
		AuthorizationURL:         "https://gitlab.com/oauth/authorize",
		TokenURL:                 "https://gitlab.com/oauth/token",
		RevocationURL:            "https://gitlab.com/oauth/revoke",
		IdentityURL:              "https://gitlab.com/api/v4/user",
		Identity:                 connectors.Identity{ID: []string{"id"}, Name: []string{"username"}},
		ClientAuth:               connectors.ClientAuthBody,
		Body:                     connectors.BodyForm,
		PKCE:                     true,
		ScopeSeparator:           " ",
		DefaultScopes:            []string{"read_user"},
		Lifetime:                 2 * time.Hour,
		KillsPreviousAccessToken: true,
	}
}

// heroku revokes by a call of its own API.
func heroku() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "heroku",
		Name:             "Heroku",
		DocsURL:          "https://devcenter.heroku.com/articles/oauth",
		AuthorizationURL: "https://id.heroku.com/oauth/authorize",
		TokenURL:         "https://id.heroku.com/oauth/token",
		IdentityURL:      "https://api.heroku.com/account",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"identity", "read"},
		Lifetime:         8 * time.Hour,
	})
}

// netlify gives tokens that do not end.
func netlify() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "netlify",
		Name:             "Netlify",
		DocsURL:          "https://docs.netlify.com/api/get-started/",
		AuthorizationURL: "https://app.netlify.com/authorize",
		TokenURL:         "https://api.netlify.com/oauth/token",
		IdentityURL:      "https://api.netlify.com/api/v1/user",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "full_name"}},
		Preview:          true,
	})
}

// pagerDuty is its apps of today; classic ones have other endpoints.
func pagerDuty() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "pagerduty",
		Name:             "PagerDuty",
		DocsURL:          "https://developer.pagerduty.com/docs/oauth-functionality",
		AuthorizationURL: "https://identity.pagerduty.com/oauth/authorize",
		TokenURL:         "https://identity.pagerduty.com/oauth/token",
		IdentityURL:      "https://api.pagerduty.com/users/me",
		Identity:         connectors.Identity{ID: []string{"user.id"}, Name: []string{"user.email", "user.name"}},
		PKCE:             true,
		Preview:          true,
	})
}

// segment names no account in its API.
func segment() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "segment",
		Name:             "Segment",
		DocsURL:          "https://segment.com/docs/partners/enable-with-segment/",
		AuthorizationURL: "https://id.segmentapis.com/oauth2/auth",
		TokenURL:         "https://id.segmentapis.com/oauth2/token",
		ClientAuth:       connectors.ClientAuthBasic,
	})
}

// sentry is sentry.io; one of your own is the setting base_url.
func sentry() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "sentry",
		Name:             "Sentry",
		DocsURL:          "https://docs.sentry.io/api/auth/",
		AuthorizationURL: "https://sentry.io/oauth/authorize/",
		TokenURL:         "https://sentry.io/oauth/token/",
		DefaultScopes:    []string{"org:read", "project:read"},
		Preview:          true,
	})
}

// vercel is an integration that is installed at a page named for it. Tokens do not end, and permissions belong to
// the integration.
func vercel() connectors.Connector {
	slug := label("slug", "Integration slug", "The name of the integration in its URL at Vercel.", "acme")
	slug.Scope = connectors.ConfigIntegration
	return ordinary(connectors.Connector{
		Slug:             "vercel",
		Name:             "Vercel",
		DocsURL:          "https://vercel.com/docs/integrations",
		AuthorizationURL: "https://vercel.com/integrations/${config.slug}/new",
		TokenURL:         "https://api.vercel.com/v2/oauth/access_token",
		IdentityURL:      "https://api.vercel.com/v2/user",
		Identity:         connectors.Identity{TokenID: []string{"installation_id", "user_id"}},
		Config:           []connectors.ConfigField{slug},
		NoScopes:         true,
		Preview:          true,
	})
}
