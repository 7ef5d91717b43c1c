package catalog

import (
	"time"

	"culvert/connectors"
)

// microsoftProducts is [microsoft] and what Graph holds of its products: the same clients, endpoints and
// grants, with a scope of the product. Products that are no part of Graph are not here, as one token is
// for one resource.
func microsoftProducts() []connectors.Connector {
	return []connectors.Connector{
		microsoft(),
		dynamics365(),
		microsoftProduct("microsoft-excel", "Microsoft Excel", "Files.ReadWrite"),
		microsoftProduct("microsoft-onedrive", "OneDrive", "Files.Read"),
		microsoftProduct("microsoft-onenote", "OneNote", "Notes.Read"),
		microsoftProduct("microsoft-outlook", "Outlook Mail", "Mail.Read"),
		microsoftProduct("microsoft-outlook-calendar", "Outlook Calendar", "Calendars.Read"),
		microsoftProduct("microsoft-sharepoint", "SharePoint", "Sites.Read.All"),
		microsoftProduct("microsoft-teams", "Microsoft Teams", "Chat.Read"),
		microsoftProduct("microsoft-todo", "Microsoft To Do", "Tasks.Read"),
	}
}

func microsoftProduct(slug, name, scope string) connectors.Connector {
	c := microsoft()
	c.Slug, c.Name, c.Type = slug, name, slug
	c.DocsURL = "https://learn.microsoft.com/en-us/graph/permissions-reference"
	c.DefaultScopes = []string{"offline_access", "User.Read", scope}
	return c
}

// microsoft is any account of the tenant "common"; another tenant is the settings authorization_url and
// token_url. Refresh tokens need the scope offline_access; an old one stays good after a refresh. There
// is no revocation endpoint. A client secret that ran out (AADSTS7000222) is invalid_client.
func microsoft() connectors.Connector {
	const tenant = "https://login.microsoftonline.com/common/oauth2/v2.0/"
	return connectors.Connector{
		Slug:             "microsoft",
		Name:             "Microsoft",
		Type:             "microsoft",
		DocsURL:          "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow",
		AuthorizationURL: tenant + "authorize",
		TokenURL:         tenant + "token",
		IdentityURL:      "https://graph.microsoft.com/v1.0/me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"mail", "userPrincipalName", "displayName"}},
		ClientAuth:       connectors.ClientAuthBody,
		Body:             connectors.BodyForm,
		PKCE:             true,
		ScopeSeparator:   " ",
		DefaultScopes:    []string{"offline_access", "User.Read"},
		ScopeRules: connectors.ScopeRules{
			Prefix:   "https://graph.microsoft.com/",
			Fold:     true,
			Unlisted: []string{"openid", "profile", "email", "offline_access", ".default"},
		},
		AuthorizeParams: map[string]string{"response_mode": "query"},
		Lifetime:        time.Hour,
		RefreshIdle:     90 * 24 * time.Hour,
		DeadGrantCodes:  []string{"interaction_required", "consent_required", "login_required"},
		EndingMember:    "error_codes",
		Endings:         microsoftEndings(),
	}
}

// microsoftEndings are the numbers of the AADSTS codes, which say more than invalid_grant.
// https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
func microsoftEndings() map[string]connectors.Ending {
	endings := map[string]connectors.Ending{
		"65001": connectors.EndingRevoked, "65004": connectors.EndingRevoked, "consent_required": connectors.EndingRevoked,
		"70008": connectors.EndingIdle, "700082": connectors.EndingIdle,
		"700084": connectors.EndingExpired, // that of a single-page app, which no use prolongs
	}
	for _, policy := range []string{
		"50173", "50132", "50133", // a changed or expired password
		"50034", "50057", // a user who is gone or disabled
		"50074", "50076", "50078", "50079", "50158", "53000", "53003", "70043", "70044", // what a policy asks for
		"interaction_required", "login_required",
	} {
		endings[policy] = connectors.EndingPolicy
	}
	return endings
}

// dynamics365 is an environment of Dynamics 365: its tokens are for that one host. Whose they are stands in the
// ID token alone, as Graph does not take them.
func dynamics365() connectors.Connector {
	const tenant = "https://login.microsoftonline.com/${config.tenant}/oauth2/v2.0/"
	c := microsoft()
	c.Slug, c.Name, c.Type = "dynamics-365", "Dynamics 365", "dynamics-365"
	c.AuthorizationURL, c.TokenURL = tenant+"authorize", tenant+"token"
	c.IdentityURL = ""
	c.Identity = connectors.Identity{
		TokenID: []string{"id_token.tid", "id_token.oid"}, TokenName: []string{"id_token.preferred_username", "id_token.name"},
	}
	c.DefaultScopes = []string{"openid", "profile", "offline_access", "https://${config.org}/user_impersonation"}
	c.ScopeRules.Prefix = ""
	c.Config = []connectors.ConfigField{
		{
			Key: "org", Label: "Environment", Required: true, Scope: connectors.ConfigInstallation, Order: 1,
			Description: "The host of the environment's URL.", Example: "acme.crm4.dynamics.com",
			Pattern: `^(?:[a-z0-9-]{1,63}\.crm[0-9]{0,2}\.dynamics\.com)$`, Domains: []string{"dynamics.com"},
		},
		{
			Key: "tenant", Label: "Tenant", Scope: connectors.ConfigIntegration, Order: 2,
			Description: "The id of the tenant whose users may connect.", Example: "11111111-2222-3333-4444-555555555555",
			Pattern: `^(?:common|organizations|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`, Default: "organizations",
		},
	}
	return c
}
