package catalog

import (
	"time"

	"culvert/connectors"
)

// sales is connectors of customer management, marketing and surveys.
func sales() []connectors.Connector {
	return []connectors.Connector{
		attio(),
		apollo(),
		closeCRM(),
		constantContact(),
		gong(),
		hubSpot(),
		klaviyo(),
		mailchimp(),
		outreach(),
		pipedrive(),
		salesforce(),
		salesloft(),
		surveyMonkey(),
		zohoCRM(),
	}
}

// attio gives the scopes of the app. Tokens do not end.
func attio() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "attio",
		Name:             "Attio",
		DocsURL:          "https://docs.attio.com/rest-api/tutorials/connect-an-app-through-oauth",
		AuthorizationURL: "https://app.attio.com/authorize",
		TokenURL:         "https://app.attio.com/oauth/token",
		IdentityURL:      "https://api.attio.com/v2/self",
		Identity:         connectors.Identity{ID: []string{"workspace_id"}, Name: []string{"workspace_name"}},
		NoScopes:         true,
	})
}

// closeCRM gives refresh tokens with the scope offline_access only.
func closeCRM() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "close",
		Name:             "Close",
		DocsURL:          "https://developer.close.com/topics/authentication-oauth2/",
		AuthorizationURL: "https://app.close.com/oauth2/authorize/",
		TokenURL:         "https://api.close.com/oauth2/token/",
		RevocationURL:    "https://api.close.com/oauth2/revoke/",
		IdentityURL:      "https://api.close.com/api/v1/me/",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		DefaultScopes:    []string{"all.full_access", "offline_access"},
		Lifetime:         time.Hour,
	})
}

// constantContact has refresh tokens that rotate or stay, by a setting of the app.
func constantContact() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "constant-contact",
		Name:             "Constant Contact",
		DocsURL:          "https://developer.constantcontact.com/api_guide/server_flow.html",
		AuthorizationURL: "https://authz.constantcontact.com/oauth2/default/v1/authorize",
		TokenURL:         "https://authz.constantcontact.com/oauth2/default/v1/token",
		IdentityURL:      "https://api.cc.email/v3/account/summary",
		Identity:         connectors.Identity{ID: []string{"encoded_account_id"}, Name: []string{"contact_email", "organization_name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"contact_data", "offline_access"},
		RefreshIdle:      180 * 24 * time.Hour,
	})
}

// hubSpot stops an installation whose account lacks a required scope. Its endpoints have a date in their
// path: those of v1 end on 2027-02-16. Who a token belongs to is told by introspection only.
func hubSpot() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "hubspot",
		Name:             "HubSpot",
		DocsURL:          "https://developers.hubspot.com/docs/api-reference/legacy/authentication/oauth-tokens/v1/migration-guide",
		AuthorizationURL: "https://app.hubspot.com/oauth/authorize",
		TokenURL:         "https://api.hubapi.com/oauth/2026-03/token",
		RevocationURL:    "https://api.hubapi.com/oauth/2026-03/token/revoke",
		PKCE:             true,
		DefaultScopes:    []string{"oauth"},
		Lifetime:         30 * time.Minute,
	})
}

// klaviyo wants a header with the revision of its API in any call but these.
func klaviyo() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "klaviyo",
		Name:             "Klaviyo",
		DocsURL:          "https://developers.klaviyo.com/en/docs/set_up_oauth",
		AuthorizationURL: "https://www.klaviyo.com/oauth/authorize",
		TokenURL:         "https://a.klaviyo.com/oauth/token",
		RevocationURL:    "https://a.klaviyo.com/oauth/revoke",
		IdentityURL:      "https://a.klaviyo.com/api/accounts",
		Identity: connectors.Identity{
			ID: []string{"data.0.id"}, Name: []string{"data.0.attributes.contact_information.organization_name"},
			Headers: map[string]string{"revision": "2024-10-15"},
		},
		ClientAuth:    connectors.ClientAuthBasic,
		PKCE:          true,
		DefaultScopes: []string{"accounts:read"},
		Lifetime:      time.Hour,
		RefreshIdle:   90 * 24 * time.Hour,
	})
}

// mailchimp sends an expires_in of 0 for tokens that do not end, and has no scopes. Its call for the identity
// takes another scheme than Bearer, and names the host of the account's API.
func mailchimp() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "mailchimp",
		Name:             "Mailchimp",
		DocsURL:          "https://mailchimp.com/developer/marketing/guides/access-user-data-oauth-2/",
		AuthorizationURL: "https://login.mailchimp.com/oauth2/authorize",
		TokenURL:         "https://login.mailchimp.com/oauth2/token",
		IdentityURL:      "https://login.mailchimp.com/oauth2/metadata",
		Identity: connectors.Identity{
			ID: []string{"user_id"}, Name: []string{"login.email", "accountname"},
			Headers: map[string]string{"Authorization": "OAuth ${token}"},
		},
		Metadata: []connectors.ReplyField{{
			Name: "api_endpoint", From: connectors.FromIdentity, Pattern: hostURL, Domains: []string{"api.mailchimp.com"},
		}},
		NoScopes:      true,
		ZeroNeverEnds: true,
	})
}

// outreach ends refresh tokens that were not used for fourteen days.
func outreach() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "outreach",
		Name:             "Outreach",
		DocsURL:          "https://developers.outreach.io/api/oauth/",
		AuthorizationURL: "https://api.outreach.io/oauth/authorize",
		TokenURL:         "https://api.outreach.io/oauth/token",
		Lifetime:         2 * time.Hour,
		RefreshIdle:      14 * 24 * time.Hour,
	})
}

// pipedrive gives the scopes of the app. A refresh token that is not used lives for sixty days.
func pipedrive() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "pipedrive",
		Name:             "Pipedrive",
		DocsURL:          "https://pipedrive.readme.io/docs/marketplace-oauth-authorization",
		AuthorizationURL: "https://oauth.pipedrive.com/oauth/authorize",
		TokenURL:         "https://oauth.pipedrive.com/oauth/token",
		RevocationURL:    "https://oauth.pipedrive.com/oauth/revoke",
		IdentityURL:      "https://api.pipedrive.com/v1/users/me",
		Identity:         connectors.Identity{ID: []string{"data.company_id", "data.id"}, Name: []string{"data.email", "data.name"}},
		ClientAuth:       connectors.ClientAuthBasic,
		NoScopes:         true,
		Metadata:         []connectors.ReplyField{hostOf("api_domain", "pipedrive.com")},
		Lifetime:         3599 * time.Second,
		RefreshIdle:      60 * 24 * time.Hour,
	})
}

// salesforce is login.salesforce.com; a sandbox or a domain of your own is the setting base_url. Replies do
// not say when tokens end: the session policy of the organisation does, two hours unless changed. The sixth
// approval of a user for an app ends the first without a word. Refresh tokens need the scope refresh_token. Each
// reply names the host of the organisation's API, which can move.
func salesforce() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "salesforce",
		Name:             "Salesforce",
		DocsURL:          "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_web_server_flow.htm",
		AuthorizationURL: "https://login.salesforce.com/services/oauth2/authorize",
		TokenURL:         "https://login.salesforce.com/services/oauth2/token",
		RevocationURL:    "https://login.salesforce.com/services/oauth2/revoke",
		IdentityURL:      "https://login.salesforce.com/services/oauth2/userinfo",
		Identity:         connectors.Identity{ID: []string{"organization_id", "user_id"}, Name: []string{"preferred_username", "email"}},
		PKCE:             true,
		DefaultScopes:    []string{"api", "refresh_token"},
		Metadata:         []connectors.ReplyField{hostOf("instance_url", "salesforce.com", "salesforce.mil", "force.com")},
		Lifetime:         2 * time.Hour,
	})
}

// salesloft rotates refresh tokens.
func salesloft() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "salesloft",
		Name:             "Salesloft",
		DocsURL:          "https://developers.salesloft.com/docs/platform/api-basics/oauth-authentication/",
		AuthorizationURL: "https://accounts.salesloft.com/oauth/authorize",
		TokenURL:         "https://accounts.salesloft.com/oauth/token",
		IdentityURL:      "https://api.salesloft.com/v2/me",
		Identity:         connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.email", "data.name"}},
		Lifetime:         2 * time.Hour,
	})
}

// surveyMonkey gives the scopes of the app, and tokens that do not end.
func surveyMonkey() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "surveymonkey",
		Name:             "SurveyMonkey",
		DocsURL:          "https://developer.surveymonkey.com/api/v3/#authentication",
		AuthorizationURL: "https://api.surveymonkey.com/oauth/authorize",
		TokenURL:         "https://api.surveymonkey.com/oauth/token",
		IdentityURL:      "https://api.surveymonkey.com/v3/users/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "username"}},
		NoScopes:         true,
		Metadata:         []connectors.ReplyField{hostOf("access_url", "surveymonkey.com", "surveymonkey.ca")},
	})
}

// apollo has its authorization page behind a fragment.
func apollo() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug: "apollo",
		Name: "Apollo.io",
		DocsURL: "https://docs.apollo.io/docs/" +
			"use-oauth-20-authorization-flow-to-access-apollo-user-information-partners",
		AuthorizationURL: "https://app.apollo.io/",
		TokenURL:         "https://app.apollo.io/api/v1/oauth/token",
		IdentityURL:      "https://app.apollo.io/api/v1/users/api_profile",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email"}},
		Quirks:           connectors.Quirks{FragmentRoute: "/oauth/authorize"},
		Lifetime:         720 * time.Hour,
	})
}

// gong names no account in its API. Where a customer's API is stands in the token reply.
func gong() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "gong",
		Name:             "Gong",
		DocsURL:          "https://help.gong.io/docs/create-an-app-for-gong",
		AuthorizationURL: "https://app.gong.io/oauth2/authorize",
		TokenURL:         "https://app.gong.io/oauth2/generate-customer-token",
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"api:calls:read:basic"},
		Metadata:         []connectors.ReplyField{hostOf("api_base_url_for_customer", "gong.io")},
		Lifetime:         24 * time.Hour,
	})
}
