package catalog

// https://docs.slack.dev/authentication/installing-with-oauth
// https://docs.slack.dev/authentication/using-token-rotation
// https://docs.slack.dev/reference/methods/oauth.v2.access

import (
	"maps"
	"net/http"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
)

// slackUser marks scopes of the user's own token: Slack takes and returns them apart from the bot's.
const slackUser = "user:"

// slack gives one installation up to two tokens, the bot's and the user's, which the prefix "user:" of
// a scope asks for. Challenges are taken only by apps that were turned into public clients for good, so
// none is sent. Tokens end only where the app has rotation switched on. Revocation is a call of Slack's
// own.
func slack() connectors.Connector {
	return connectors.Connector{
		Slug:             "slack",
		Name:             "Slack",
		Type:             "slack",
		DocsURL:          "https://docs.slack.dev/authentication/installing-with-oauth",
		AuthorizationURL: "https://slack.com/oauth/v2/authorize",
		TokenURL:         "https://slack.com/api/oauth.v2.access",
		IdentityURL:      "https://slack.com/api/auth.test",
		// https://docs.slack.dev/reference/methods/auth.revoke
		Revocation: connectors.RevocationCall{
			Method: http.MethodPost, URL: "https://slack.com/api/auth.revoke", Auth: connectors.RevokeAsToken,
		},
		// auth.test says it otherwise: with the bot's token it names the bot, not who installed it.
		Identity:       connectors.Identity{TokenID: []string{"team.id", "authed_user.id"}, TokenName: []string{"team.name"}},
		ClientAuth:     connectors.ClientAuthBody,
		Body:           connectors.BodyForm,
		PKCE:           false,
		ScopeSeparator: ",",
		DefaultScopes:  []string{"channels:read", "chat:write"},
		ScopeRules:     connectors.ScopeRules{Params: map[string]string{slackUser: "user_scope"}},
		DeadGrantCodes: []string{
			"invalid_code", "code_already_used", "code_expired",
			"invalid_refresh_token", "token_revoked", "token_expired", "account_inactive",
		},
		Endings: map[string]connectors.Ending{
			"token_revoked": connectors.EndingRevoked, "token_expired": connectors.EndingExpired,
			"account_inactive": connectors.EndingPolicy, // a user or workspace that was deleted
		},
		DeadClientCodes: []string{"invalid_client_id", "bad_client_secret"},
		TransientCodes: []string{
			"ratelimited", "service_unavailable", "team_added_to_org",
			"internal_error", "fatal_error", "request_timeout", // of other calls than for tokens: see slackReply
		},
		Reply: slackReply,
	}
}

// slackReply reads {"ok": false, "error"} with status 200, and tokens at the top (the bot's, or after a
// refresh whichever was refreshed) and in authed_user (the user's). An installation with user scopes
// only has nothing at the top. The first token found is the one that is vended; both have names.
func slackReply(r connectors.Reply) (connectors.Tokens, error) {
	if r.False("ok") {
		switch code := r.Text("error"); code {
		case "internal_error", "fatal_error", "request_timeout":
			// By Slack's own words part of it may have been done: the old refresh token may be used up.
			return connectors.Tokens{}, r.FailAs(connectors.Ambiguous, code)
		default:
			return connectors.Tokens{}, r.Fail(code)
		}
	}
	top := "bot"
	if r.Text("token_type") == "user" {
		top = "user"
	}
	inner := r.Object("authed_user")
	if inner.Text("access_token") == "" {
		return slackTokens(r, top)
	}
	user, err := slackTokens(inner, "user")
	if err != nil || r.Text("access_token") == "" {
		return user, err
	}
	bot, err := slackTokens(r, top)
	if err != nil {
		return connectors.Tokens{}, err
	}
	maps.Copy(bot.Named, user.Named)
	maps.Copy(bot.NamedRefresh, user.NamedRefresh)
	maps.Copy(bot.NamedExpiresAt, user.NamedExpiresAt)
	bot.Scopes = append(bot.Scopes, user.Scopes...)
	return bot, nil
}

// slackTokens reads one token under its name.
func slackTokens(r connectors.Reply, name string) (connectors.Tokens, error) {
	t, err := r.Tokens()
	if err != nil {
		return connectors.Tokens{}, err
	}
	if name == "user" {
		for i := range t.Scopes {
			t.Scopes[i] = slackUser + t.Scopes[i]
		}
	}
	t.Named = map[string]secret.Bytes{name: t.Access}
	t.NamedRefresh, t.NamedExpiresAt = map[string]secret.Bytes{}, map[string]time.Time{}
	if t.Refresh.Len() > 0 {
		t.NamedRefresh[name] = t.Refresh
	}
	if !t.ExpiresAt.IsZero() {
		t.NamedExpiresAt[name] = t.ExpiresAt
	}
	return t, nil
}
