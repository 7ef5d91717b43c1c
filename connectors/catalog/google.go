package catalog

import (
	"time"

	"culvert/connectors"
)

// googleProducts is [google] and its products: the same clients, endpoints and grants, with a scope of
// the product beside those that tell whose account it is. Every product is a connector, so that an
// application can ask for one without the others.
func googleProducts() []connectors.Connector {
	const auth = "https://www.googleapis.com/auth/"
	return []connectors.Connector{
		google(),
		googleProduct("gmail", "Gmail", auth+"gmail.readonly"),
		googleProduct("google-ads", "Google Ads", auth+"adwords"),
		googleProduct("google-analytics", "Google Analytics", auth+"analytics.readonly"),
		googleProduct("google-bigquery", "Google BigQuery", auth+"bigquery"),
		googleProduct("google-calendar", "Google Calendar", auth+"calendar.readonly"),
		googleProduct("google-chat", "Google Chat", auth+"chat.messages.readonly"),
		googleProduct("google-classroom", "Google Classroom", auth+"classroom.courses.readonly"),
		googleProduct("google-contacts", "Google Contacts", auth+"contacts.readonly"),
		googleProduct("google-docs", "Google Docs", auth+"documents"),
		googleProduct("google-drive", "Google Drive", auth+"drive.readonly"),
		googleProduct("google-forms", "Google Forms", auth+"forms.body.readonly"),
		googleProduct("google-search-console", "Google Search Console", auth+"webmasters.readonly"),
		googleProduct("google-sheets", "Google Sheets", auth+"spreadsheets"),
		googleProduct("google-slides", "Google Slides", auth+"presentations"),
		googleProduct("google-tasks", "Google Tasks", auth+"tasks"),
		googleProduct("youtube", "YouTube", auth+"youtube.readonly"),
	}
}

func googleProduct(slug, name, scope string) connectors.Connector {
	c := google()
	c.Slug, c.Name, c.Type = slug, name, slug
	c.DocsURL = "https://developers.google.com/identity/protocols/oauth2/scopes"
	c.DefaultScopes = []string{"openid", "email", scope}
	return c
}

// google gives a refresh token only with both of its parameters, and leaves users the choice of scopes.
// Refresh tokens of apps whose consent screen is in testing live for seven days, and of the hundred per
// account and client the oldest dies without a word.
func google() connectors.Connector {
	const userinfo = "https://www.googleapis.com/auth/userinfo."
	return connectors.Connector{
		Slug:             "google",
		Name:             "Google",
		Type:             "google",
		DocsURL:          "https://developers.google.com/identity/protocols/oauth2/web-server",
		AuthorizationURL: "https://accounts.google.com/o/oauth2/v2/auth",
		TokenURL:         "https://oauth2.googleapis.com/token",
		RevocationURL:    "https://oauth2.googleapis.com/revoke",
		RevokesAll:       true, // https://developers.google.com/identity/protocols/oauth2/web-server#tokenrevoke
		IdentityURL:      "https://openidconnect.googleapis.com/v1/userinfo",
		Identity: connectors.Identity{
			ID: []string{"sub"}, Name: []string{"email", "name"},
			TokenID: []string{"id_token.sub"}, TokenName: []string{"id_token.email"},
		},
		ClientAuth:     connectors.ClientAuthBody,
		Body:           connectors.BodyForm,
		PKCE:           true,
		ScopeSeparator: " ",
		DefaultScopes:  []string{"openid", "email", "profile"},
		ScopeRules: connectors.ScopeRules{
			Aliases: map[string]string{"email": userinfo + "email", "profile": userinfo + "profile"},
		},
		AuthorizeParams: map[string]string{"access_type": "offline", "prompt": "consent"},
		Lifetime:        time.Hour,
		RefreshIdle:     180 * 24 * time.Hour,
		// A Workspace that asks its users to sign in again says so in either of two members.
		DeadGrantCodes:  []string{"invalid_rapt"},
		EndingMember:    "error_subtype",
		Endings:         map[string]connectors.Ending{"invalid_rapt": connectors.EndingPolicy},
		DeadClientCodes: []string{"deleted_client", "disabled_client"},
	}
}
