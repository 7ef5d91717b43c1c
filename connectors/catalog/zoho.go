package catalog

// https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html
// https://www.zoho.com/accounts/protocol/oauth/multi-dc.html

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// zohoCRM has its accounts in data centres, each with a domain of its own. The callback names the one that the
// user is in; a code is good there alone. The reply names the host of the API there. Failures come with status 200, and twenty refresh tokens per user
// live at a time.
func zohoCRM() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "zoho-crm",
		Name:             "Zoho CRM",
		DocsURL:          "https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html",
		AuthorizationURL: "https://accounts.${config.domain}/oauth/v2/auth",
		TokenURL:         "https://accounts.${config.domain}/oauth/v2/token",
		IdentityURL:      "https://accounts.${config.domain}/oauth/user/info",
		Identity:         connectors.Identity{ID: []string{"ZUID"}, Name: []string{"Email", "Display_Name"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://accounts.${config.domain}/oauth/v2/token/revoke", Auth: connectors.RevokeAsNobody,
			TokenParam: "token", Body: connectors.BodyForm, Refresh: true,
		},
		Config: []connectors.ConfigField{{
			Key: "domain", Label: "Zoho domain", Scope: connectors.ConfigInstallation, Order: 1,
			Description: "The domain of the data centre that the account is in.", Example: "zoho.eu", Default: "zoho.com",
			Pattern: `^(?:zoho\.(?:com|eu|in|com\.au|jp|sa|com\.cn)|zohocloud\.ca)$`,
			Domains: []string{"zoho.com", "zoho.eu", "zoho.in", "zoho.com.au", "zoho.jp", "zoho.sa", "zoho.com.cn", "zohocloud.ca"},
		}},
		ScopeSeparator:  ",",
		DefaultScopes:   []string{"ZohoCRM.modules.READ", "AaaServer.profile.READ"},
		AuthorizeParams: map[string]string{"access_type": "offline", "prompt": "consent"},
		Quirks:          connectors.Quirks{CallbackPins: map[string]string{"accounts-server": "https://accounts.${config.domain}"}},
		Metadata: []connectors.ReplyField{hostOf("api_domain",
			"zohoapis.com", "zohoapis.eu", "zohoapis.in", "zohoapis.com.au", "zohoapis.jp", "zohoapis.sa", "zohoapis.com.cn",
			"zohoapis.ca", "zohocloud.ca")},
		Lifetime:        time.Hour,
		DeadGrantCodes:  []string{"invalid_code", "invalid_token"},
		DeadClientCodes: []string{"invalid_client_secret"},
		Reply:           zohoReply,
	})
}

// zohoReply reads the limit on refreshes, which is told by a name for it with a space.
func zohoReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.Text("error") == "Access Denied" {
		return connectors.Tokens{}, r.FailAs(connectors.Transient, "access_denied")
	}
	return r.Tokens()
}
