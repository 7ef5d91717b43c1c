package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// finance is connectors of money, commerce and employment.
func finance() []connectors.Connector {
	return []connectors.Connector{
		amazonLWA(),
		apaleo(),
		coinbase(),
		deel(),
		freshBooks(),
		gusto(),
		lever(),
		payPal(),
		sageAccounting(),
		square(),
		stripe(),
		stripeConnect(),
		xero(),
	}
}

// amazonLWA is Login with Amazon of North America; other regions are the settings of its endpoints.
func amazonLWA() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "amazon-lwa",
		Name:             "Login with Amazon",
		DocsURL:          "https://developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html",
		AuthorizationURL: "https://www.amazon.com/ap/oa",
		TokenURL:         "https://api.amazon.com/auth/o2/token",
		IdentityURL:      "https://api.amazon.com/user/profile",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"email", "name"}},
		PKCE:             true,
		DefaultScopes:    []string{"profile"},
		Lifetime:         time.Hour,
	})
}

// apaleo gives refresh tokens with the scope offline_access only.
func apaleo() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "apaleo",
		Name:             "apaleo",
		DocsURL:          "https://apaleo.dev/guides/start/oauth-connection/auth-code-grant.html",
		AuthorizationURL: "https://identity.apaleo.com/connect/authorize",
		TokenURL:         "https://identity.apaleo.com/connect/token",
		RevocationURL:    "https://identity.apaleo.com/connect/revocation",
		DefaultScopes:    []string{"offline_access", "openid"},
		Lifetime:         time.Hour,
	})
}

// coinbase gives refresh tokens that work once, with the scope offline_access only.
func coinbase() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "coinbase",
		Name:             "Coinbase",
		DocsURL:          "https://docs.cdp.coinbase.com/coinbase-app/oauth2-integration/integrations",
		AuthorizationURL: "https://login.coinbase.com/oauth2/auth",
		TokenURL:         "https://login.coinbase.com/oauth2/token",
		IdentityURL:      "https://api.coinbase.com/v2/user",
		Identity:         connectors.Identity{ID: []string{"data.id"}, Name: []string{"data.email", "data.name"}},
		DefaultScopes:    []string{"wallet:user:read", "offline_access"},
		Lifetime:         time.Hour,
	})
}

// deel names no account in its API.
func deel() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "deel",
		Name:             "Deel",
		DocsURL:          "https://developer.deel.com/docs/oauth2",
		AuthorizationURL: "https://app.deel.com/oauth2/authorize",
		TokenURL:         "https://app.deel.com/oauth2/tokens",
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"people:read"},
	})
}

// freshBooks ends the refresh token of an earlier grant when the same account connects again.
func freshBooks() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:               "freshbooks",
		Name:               "FreshBooks",
		DocsURL:            "https://www.freshbooks.com/api/authentication",
		AuthorizationURL:   "https://auth.freshbooks.com/oauth/authorize",
		TokenURL:           "https://api.freshbooks.com/auth/oauth/token",
		RevocationURL:      "https://api.freshbooks.com/auth/oauth/revoke",
		IdentityURL:        "https://api.freshbooks.com/auth/api/v1/users/me",
		Identity:           connectors.Identity{ID: []string{"response.identity_id"}, Name: []string{"response.email"}},
		OneGrantPerAccount: true,
	})
}

// gusto is production; the demonstration host is the setting base_url with https://api.gusto-demo.com.
func gusto() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "gusto",
		Name:             "Gusto",
		DocsURL:          "https://docs.gusto.com/app-integrations/docs/oauth2",
		AuthorizationURL: "https://api.gusto.com/oauth/authorize",
		TokenURL:         "https://api.gusto.com/oauth/token",
		IdentityURL:      "https://api.gusto.com/v1/me",
		Identity:         connectors.Identity{ID: []string{"uuid"}, Name: []string{"email"}},
		Lifetime:         2 * time.Hour,
	})
}

// lever is production. Refresh tokens need the scope offline_access.
func lever() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "lever",
		Name:             "Lever",
		DocsURL:          "https://hire.lever.co/developer/documentation#oauth",
		AuthorizationURL: "https://auth.lever.co/authorize",
		TokenURL:         "https://auth.lever.co/oauth/token",
		DefaultScopes:    []string{"offline_access", "opportunities:read:admin"},
		AuthorizeParams:  map[string]string{"audience": "https://api.lever.co/v1/"},
		Lifetime:         time.Hour,
		RefreshIdle:      90 * 24 * time.Hour,
	})
}

// payPal is Log in with PayPal. It sends lifetimes as text too.
func payPal() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "paypal",
		Name:             "PayPal",
		DocsURL:          "https://developer.paypal.com/docs/log-in-with-paypal/",
		AuthorizationURL: "https://www.paypal.com/signin/authorize",
		TokenURL:         "https://api-m.paypal.com/v1/oauth2/token",
		IdentityURL:      "https://api-m.paypal.com/v1/identity/openidconnect/userinfo?schema=openid",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"email"}},
		ClientAuth:       connectors.ClientAuthBasic,
		DefaultScopes:    []string{"openid"},
		Methods:          []connectors.Method{connectors.MethodOAuth, connectors.MethodClientCredentials},
		Preview:          true,
	})
}

// sageAccounting gives tokens for five minutes.
func sageAccounting() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "sage-accounting",
		Name:             "Sage Accounting",
		DocsURL:          "https://developer.sage.com/accounting/guides/authenticating/",
		AuthorizationURL: "https://www.sageone.com/oauth2/auth/central?filter=apiv3.1",
		TokenURL:         "https://oauth.accounting.sage.com/token",
		IdentityURL:      "https://api.accounting.sage.com/v3.1/user",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "displayed_as"}},
		DefaultScopes:    []string{"full_access"},
		Lifetime:         5 * time.Minute,
		RefreshIdle:      31 * 24 * time.Hour,
	})
}

// square says when tokens end as an absolute time. A challenge would make refresh tokens work once and stands
// in place of the secret, so none is sent. It revokes by a call of its own.
func square() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "square",
		Name:             "Square",
		DocsURL:          "https://developer.squareup.com/docs/oauth-api/overview",
		AuthorizationURL: "https://connect.squareup.com/oauth2/authorize",
		TokenURL:         "https://connect.squareup.com/oauth2/token",
		IdentityURL:      "https://connect.squareup.com/v2/merchants/me",
		Identity:         connectors.Identity{ID: []string{"merchant.id"}, Name: []string{"merchant.business_name"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://connect.squareup.com/oauth2/revoke", Auth: connectors.RevokeAsSecret,
			TokenParam: "access_token", ClientParam: "client_id", Body: connectors.BodyJSON,
		},
		Body:            connectors.BodyJSON,
		DefaultScopes:   []string{"MERCHANT_PROFILE_READ"},
		AuthorizeParams: map[string]string{"session": "false"},
		Lifetime:        720 * time.Hour,
	})
}

// stripeConnect gives tokens that do not end; its refresh tokens serve to get narrower keys. It revokes by a
// call of its own.
func stripeConnect() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "stripe-connect",
		Name:             "Stripe Connect",
		Type:             "stripe",
		DocsURL:          "https://docs.stripe.com/connect/oauth-reference",
		AuthorizationURL: "https://connect.stripe.com/oauth/authorize",
		TokenURL:         "https://connect.stripe.com/oauth/token",
		IdentityURL:      "https://api.stripe.com/v1/account",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "business_profile.name"}},
		DefaultScopes:    []string{"read_write"},
	})
}

// xero takes an old refresh token again for half an hour. One that is not used lives for sixty days.
func xero() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "xero",
		Name:             "Xero",
		DocsURL:          "https://developer.xero.com/documentation/guides/oauth2/auth-flow/",
		AuthorizationURL: "https://login.xero.com/identity/connect/authorize",
		TokenURL:         "https://identity.xero.com/connect/token",
		RevocationURL:    "https://identity.xero.com/connect/revocation",
		IdentityURL:      "https://api.xero.com/connections",
		Identity:         connectors.Identity{ID: []string{"0.tenantId"}, Name: []string{"0.tenantName"}},
		ClientAuth:       connectors.ClientAuthBasic,
		PKCE:             true,
		DefaultScopes:    []string{"openid", "profile", "email", "offline_access", "accounting.transactions"},
		Lifetime:         30 * time.Minute,
		RefreshIdle:      60 * 24 * time.Hour,
	})
}

// stripe is keys of one's own account. A restricted key may be forbidden the balance.
func stripe() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "stripe",
		Name:    "Stripe",
		DocsURL: "https://docs.stripe.com/api/authentication",
		APIKey:  bearer("Secret key", "In the Stripe dashboard under Developers, API keys.", "https://api.stripe.com/v1/balance"),
	})
}
