package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// people is connectors of networks, calendars and what a person tracks.
func people() []connectors.Connector {
	return []connectors.Connector{
		acuityScheduling(),
		bitly(),
		calCom(),
		calendly(),
		eventbrite(),
		facebook(),
		fitbit(),
		harvest(),
		instagram(),
		linkedIn(),
		oura(),
		patreon(),
		pinterest(),
		reddit(),
		spotify(),
		strava(),
		threads(),
		tikTok(),
		twitch(),
		typeform(),
		whoop(),
		xCom(),
		yahoo(),
	}
}

// acuityScheduling gives tokens that do not end.
func acuityScheduling() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "acuity-scheduling",
		Name:             "Acuity Scheduling",
		DocsURL:          "https://developers.acuityscheduling.com/docs/oauth2",
		AuthorizationURL: "https://acuityscheduling.com/oauth2/authorize",
		TokenURL:         "https://acuityscheduling.com/oauth2/token",
		IdentityURL:      "https://acuityscheduling.com/api/v1/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"api-v1"},
	})
}

// bitly answers with a form where JSON is not asked for. Tokens do not end.
func bitly() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "bitly",
		Name:             "Bitly",
		DocsURL:          "https://dev.bitly.com/docs/getting-started/authentication/",
		AuthorizationURL: "https://bitly.com/oauth/authorize",
		TokenURL:         "https://api-ssl.bitly.com/oauth/access_token",
		IdentityURL:      "https://api-ssl.bitly.com/v4/user",
		Identity:         connectors.Identity{ID: []string{"login"}, Name: []string{"name", "login"}},
	})
}

// calCom rotates refresh tokens.
func calCom() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "cal-com",
		Name:             "Cal.com",
		Type:             "cal-dot-com",
		DocsURL:          "https://cal.com/docs/api-reference/v2/oauth",
		AuthorizationURL: "https://app.cal.com/auth/oauth2/authorize",
		TokenURL:         "https://api.cal.com/v2/auth/oauth2/token",
		IdentityURL:      "https://api.cal.com/v2/me",
		Identity:         connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.email", "data.username"}},
		Preview:          true,
	})
}

// calendly gives refresh tokens that work once.
func calendly() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "calendly",
		Name:             "Calendly",
		DocsURL:          "https://developer.calendly.com/create-a-developer-account",
		AuthorizationURL: "https://auth.calendly.com/oauth/authorize",
		TokenURL:         "https://auth.calendly.com/oauth/token",
		RevocationURL:    "https://auth.calendly.com/oauth/revoke",
		IdentityURL:      "https://api.calendly.com/users/me",
		Identity:         connectors.Identity{ID: []string{"resource.uri"}, Name: []string{"resource.email", "resource.name"}},
		PKCE:             true,
		Lifetime:         2 * time.Hour,
	})
}

// eventbrite gives tokens that do not end.
func eventbrite() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "eventbrite",
		Name:             "Eventbrite",
		DocsURL:          "https://www.eventbrite.com/platform/api#/introduction/authentication",
		AuthorizationURL: "https://www.eventbrite.com/oauth/authorize",
		TokenURL:         "https://www.eventbrite.com/oauth/token",
		IdentityURL:      "https://www.eventbriteapi.com/v3/users/me/",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"emails.0.email", "name"}},
	})
}

// harvest rotates refresh tokens.
func harvest() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "harvest",
		Name:             "Harvest",
		DocsURL:          "https://help.getharvest.com/api-v2/authentication-api/authentication/authentication/",
		AuthorizationURL: "https://id.getharvest.com/oauth2/authorize",
		TokenURL:         "https://id.getharvest.com/api/v2/oauth2/token",
		IdentityURL:      "https://id.getharvest.com/api/v2/accounts",
		Identity:         connectors.Identity{ID: []string{"user.id"}, Name: []string{"user.email"}},
		Lifetime:         1209599 * time.Second,
	})
}

// linkedIn gives refresh tokens to approved apps only: all others ask their users again every sixty days. A year
// after the consent these end too.
func linkedIn() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "linkedin",
		Name:             "LinkedIn",
		DocsURL:          "https://learn.microsoft.com/en-us/linkedin/shared/authentication/authorization-code-flow",
		AuthorizationURL: "https://www.linkedin.com/oauth/v2/authorization",
		TokenURL:         "https://www.linkedin.com/oauth/v2/accessToken",
		IdentityURL:      "https://api.linkedin.com/v2/userinfo",
		Identity:         connectors.Identity{ID: []string{"sub"}, Name: []string{"email", "name"}},
		DefaultScopes:    []string{"openid", "profile", "email"},
		Lifetime:         1440 * time.Hour,
		GrantLifetime:    365 * 24 * time.Hour,
	})
}

// oura gives refresh tokens that work once. It revokes by a call of its own.
func oura() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "oura",
		Name:             "Oura",
		DocsURL:          "https://cloud.ouraring.com/docs/authentication",
		AuthorizationURL: "https://cloud.ouraring.com/oauth/authorize",
		TokenURL:         "https://api.ouraring.com/oauth/token",
		IdentityURL:      "https://api.ouraring.com/v2/usercollection/personal_info",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://api.ouraring.com/oauth/revoke",
			Auth: connectors.RevokeAsNobody, TokenParam: "access_token", Body: connectors.BodyForm,
		},
		DefaultScopes: []string{"personal"},
	})
}

// patreon rotates refresh tokens.
func patreon() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "patreon",
		Name:             "Patreon",
		DocsURL:          "https://docs.patreon.com/#oauth",
		AuthorizationURL: "https://www.patreon.com/oauth2/authorize",
		TokenURL:         "https://www.patreon.com/api/oauth2/token",
		IdentityURL:      "https://www.patreon.com/api/oauth2/v2/identity",
		Identity:         connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.attributes.email", "data.attributes.full_name"}},
		DefaultScopes:    []string{"identity"},
		Lifetime:         744 * time.Hour,
	})
}

// pinterest rotates refresh tokens, which live for sixty days; those that are not asked for so end with the
// grant, after a year.
func pinterest() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "pinterest",
		Name:             "Pinterest",
		DocsURL:          "https://developers.pinterest.com/docs/getting-started/set-up-authentication-and-authorization/",
		AuthorizationURL: "https://www.pinterest.com/oauth/",
		TokenURL:         "https://api.pinterest.com/v5/oauth/token",
		IdentityURL:      "https://api.pinterest.com/v5/user_account",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"username"}},
		ClientAuth:       connectors.ClientAuthBasic,
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"user_accounts:read"},
		Quirks:           connectors.Quirks{ExchangeParams: map[string]string{"continuous_refresh": "true"}},
		Lifetime:         720 * time.Hour,
		RefreshIdle:      60 * 24 * time.Hour,
	})
}

// reddit gives a refresh token with duration=permanent only. Failures come with status 200.
func reddit() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "reddit",
		Name:             "Reddit",
		DocsURL:          "https://github.com/reddit-archive/reddit/wiki/OAuth2",
		AuthorizationURL: "https://www.reddit.com/api/v1/authorize",
		TokenURL:         "https://www.reddit.com/api/v1/access_token",
		RevocationURL:    "https://www.reddit.com/api/v1/revoke_token",
		IdentityURL:      "https://oauth.reddit.com/api/v1/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"identity"},
		AuthorizeParams:  map[string]string{"duration": "permanent"},
		Lifetime:         24 * time.Hour,
	})
}

// spotify leaves the refresh token out of most refreshes: it stays.
func spotify() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "spotify",
		Name:             "Spotify",
		DocsURL:          "https://developer.spotify.com/documentation/web-api/tutorials/code-flow",
		AuthorizationURL: "https://accounts.spotify.com/authorize",
		TokenURL:         "https://accounts.spotify.com/api/token",
		IdentityURL:      "https://api.spotify.com/v1/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "display_name"}},
		PKCE:             true,
		DefaultScopes:    []string{"user-read-email"},
		Lifetime:         time.Hour,
	})
}

// strava names the granted scopes in the callback, not in its reply, and returns the same token while it
// lives for more than an hour. It revokes by a call of its own.
func strava() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "strava",
		Name:             "Strava",
		DocsURL:          "https://developers.strava.com/docs/authentication/",
		AuthorizationURL: "https://www.strava.com/oauth/authorize",
		TokenURL:         "https://www.strava.com/oauth/token",
		IdentityURL:      "https://www.strava.com/api/v3/athlete",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"username"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://www.strava.com/oauth/deauthorize",
			Auth: connectors.RevokeAsToken, EndsGrant: true,
		},
		ScopeSeparator: ",",
		DefaultScopes:  []string{"read"},
		Quirks:         connectors.Quirks{CallbackScopes: "scope"},
		Lifetime:       6 * time.Hour,
	})
}

// typeform is the region of the United States; Europe is the settings of its endpoints. Refresh tokens need
// the scope offline.
func typeform() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "typeform",
		Name:             "Typeform",
		DocsURL:          "https://www.typeform.com/developers/get-started/applications/",
		AuthorizationURL: "https://api.typeform.com/oauth/authorize",
		TokenURL:         "https://api.typeform.com/oauth/token",
		IdentityURL:      "https://api.typeform.com/me",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"email", "alias"}},
		DefaultScopes:    []string{"accounts:read", "offline"},
		Lifetime:         168 * time.Hour,
	})
}

// whoop gives refresh tokens that work once, with the scope offline only.
func whoop() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "whoop",
		Name:             "WHOOP",
		DocsURL:          "https://developer.whoop.com/docs/developing/oauth",
		AuthorizationURL: "https://api.prod.whoop.com/oauth/oauth2/auth",
		TokenURL:         "https://api.prod.whoop.com/oauth/oauth2/token",
		IdentityURL:      "https://api.prod.whoop.com/developer/v2/user/profile/basic",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"offline", "read:profile"},
		Lifetime:         time.Hour,
	})
}

// yahoo names the user in its replies too.
func yahoo() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "yahoo",
		Name:             "Yahoo",
		DocsURL:          "https://developer.yahoo.com/oauth2/guide/",
		AuthorizationURL: "https://api.login.yahoo.com/oauth2/request_auth",
		TokenURL:         "https://api.login.yahoo.com/oauth2/get_token",
		IdentityURL:      "https://api.login.yahoo.com/openid/v1/userinfo",
		Identity:         connectors.Identity{ID: []string{"sub"}, Name: []string{"email", "name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"openid"},
		Lifetime:         time.Hour,
	})
}
