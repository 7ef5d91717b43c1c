package catalog

// https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
// https://developers.facebook.com/docs/instagram-platform/reference/refresh_access_token
// https://developers.facebook.com/docs/threads/get-started/long-lived-tokens

import (
	"time"

	"culvert/connectors"
)

// instagram is business login. A token of sixty days is its own refresh token, once it is a day old. The
// reply to a code holds the token in a list, and names failures by a type and a message.
func instagram() connectors.Connector {
	return metaLongLived(connectors.Connector{
		Slug: "instagram",
		Name: "Instagram",
		DocsURL: "https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/" +
			"business-login",
		AuthorizationURL: "https://www.instagram.com/oauth/authorize",
		TokenURL:         "https://api.instagram.com/oauth/access_token",
		RefreshURL:       "https://graph.instagram.com/refresh_access_token",
		IdentityURL:      "https://graph.instagram.com/me?fields=user_id,username",
		Identity:         connectors.Identity{ID: []string{"user_id"}, Name: []string{"username"}},
		DefaultScopes:    []string{"instagram_business_basic"},
		LongLived: connectors.LongLived{
			URL: "https://graph.instagram.com/access_token", Grant: "ig_exchange_token", TokenParam: "access_token",
			RefreshGrant: "ig_refresh_token",
		},
		Reply: instagramReply,
	})
}

// threads is as [instagram], with the reply of the RFC.
func threads() connectors.Connector {
	return metaLongLived(connectors.Connector{
		Slug:             "threads",
		Name:             "Threads",
		DocsURL:          "https://developers.facebook.com/docs/threads/get-started/get-access-tokens-and-permissions",
		AuthorizationURL: "https://threads.net/oauth/authorize",
		TokenURL:         "https://graph.threads.net/oauth/access_token",
		RefreshURL:       "https://graph.threads.net/refresh_access_token",
		IdentityURL:      "https://graph.threads.net/v1.0/me?fields=id,username",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"username"}},
		DefaultScopes:    []string{"threads_basic"},
		LongLived: connectors.LongLived{
			URL: "https://graph.threads.net/access_token", Grant: "th_exchange_token", TokenParam: "access_token",
			RefreshGrant: "th_refresh_token",
		},
	})
}

// metaLongLived is what both have in common.
func metaLongLived(c connectors.Connector) connectors.Connector {
	c.ScopeSeparator = ","
	c.Lifetime = time.Hour
	c.RefreshIdle = 60 * 24 * time.Hour
	c.DeadGrantCodes = []string{"190"}
	c.DeadClientCodes = []string{"101"}
	c.TransientCodes = []string{"2", "4", "17"}
	return ordinary(c)
}

// instagramReply reads the token of a code, which stands at the top or as the first of a list, and errors that
// have no member error.
func instagramReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.Text("error_type") != "" {
		return connectors.Tokens{}, r.Fail(r.Text("code"))
	}
	if inner, there := r.First("data"); there {
		return inner.Tokens()
	}
	return r.Tokens()
}
