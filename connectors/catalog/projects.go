package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// projects is connectors of tools that plan and note work.
func projects() []connectors.Connector {
	return []connectors.Connector{
		airtable(),
		airtablePAT(),
		asana(),
		atlassian(),
		basecamp(),
		clickUp(),
		confluence(),
		jira(),
		linear(),
		monday(),
		notion(),
		podio(),
		productboard(),
		smartsheet(),
		todoist(),
		wrike(),
	}
}

// asana keeps the refresh token: a refresh names none.
func asana() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "asana",
		Name:             "Asana",
		DocsURL:          "https://developers.asana.com/docs/oauth",
		AuthorizationURL: "https://app.asana.com/-/oauth_authorize",
		TokenURL:         "https://app.asana.com/-/oauth_token",
		RevocationURL:    "https://app.asana.com/-/oauth_revoke",
		IdentityURL:      "https://app.asana.com/api/1.0/users/me",
		Identity:         connectors.Identity{ID: []string{"data.gid"}, Name: []string{"data.email", "data.name"}},
		PKCE:             true,
		DefaultScopes:    []string{"default"},
		Lifetime:         time.Hour,
	})
}

// clickUp has no scopes: users choose workspaces. Tokens do not end.
func clickUp() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "clickup",
		Name:             "ClickUp",
		DocsURL:          "https://developer.clickup.com/docs/authentication",
		AuthorizationURL: "https://app.clickup.com/api",
		TokenURL:         "https://api.clickup.com/api/v2/oauth/token",
		IdentityURL:      "https://api.clickup.com/api/v2/user",
		Identity:         connectors.Identity{ID: []string{"user.id"}, Name: []string{"user.email", "user.username"}},
		Body:             connectors.BodyJSON,
		NoScopes:         true,
	})
}

// linear identifies users by GraphQL only.
func linear() connectors.Connector {
	return connectors.Connector{
		Slug:             "linear",
		Name:             "Linear",
		Type:             "linear",
		DocsURL:          "https://linear.app/developers/oauth-2-0-authentication",
		AuthorizationURL: "https://linear.app/oauth/authorize",
		TokenURL:         "https://api.linear.app/oauth/token",
		RevocationURL:    "https://api.linear.app/oauth/revoke",
		IdentityURL:      "https://api.linear.app/graphql",
		Identity: connectors.Identity{
			Post: `{"query":"{ viewer { id email } }"}`, ID: []string{"data.viewer.id"}, Name: []string{"data.viewer.email"},
		},
		ClientAuth:     connectors.ClientAuthBody,
		Body:           connectors.BodyForm,
		PKCE:           true,
		ScopeSeparator: ",",
		DefaultScopes:  []string{"read"},
		Lifetime:       24 * time.Hour,
	}
}

// monday identifies users by GraphQL only, so there is no identity call. Tokens do not end.
func monday() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "monday",
		Name:             "monday.com",
		DocsURL:          "https://developer.monday.com/apps/docs/oauth",
		AuthorizationURL: "https://auth.monday.com/oauth2/authorize",
		TokenURL:         "https://auth.monday.com/oauth2/token",
	})
}

// notion has no scopes: capabilities belong to the integration. Its token requests are JSON beside Basic. Its
// other calls want a header with the version of the API.
func notion() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "notion",
		Name:             "Notion",
		DocsURL:          "https://developers.notion.com/docs/authorization",
		AuthorizationURL: "https://api.notion.com/v1/oauth/authorize",
		TokenURL:         "https://api.notion.com/v1/oauth/token",
		RevocationURL:    "https://api.notion.com/v1/oauth/revoke",
		IdentityURL:      "https://api.notion.com/v1/users/me",
		Identity: connectors.Identity{
			Headers: map[string]string{"Notion-Version": "2022-06-28"},
			TokenID: []string{"workspace_id", "owner.user.id"}, TokenName: []string{"workspace_name"},
		},
		ClientAuth:      connectors.ClientAuthBasic,
		Body:            connectors.BodyJSON,
		NoScopes:        true,
		AuthorizeParams: map[string]string{"owner": "user"},
	})
}

// podio ends refresh tokens that were not used for 28 days.
func podio() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "podio",
		Name:             "Podio",
		DocsURL:          "https://developers.podio.com/authentication/server_side",
		AuthorizationURL: "https://podio.com/oauth/authorize",
		TokenURL:         "https://api.podio.com/oauth/token/v2",
		IdentityURL:      "https://api.podio.com/user/status",
		Identity:         connectors.Identity{ID: []string{"user.user_id"}, Name: []string{"user.mail", "profile.name"}},
		Lifetime:         8 * time.Hour,
		RefreshIdle:      28 * 24 * time.Hour,
		Preview:          true,
	})
}

// productboard names no account in its API.
func productboard() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "productboard",
		Name:             "Productboard",
		DocsURL:          "https://developer.productboard.com/reference/authentication",
		AuthorizationURL: "https://app.productboard.com/oauth2/authorize",
		TokenURL:         "https://app.productboard.com/oauth2/token",
	})
}

// smartsheet is smartsheet.com; other regions are the settings of its endpoints. It revokes by a call of its
// own.
func smartsheet() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "smartsheet",
		Name:             "Smartsheet",
		DocsURL:          "https://smartsheet.redoc.ly/#section/OAuth-Walkthrough",
		AuthorizationURL: "https://app.smartsheet.com/b/authorize",
		TokenURL:         "https://api.smartsheet.com/2.0/token",
		IdentityURL:      "https://api.smartsheet.com/2.0/users/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodDelete, URL: "https://api.smartsheet.com/2.0/token", Auth: connectors.RevokeAsToken,
		},
		DefaultScopes: []string{"READ_SHEETS"},
		Lifetime:      604799 * time.Second,
	})
}

// todoist gives tokens that do not end.
func todoist() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "todoist",
		Name:             "Todoist",
		DocsURL:          "https://developer.todoist.com/api/v1/",
		AuthorizationURL: "https://todoist.com/oauth/authorize",
		TokenURL:         "https://todoist.com/oauth/access_token",
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"data:read"},
	})
}

// airtablePAT is personal access tokens of Airtable.
func airtablePAT() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "airtable-pat",
		Name:    "Airtable (personal access token)",
		Type:    "airtable",
		DocsURL: "https://airtable.com/developers/web/api/authentication",
		APIKey:  bearer("Personal access token", "On airtable.com/create/tokens.", "https://api.airtable.com/v0/meta/whoami"),
	})
}

// basecamp says type where others say grant_type, and wants a header with the name of the app in other calls.
func basecamp() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "basecamp",
		Name:             "Basecamp",
		DocsURL:          "https://github.com/basecamp/api/blob/master/sections/authentication.md",
		AuthorizationURL: "https://launchpad.37signals.com/authorization/new",
		TokenURL:         "https://launchpad.37signals.com/authorization/token",
		IdentityURL:      "https://launchpad.37signals.com/authorization.json",
		Identity:         connectors.Identity{ID: []string{"identity.id"}, Name: []string{"identity.email_address"}},
		NoScopes:         true,
		AuthorizeParams:  map[string]string{"type": "web_server"},
		Quirks: connectors.Quirks{
			ExchangeParams: map[string]string{"type": "web_server"}, RefreshParams: map[string]string{"type": "refresh"},
		},
		Lifetime: 336 * time.Hour,
	})
}

// wrike has its accounts in data centres, whose host stands in the token reply. There alone can it be asked whose
// a token is.
func wrike() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "wrike",
		Name:             "Wrike",
		DocsURL:          "https://developers.wrike.com/oauth-20-authorization/",
		AuthorizationURL: "https://login.wrike.com/oauth2/authorize/v4",
		TokenURL:         "https://login.wrike.com/oauth2/token",
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"Default"},
		Metadata:         []connectors.ReplyField{{Name: "host", Pattern: `^(?:[A-Za-z0-9.-]+)$`, Domains: []string{"wrike.com"}}},
		Lifetime:         time.Hour,
	})
}
