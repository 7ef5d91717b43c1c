package catalog

// https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow
// https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived

import (
	"net/http"
	"time"

	"culvert/connectors"
)

// facebookGraph is the version of the Graph API.
const facebookGraph = "https://graph.facebook.com/v22.0"

// facebook trades the token of a code for one of sixty days, which nobody but the user can renew. Errors are
// objects with a number.
func facebook() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "facebook",
		Name:             "Facebook",
		DocsURL:          "https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow",
		AuthorizationURL: "https://www.facebook.com/v22.0/dialog/oauth",
		TokenURL:         facebookGraph + "/oauth/access_token",
		IdentityURL:      facebookGraph + "/me?fields=id,name,email",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"email", "name"}},
		Revocation: connectors.RevocationCall{
			Method: http.MethodDelete, URL: facebookGraph + "/me/permissions", Auth: connectors.RevokeAsToken, EndsGrant: true,
		},
		ScopeSeparator: ",",
		DefaultScopes:  []string{"public_profile", "email"},
		LongLived: connectors.LongLived{
			URL: facebookGraph + "/oauth/access_token", Grant: "fb_exchange_token", TokenParam: "fb_exchange_token", ClientID: true,
		},
		Lifetime:        time.Hour,
		GrantLifetime:   60 * 24 * time.Hour,
		DeadGrantCodes:  []string{"190"},
		DeadClientCodes: []string{"101"},
		TransientCodes:  []string{"2", "4", "17"},
	})
}
