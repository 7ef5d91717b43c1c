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
	}
}

// airtable ends the old pair with a refresh, and may end the whole grant when an old refresh token comes
// back.
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
	})
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

// atlassian adds further sites to the one grant of an app and account. A dead grant comes with status 403.
// Refresh tokens need the scope offline_access, and die after ninety days without use or a year.
func atlassian() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:               "atlassian",
		Name:               "Atlassian",
		DocsURL:            "https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/",
		AuthorizationURL:   "https://auth.atlassian.com/authorize",
		TokenURL:           "https://auth.atlassian.com/oauth/token",
		IdentityURL:        "https://api.atlassian.com/me",
		Identity:           connectors.Identity{ID: []string{"account_id"}, Name: []string{"email", "name"}},
		DefaultScopes:      []string{"read:me", "read:jira-work", "offline_access"},
		AuthorizeParams:    map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		Lifetime:           time.Hour,
		GrantLifetime:      365 * 24 * time.Hour,
		RefreshIdle:        90 * 24 * time.Hour,
		OneGrantPerAccount: true,
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

// confluence is [atlassian] with scopes of Confluence.
func confluence() connectors.Connector {
	c := atlassian()
	c.Slug, c.Name, c.Type = "confluence", "Confluence", "confluence"
	c.DefaultScopes = []string{"read:me", "read:confluence-content.all", "offline_access"}
	return c
}

// jira is [atlassian] with scopes of Jira.
func jira() connectors.Connector {
	c := atlassian()
	c.Slug, c.Name, c.Type = "jira", "Jira", "jira"
	c.DefaultScopes = []string{"read:me", "read:jira-work", "offline_access"}
	return c
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
