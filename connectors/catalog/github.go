package catalog

import (
	"net/http"

	"culvert/connectors"
)

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
		Revocation:       githubRevocation(),
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"login"}},
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

// githubRevocation ends one token. The call beside it, with grant in the place of token, would end all that
// the app has of the user.
// https://docs.github.com/en/rest/apps/oauth-applications#delete-an-app-token
func githubRevocation() connectors.RevocationCall {
	return connectors.RevocationCall{
		Method: http.MethodDelete, URL: "https://api.github.com/applications/${client_id}/token", Auth: connectors.RevokeAsClient,
		TokenParam: "access_token", Body: connectors.BodyJSON, Gone: []int{http.StatusNotFound},
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
// token. A callback that follows an installation names it; GitHub's own documentation warns that anybody can
// make such a callback, so whoever relies on it looks for it among the installations of the user
// (https://docs.github.com/en/apps/creating-github-apps/registering-a-github-app/about-the-setup-url).
func githubApp() connectors.Connector {
	return connectors.Connector{
		Slug: "github-app",
		Name: "GitHub App",
		Type: "github",
		DocsURL: "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/" +
			"refreshing-user-access-tokens",
		AuthorizationURL: "https://github.com/login/oauth/authorize",
		TokenURL:         "https://github.com/login/oauth/access_token",
		IdentityURL:      "https://api.github.com/user",
		Revocation:       githubRevocation(),
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"login"}},
		ClientAuth:       connectors.ClientAuthBody,
		Body:             connectors.BodyForm,
		PKCE:             true,
		ScopeSeparator:   " ",
		NoScopes:         true,
		Metadata: []connectors.ReplyField{
			{Name: "installation_id", From: connectors.FromCallback, Pattern: `^(?:[0-9]{1,20})$`},
			{Name: "setup_action", From: connectors.FromCallback, Pattern: `^(?:install|update|request)$`},
		},
		KillsPreviousAccessToken: true,
		DeadGrantCodes:           []string{"bad_verification_code", "bad_refresh_token"},
		DeadClientCodes:          []string{"incorrect_client_credentials"},
	}
}
