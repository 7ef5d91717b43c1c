package catalog

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// commerce is connectors of shops and market places, and of the books behind them.
func commerce() []connectors.Connector {
	return []connectors.Connector{
		amazonSellingPartner(),
		ebay(),
		quickBooks(),
		shopify(),
	}
}

// amazonSellingPartner names the app by another id in its authorization request, and calls the code
// otherwise in its callback, which alone names the seller. A consent lasts for a year.
func amazonSellingPartner() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "amazon-selling-partner",
		Name:             "Amazon Selling Partner",
		DocsURL:          "https://developer-docs.amazon.com/sp-api/docs/website-authorization-workflow",
		AuthorizationURL: "https://${config.seller_central}/apps/authorize/consent",
		TokenURL:         "https://api.amazon.com/auth/o2/token",
		Config: []connectors.ConfigField{
			{
				Key: "application_id", Label: "Application ID", Required: true, Scope: connectors.ConfigIntegration, Order: 1,
				Description: "The id of the app in the Solution Provider Portal.",
				Example:     "amzn1.sp.solution.0a1b2c3d", Pattern: `^(?:amzn1\.[A-Za-z0-9.-]{1,120})$`,
			},
			{
				Key: "seller_central", Label: "Seller Central", Scope: connectors.ConfigInstallation, Order: 2,
				Description: "The host where the seller signs in.", Example: "sellercentral.amazon.de", Default: "sellercentral.amazon.com",
				Pattern: `^(?:sellercentral(?:-europe)?\.amazon\.(?:com|com\.(?:au|be|br|mx|tr)|co\.(?:jp|uk|za)|ca|de|es|fr|it|nl|pl|se|eg|sa|ae|sg|in))$`,
				Domains: []string{
					"amazon.com", "amazon.com.au", "amazon.com.be", "amazon.com.br", "amazon.com.mx", "amazon.com.tr", "amazon.co.jp",
					"amazon.co.uk", "amazon.co.za", "amazon.ca", "amazon.de", "amazon.es", "amazon.fr", "amazon.it", "amazon.nl", "amazon.pl",
					"amazon.se", "amazon.eg", "amazon.sa", "amazon.ae", "amazon.sg", "amazon.in",
				},
			},
		},
		Identity:        connectors.Identity{CallbackID: "selling_partner_id"},
		NoScopes:        true,
		AuthorizeParams: map[string]string{"application_id": "${config.application_id}"},
		Quirks:          connectors.Quirks{NoAuthorizeClientID: true, CodeParam: "spapi_oauth_code"},
		Lifetime:        time.Hour,
		GrantLifetime:   365 * 24 * time.Hour,
	})
}

// ebay knows a redirect URI by a name of its own, the RuName. Refresh tokens live for eighteen months.
func ebay() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "ebay",
		Name:             "eBay",
		DocsURL:          "https://developer.ebay.com/api-docs/static/oauth-authorization-code-grant.html",
		AuthorizationURL: "https://auth.ebay.com/oauth2/authorize",
		TokenURL:         "https://api.ebay.com/identity/v1/oauth2/token",
		IdentityURL:      "https://apiz.ebay.com/commerce/identity/v1/user/",
		Identity:         connectors.Identity{ID: []string{"userId"}, Name: []string{"username"}},
		Config: []connectors.ConfigField{{
			Key: "ru_name", Label: "RuName", Required: true, Scope: connectors.ConfigIntegration, Order: 1,
			Description: "What eBay calls the redirect URI, on the page of the app's user tokens.",
			Example:     "Acme-AcmeApp-Culver-abcdef", Pattern: `^(?:[A-Za-z0-9][A-Za-z0-9_-]{0,61}[A-Za-z0-9])$`,
		}},
		ClientAuth: connectors.ClientAuthBasic,
		DefaultScopes: []string{
			"https://api.ebay.com/oauth/api_scope", "https://api.ebay.com/oauth/api_scope/commerce.identity.readonly",
		},
		Quirks:   connectors.Quirks{RedirectURI: "${config.ru_name}"},
		Lifetime: 2 * time.Hour,
	})
}

// quickBooks is QuickBooks Online. The callback alone names the company (realmId). The refresh token
// changes about once a day, and dies after a hundred days without use.
func quickBooks() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug: "quickbooks",
		Name: "QuickBooks",
		DocsURL: "https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/" +
			"oauth-2.0",
		AuthorizationURL: "https://appcenter.intuit.com/connect/oauth2",
		TokenURL:         "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
		IdentityURL:      "https://accounts.platform.intuit.com/v1/openid_connect/userinfo",
		Identity:         connectors.Identity{CallbackID: "realmId"},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://developer.api.intuit.com/v2/oauth2/tokens/revoke", Auth: connectors.RevokeAsClient,
			TokenParam: "token", Body: connectors.BodyJSON, Refresh: true,
		},
		ClientAuth:    connectors.ClientAuthBasic,
		DefaultScopes: []string{"com.intuit.quickbooks.accounting", "openid", "profile", "email"},
		Lifetime:      time.Hour,
		RefreshIdle:   100 * 24 * time.Hour,
	})
}

// shopify is tokens that end (expiring=1): others are refused to public apps from 2027 on. Each shop has a host
// of its own, which the callback has to name again, and signs with the client's secret
// (https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant). A
// refresh token may be sent again until its successor is used.
func shopify() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "shopify",
		Name:             "Shopify",
		DocsURL:          "https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens",
		AuthorizationURL: "https://${config.shop}.myshopify.com/admin/oauth/authorize",
		TokenURL:         "https://${config.shop}.myshopify.com/admin/oauth/access_token",
		IdentityURL:      "https://${config.shop}.myshopify.com/admin/api/2026-10/shop.json",
		Identity: connectors.Identity{
			ID: []string{"shop.id"}, Name: []string{"shop.myshopify_domain"},
			Headers: map[string]string{"X-Shopify-Access-Token": "${token}"},
		},
		Config: []connectors.ConfigField{{
			Key: "shop", Label: "Shop", Required: true, Scope: connectors.ConfigInstallation, Order: 1,
			Description: "The name before .myshopify.com.", Example: "acme", Pattern: `^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$`,
		}},
		ScopeSeparator: ",",
		DefaultScopes:  []string{"read_products"},
		// Of two scopes for one thing replies name that for writing alone.
		ScopeRules: connectors.ScopeRules{Widened: map[string]string{"write_": "read_", "unauthenticated_write_": "unauthenticated_read_"}},
		Quirks: connectors.Quirks{
			ExchangeParams: map[string]string{"expiring": "1"},
			CallbackPins:   map[string]string{"shop": "${config.shop}.myshopify.com"},
			CallbackMAC:    "hmac",
		},
		RefreshIdle: 90 * 24 * time.Hour,
	})
}
