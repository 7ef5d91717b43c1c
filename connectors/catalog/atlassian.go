package catalog

// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/

import (
	"time"

	"culvert/connectors"
)

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
		Reply:              atlassianReply,
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

// atlassianReply reads a refresh token that is no longer good, which is sometimes called a client that may not do
// this. Its text alone tells the two apart, and the second must not end a grant.
func atlassianReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.Text("error") == "unauthorized_client" && r.Text("error_description") == "refresh_token is invalid" {
		return connectors.Tokens{}, r.Fail("invalid_grant")
	}
	return r.Tokens()
}
