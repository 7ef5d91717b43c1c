// Package catalog is the built-in connectors: data, with a file of its own for each provider whose
// replies no RFC describes. How to add one stands in the documentation of package connectors.
package catalog

import (
	"time"

	"culvert/connectors"
)

// All returns the built-in connectors, a fresh list each time.
func All() []connectors.Connector {
	return []connectors.Connector{
		github(), githubApp(), gitlab(), google(), linear(), microsoft(), slack(),
	}
}

// github is GitHub's OAuth apps. Errors come with status 200. Ten tokens per user, app and scope set
// live at a time; the oldest is revoked without a word. Revocation is a call of GitHub's own.
func github() connectors.Connector {
	return connectors.Connector{
		Slug:             "github",
		Name:             "GitHub",
		Type:             "github",
		DocsURL:          "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
		AuthorizationURL: "https://github.com/login/oauth/authorize",
		TokenURL:         "https://github.com/login/oauth/access_token",
		IdentityURL:      "https://api.github.com/user",
		ClientAuth:       connectors.ClientAuthBody,
		Body:             connectors.BodyForm,
		PKCE:             true,
		ScopeSeparator:   " ",
		DefaultScopes:    []string{"read:user", "user:email"},
		ScopeRules:       connectors.ScopeRules{Implied: githubScopes()},
		DeadGrantCodes:   []string{"bad_verification_code"},
		DeadClientCodes:  []string{"incorrect_client_credentials"},
	}
}

// githubScopes are what replies leave out because a wider scope is there.
// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
func githubScopes() map[string][]string {
	return map[string][]string{
		"repo":                  {"repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"},
		"user":                  {"read:user", "user:email", "user:follow"},
		"project":               {"read:project"},
		"admin:org":             {"write:org"},
		"write:org":             {"read:org"},
		"admin:repo_hook":       {"write:repo_hook"},
		"write:repo_hook":       {"read:repo_hook"},
		"admin:public_key":      {"write:public_key"},
		"write:public_key":      {"read:public_key"},
		"admin:gpg_key":         {"write:gpg_key"},
		"write:gpg_key":         {"read:gpg_key"},
		"admin:ssh_signing_key": {"write:ssh_signing_key"},
		"write:ssh_signing_key": {"read:ssh_signing_key"},
		"write:discussion":      {"read:discussion"},
		"write:packages":        {"read:packages"},
		"codespace":             {"codespace:secrets"},
	}
}

// githubApp is the user tokens of GitHub Apps: permissions belong to the app, so scopes are ignored.
// Whether tokens end is the app's setting; where they do not, replies name neither an end nor a refresh
// token.
func githubApp() connectors.Connector {
	return connectors.Connector{
		Slug: "github-app",
		Name: "GitHub App",
		Type: "github",
		DocsURL: "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/" +
			"refreshing-user-access-tokens",
		AuthorizationURL:         "https://github.com/login/oauth/authorize",
		TokenURL:                 "https://github.com/login/oauth/access_token",
		IdentityURL:              "https://api.github.com/user",
		ClientAuth:               connectors.ClientAuthBody,
		Body:                     connectors.BodyForm,
		PKCE:                     true,
		ScopeSeparator:           " ",
		NoScopes:                 true,
		KillsPreviousAccessToken: true,
		DeadGrantCodes:           []string{"bad_verification_code", "bad_refresh_token"},
		DeadClientCodes:          []string{"incorrect_client_credentials"},
	}
}

// gitlab is gitlab.com; one of your own is the setting base_url. A refresh ends the old pair at once.
func gitlab() connectors.Connector {
	return connectors.Connector{
		Slug:                     "gitlab",
		Name:                     "GitLab",
		Type:                     "gitlab",
		DocsURL:                  "https://docs.gitlab.com/api/oauth2/",
		AuthorizationURL:         "https://gitlab.com/oauth/authorize",
		TokenURL:                 "https://gitlab.com/oauth/token",
		RevocationURL:            "https://gitlab.com/oauth/revoke",
		IdentityURL:              "https://gitlab.com/api/v4/user",
		ClientAuth:               connectors.ClientAuthBody,
		Body:                     connectors.BodyForm,
		PKCE:                     true,
		ScopeSeparator:           " ",
		DefaultScopes:            []string{"read_user"},
		Lifetime:                 2 * time.Hour,
		KillsPreviousAccessToken: true,
	}
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
		IdentityURL:      "https://openidconnect.googleapis.com/v1/userinfo",
		ClientAuth:       connectors.ClientAuthBody,
		Body:             connectors.BodyForm,
		PKCE:             true,
		ScopeSeparator:   " ",
		DefaultScopes:    []string{"openid", "email", "profile"},
		ScopeRules: connectors.ScopeRules{
			Aliases: map[string]string{"email": userinfo + "email", "profile": userinfo + "profile"},
		},
		AuthorizeParams: map[string]string{"access_type": "offline", "prompt": "consent"},
		Lifetime:        time.Hour,
		// A Workspace that asks its users to sign in again says so in either of two members.
		DeadGrantCodes:  []string{"invalid_rapt"},
		DeadClientCodes: []string{"deleted_client", "disabled_client"},
	}
}

// linear identifies users by GraphQL only, so there is no identity call.
func linear() connectors.Connector {
	return connectors.Connector{
		Slug:             "linear",
		Name:             "Linear",
		Type:             "linear",
		DocsURL:          "https://linear.app/developers/oauth-2-0-authentication",
		AuthorizationURL: "https://linear.app/oauth/authorize",
		TokenURL:         "https://api.linear.app/oauth/token",
		RevocationURL:    "https://api.linear.app/oauth/revoke",
		ClientAuth:       connectors.ClientAuthBody,
		Body:             connectors.BodyForm,
		PKCE:             true,
		ScopeSeparator:   ",",
		DefaultScopes:    []string{"read"},
		Lifetime:         24 * time.Hour,
	}
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
		DeadGrantCodes:  []string{"interaction_required", "consent_required", "login_required"},
	}
}
