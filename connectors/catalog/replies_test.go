package catalog_test

import (
	"net/http"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"

	"github.com/google/go-cmp/cmp"
)

// vector is a reply of a provider, as documented or seen, and what it means.
type vector struct {
	slug, name  string
	status      int
	contentType string // default JSON
	body        string
	want        outcome
}

// outcome is either tokens or a failure.
type outcome struct {
	Access, Refresh string
	// Lifetime is in seconds; 0: the token does not end; ended: it has ended as it arrives.
	Lifetime, RefreshLifetime int
	Scopes                    []string
	Named, NamedRefresh       map[string]string

	Class  connectors.Class
	Code   string
	Ending connectors.Ending
}

const (
	transient = connectors.Transient
	ambiguous = connectors.Ambiguous
	dead      = connectors.DeadGrant
	client    = connectors.ClientRejected
	refused   = connectors.Refused

	policy = connectors.EndingPolicy
)

// ended is a lifetime of nothing, which is not that of a token that does not end.
const ended = -1

func vectors() []vector {
	const form = "application/x-www-form-urlencoded"
	return []vector{
		{"github", "tokens", 200, "", `{"access_token":"gho_1","token_type":"bearer","scope":"repo,gist"}`,
			outcome{Access: "gho_1", Scopes: []string{"repo", "gist"}}},
		{"github", "tokens as a form, in spite of Accept", 200, form + "; charset=utf-8", `access_token=gho_1&scope=repo%2Cgist&token_type=bearer`,
			outcome{Access: "gho_1", Scopes: []string{"repo", "gist"}}},
		{"github", "tokens without scopes", 200, "", `{"access_token":"gho_1","scope":"","token_type":"bearer"}`,
			outcome{Access: "gho_1", Scopes: []string{}}},
		{"github", "a used code", 200, "", `{"error":"bad_verification_code","error_description":"The code is incorrect or expired.","error_uri":"https://docs.github.com/x"}`,
			outcome{Class: dead, Code: "bad_verification_code"}},
		{"github", "a used code as a form", 200, form, `error=bad_verification_code&error_description=The+code+is+incorrect`,
			outcome{Class: dead, Code: "bad_verification_code"}},
		{"github", "a wrong secret", 200, "", `{"error":"incorrect_client_credentials"}`,
			outcome{Class: client, Code: "incorrect_client_credentials"}},
		{"github", "another callback", 200, "", `{"error":"redirect_uri_mismatch"}`,
			outcome{Class: refused, Code: "redirect_uri_mismatch"}},
		{"github", "an address that is not verified", 200, "", `{"error":"unverified_user_email"}`,
			outcome{Class: refused, Code: "unverified_user_email"}},
		{"github", "an unknown app", 404, "", `{"error":"Not Found"}`, outcome{Class: refused}},
		{"github", "a unicorn", 502, "text/html", "<!DOCTYPE html><title>Unicorn!</title>", outcome{Class: ambiguous}},
		{"github", "maintenance", 503, "text/html", "<html>", outcome{Class: transient}},

		{"github-app", "tokens that end", 200, "", `{"access_token":"ghu_1","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"}`,
			outcome{Access: "ghu_1", Refresh: "ghr_1", Lifetime: 28800, RefreshLifetime: 15897600, Scopes: []string{}}},
		{"github-app", "tokens that do not end", 200, "", `{"access_token":"ghu_1","scope":"","token_type":"bearer"}`,
			outcome{Access: "ghu_1", Scopes: []string{}}},
		{"github-app", "a used refresh token", 200, "", `{"error":"bad_refresh_token","error_description":"The refresh token is incorrect or expired."}`,
			outcome{Class: dead, Code: "bad_refresh_token"}},
		{"github-app", "tokens that end, as a form", 200, form, `access_token=ghu_1&expires_in=28800&refresh_token=ghr_1&refresh_token_expires_in=15897600&scope=&token_type=bearer`,
			outcome{Access: "ghu_1", Refresh: "ghr_1", Lifetime: 28800, RefreshLifetime: 15897600, Scopes: []string{}}},
		{"github-app", "a used code", 200, "", `{"error":"bad_verification_code"}`, outcome{Class: dead, Code: "bad_verification_code"}},
		{"github-app", "a wrong secret", 200, "", `{"error":"incorrect_client_credentials"}`,
			outcome{Class: client, Code: "incorrect_client_credentials"}},

		{"gitlab", "tokens", 200, "", `{"access_token":"gl1","token_type":"Bearer","expires_in":7200,"refresh_token":"gr1","scope":"read_user api","created_at":1607635748}`,
			outcome{Access: "gl1", Refresh: "gr1", Lifetime: 7200, Scopes: []string{"read_user", "api"}}},
		{"gitlab", "a used refresh token", 400, "", `{"error":"invalid_grant","error_description":"The provided authorization grant is invalid, expired, revoked, or was issued to another client."}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"gitlab", "a wrong secret", 401, "", `{"error":"invalid_client","error_description":"Client authentication failed."}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"gitlab", "tokens without an end, which are those of two hours", 200, "", `{"access_token":"gl1","token_type":"Bearer","refresh_token":"gr1","scope":"read_user"}`,
			outcome{Access: "gl1", Refresh: "gr1", Lifetime: 7200, Scopes: []string{"read_user"}}},
		{"gitlab", "an unknown app", 401, "", `{"error":"invalid_client","error_description":"unknown client"}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"gitlab", "its gateway", 502, "text/html", "<html>GitLab is not responding", outcome{Class: ambiguous}},
		{"gitlab", "too many requests, in prose", 429, "text/plain", "Retry later\n", outcome{Class: transient}},

		{"google", "tokens", 200, "", `{"access_token":"ya29.1","expires_in":3599,"refresh_token":"1//r","scope":"openid https://www.googleapis.com/auth/userinfo.email","token_type":"Bearer","id_token":"x.y.z"}`,
			outcome{Access: "ya29.1", Refresh: "1//r", Lifetime: 3599, Scopes: []string{"openid", "https://www.googleapis.com/auth/userinfo.email"}}},
		{"google", "no refresh token, as without prompt=consent", 200, "", `{"access_token":"ya29.1","expires_in":3599,"scope":"openid","token_type":"Bearer"}`,
			outcome{Access: "ya29.1", Lifetime: 3599, Scopes: []string{"openid"}}},
		{"google", "a refresh token of seven days, as of an app in testing", 200, "", `{"access_token":"ya29.1","expires_in":3599,"refresh_token":"1//r","scope":"openid","token_type":"Bearer","refresh_token_expires_in":604799}`,
			outcome{Access: "ya29.1", Refresh: "1//r", Lifetime: 3599, RefreshLifetime: 604799, Scopes: []string{"openid"}}},
		{"google", "a wrong secret", 401, "", `{"error":"invalid_client","error_description":"Unauthorized"}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"google", "a dead refresh token", 400, "", `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"google", "a Workspace that wants another sign-in", 400, "", `{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_subtype":"invalid_rapt"}`,
			outcome{Class: dead, Code: "invalid_grant", Ending: policy}},
		{"google", "a Workspace that forbids the app", 400, "", `{"error":"admin_policy_enforced"}`,
			outcome{Class: refused, Code: "admin_policy_enforced"}},
		{"google", "a deleted client", 401, "", `{"error":"deleted_client","error_description":"The OAuth client was deleted."}`,
			outcome{Class: client, Code: "deleted_client"}},
		{"google", "an error of its gateway", 500, "", `{"error":{"code":500,"message":"Internal error","status":"INTERNAL"}}`,
			outcome{Class: ambiguous, Code: "500"}},
		{"google", "an error of its gateway that names no code", 503, "", `{"error":{"status":"unavailable"}}`,
			outcome{Class: transient, Code: "unavailable"}},

		{"linear", "tokens", 200, "", `{"access_token":"lin1","token_type":"Bearer","expires_in":86399,"refresh_token":"linr","scope":"read write"}`,
			outcome{Access: "lin1", Refresh: "linr", Lifetime: 86399, Scopes: []string{"read", "write"}}},
		{"linear", "scopes as an array", 200, "", `{"access_token":"lin1","expires_in":86399,"scope":["read","issues:create"]}`,
			outcome{Access: "lin1", Lifetime: 86399, Scopes: []string{"read", "issues:create"}}},
		{"linear", "tokens of ten years, from before rotation", 200, "", `{"access_token":"lin1","expires_in":315705599,"scope":"read,write"}`,
			outcome{Access: "lin1", Lifetime: 315705599, Scopes: []string{"read", "write"}}},
		{"linear", "a used refresh token", 400, "", `{"error":"invalid_grant","error_description":"Refresh token is invalid."}`,
			outcome{Class: dead, Code: "invalid_grant"}},

		{"linear", "a wrong secret", 401, "", `{"error":"invalid_client","error_description":"Invalid client credentials"}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"linear", "too many requests, in the words of its API", 429, "", `{"errors":[{"message":"Rate limit exceeded","extensions":{"code":"RATELIMITED"}}]}`,
			outcome{Class: transient}},
		{"linear", "an error in the words of its API", 400, "", `{"errors":[{"message":"Bad request"}]}`, outcome{Class: refused}},

		{"microsoft", "tokens", 200, "", `{"token_type":"Bearer","scope":"User.Read profile","expires_in":4321,"ext_expires_in":4321,"access_token":"eyJ","refresh_token":"0.A"}`,
			outcome{Access: "eyJ", Refresh: "0.A", Lifetime: 4321, Scopes: []string{"User.Read", "profile"}}},
		{"microsoft", "lifetimes as text, as its v1 endpoint has them", 200, "", `{"access_token":"eyJ","expires_in":"3599","ext_expires_in":"3599","expires_on":"1772370000"}`,
			outcome{Access: "eyJ", Lifetime: 3599}},
		{"microsoft", "a changed password", 400, "", `{"error":"invalid_grant","error_description":"AADSTS50173: ...","error_codes":[50173],"timestamp":"2026-03-01 12:00:00Z","suberror":"bad_token"}`,
			outcome{Class: dead, Code: "invalid_grant", Ending: policy}},
		{"microsoft", "90 days without use", 400, "", `{"error":"invalid_grant","error_description":"AADSTS700082: ...","error_codes":[700082]}`,
			outcome{Class: dead, Code: "invalid_grant", Ending: connectors.EndingIdle}},
		{"microsoft", "consent taken back", 400, "", `{"error":"invalid_grant","error_codes":[65001],"suberror":"consent_required"}`,
			outcome{Class: dead, Code: "invalid_grant", Ending: connectors.EndingRevoked}},
		{"microsoft", "a policy that wants the user", 400, "", `{"error":"interaction_required","error_codes":[50076]}`,
			outcome{Class: dead, Code: "interaction_required", Ending: policy}},
		{"microsoft", "a client secret that ran out", 401, "", `{"error":"invalid_client","error_description":"AADSTS7000222: ...","error_codes":[7000222]}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"microsoft", "an app that is not in the tenant", 400, "", `{"error":"unauthorized_client","error_codes":[700016]}`,
			outcome{Class: client, Code: "unauthorized_client"}},
		{"microsoft", "scopes of two resources", 400, "", `{"error":"invalid_request","error_codes":[28000]}`,
			outcome{Class: refused, Code: "invalid_request"}},
		{"microsoft", "a used code", 400, "", `{"error":"invalid_grant","error_description":"AADSTS54005: ...","error_codes":[54005]}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"microsoft", "no refresh token, without offline_access", 200, "", `{"token_type":"Bearer","scope":"User.Read","expires_in":3599,"access_token":"eyJ"}`,
			outcome{Access: "eyJ", Lifetime: 3599, Scopes: []string{"User.Read"}}},
		{"microsoft", "a passing error", 400, "", `{"error":"temporarily_unavailable","error_codes":[90033]}`,
			outcome{Class: transient, Code: "temporarily_unavailable"}},

		{"slack", "a bot's token", 200, "", `{"ok":true,"access_token":"xoxb-1","token_type":"bot","scope":"chat:write,channels:read","bot_user_id":"U0","team":{"id":"T1"},"authed_user":{"id":"U1"}}`,
			outcome{Access: "xoxb-1", Scopes: []string{"chat:write", "channels:read"}, Named: map[string]string{"bot": "xoxb-1"}}},
		{"slack", "a user's token only: nothing at the top", 200, "", `{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"search:read,users:read","access_token":"xoxp-1","token_type":"user"},"team":{"id":"T1"},"enterprise":null}`,
			outcome{Access: "xoxp-1", Scopes: []string{"user:search:read", "user:users:read"}, Named: map[string]string{"user": "xoxp-1"}}},
		{"slack", "both", 200, "", `{"ok":true,"access_token":"xoxb-1","token_type":"bot","scope":"chat:write","authed_user":{"id":"U1","scope":"search:read","access_token":"xoxp-1","token_type":"user"}}`,
			outcome{
				Access: "xoxb-1", Scopes: []string{"chat:write", "user:search:read"},
				Named: map[string]string{"bot": "xoxb-1", "user": "xoxp-1"},
			}},
		{"slack", "both, with rotation", 200, "", `{"ok":true,"access_token":"xoxe.xoxb-1","token_type":"bot","scope":"chat:write","expires_in":43200,"refresh_token":"xoxe-1","authed_user":{"id":"U1","scope":"search:read","access_token":"xoxe.xoxp-1","token_type":"user","expires_in":43100,"refresh_token":"xoxe-2"}}`,
			outcome{
				Access: "xoxe.xoxb-1", Refresh: "xoxe-1", Lifetime: 43200, Scopes: []string{"chat:write", "user:search:read"},
				Named:        map[string]string{"bot": "xoxe.xoxb-1", "user": "xoxe.xoxp-1"},
				NamedRefresh: map[string]string{"bot": "xoxe-1", "user": "xoxe-2"},
			}},
		{"slack", "a user's token with rotation", 200, "", `{"ok":true,"authed_user":{"id":"U1","scope":"search:read","access_token":"xoxe.xoxp-1","token_type":"user","expires_in":43200,"refresh_token":"xoxe-2"}}`,
			outcome{
				Access: "xoxe.xoxp-1", Refresh: "xoxe-2", Lifetime: 43200, Scopes: []string{"user:search:read"},
				Named: map[string]string{"user": "xoxe.xoxp-1"}, NamedRefresh: map[string]string{"user": "xoxe-2"},
			}},
		{"slack", "a refreshed user's token, which is at the top", 200, "", `{"ok":true,"access_token":"xoxe.xoxp-3","token_type":"user","scope":"search:read","expires_in":43200,"refresh_token":"xoxe-3","team":{"id":"T1"}}`,
			outcome{
				Access: "xoxe.xoxp-3", Refresh: "xoxe-3", Lifetime: 43200, Scopes: []string{"user:search:read"},
				Named: map[string]string{"user": "xoxe.xoxp-3"}, NamedRefresh: map[string]string{"user": "xoxe-3"},
			}},
		{"slack", "an organisation's installation, without a team", 200, "", `{"ok":true,"access_token":"xoxb-1","token_type":"bot","scope":"chat:write","team":null,"enterprise":{"id":"E1"},"is_enterprise_install":true}`,
			outcome{Access: "xoxb-1", Scopes: []string{"chat:write"}, Named: map[string]string{"bot": "xoxb-1"}}},
		{"slack", "a used code", 200, "", `{"ok":false,"error":"invalid_code"}`, outcome{Class: dead, Code: "invalid_code"}},
		{"slack", "a used refresh token", 200, "", `{"ok":false,"error":"invalid_refresh_token"}`, outcome{Class: dead, Code: "invalid_refresh_token"}},
		{"slack", "a revoked token", 200, "", `{"ok":false,"error":"token_revoked"}`,
			outcome{Class: dead, Code: "token_revoked", Ending: connectors.EndingRevoked}},
		{"slack", "a token whose time is over", 200, "", `{"ok":false,"error":"token_expired"}`,
			outcome{Class: dead, Code: "token_expired", Ending: connectors.EndingExpired}},
		{"slack", "a user who was removed", 200, "", `{"ok":false,"error":"account_inactive"}`,
			outcome{Class: dead, Code: "account_inactive", Ending: policy}},
		{"slack", "a wrong client", 200, "", `{"ok":false,"error":"invalid_client_id"}`, outcome{Class: client, Code: "invalid_client_id"}},
		{"slack", "a wrong secret", 200, "", `{"ok":false,"error":"bad_client_secret"}`, outcome{Class: client, Code: "bad_client_secret"}},
		{"slack", "another redirect URI", 200, "", `{"ok":false,"error":"bad_redirect_uri"}`, outcome{Class: refused, Code: "bad_redirect_uri"}},
		{"slack", "too many requests", 429, "", `{"ok":false,"error":"ratelimited"}`, outcome{Class: transient, Code: "ratelimited"}},
		{"slack", "half done", 200, "", `{"ok":false,"error":"internal_error"}`, outcome{Class: ambiguous, Code: "internal_error"}},
		{"slack", "no, without a word", 200, "", `{"ok":false}`, outcome{Class: refused}},
		{"slack", "yes, without a token", 200, "", `{"ok":true,"authed_user":{"id":"U1"}}`, outcome{Class: ambiguous}},
		{"slack", "a failed status", 500, "text/html", "<html>", outcome{Class: ambiguous}},

		{"mailchimp", "tokens that do not end", 200, "", `{"access_token":"m1","expires_in":0,"scope":null}`, outcome{Access: "m1"}},
		{"mailchimp", "a used code", 400, "", `{"error":"invalid_grant","error_description":"Invalid grant"}`,
			outcome{Class: dead, Code: "invalid_grant"}},

		{"twitch", "tokens, with a list of scopes", 200, "", `{"access_token":"t1","expires_in":14124,"refresh_token":"r1","scope":["user:read:email","chat:read"],"token_type":"bearer"}`,
			outcome{Access: "t1", Refresh: "r1", Lifetime: 14124, Scopes: []string{"user:read:email", "chat:read"}}},
		{"twitch", "a dead refresh token", 400, "", `{"error":"Bad Request","status":400,"message":"Invalid refresh token"}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"twitch", "a dead refresh token, without a word beside the message", 400, "", `{"status":400,"message":"Invalid refresh token"}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"twitch", "a used code", 400, "", `{"status":400,"message":"Invalid authorization code"}`, outcome{Class: dead, Code: "invalid_grant"}},
		{"twitch", "a wrong secret", 403, "", `{"status":403,"message":"invalid client secret"}`, outcome{Class: client, Code: "invalid_client"}},
		{"twitch", "an unknown app", 400, "", `{"status":400,"message":"invalid client"}`, outcome{Class: client, Code: "invalid_client"}},
		{"twitch", "a request that lacks something", 400, "", `{"status":400,"message":"missing client id"}`, outcome{Class: refused}},
		{"twitch", "an outage with the words of a refusal", 500, "", `{"status":500,"message":"Invalid refresh token"}`,
			outcome{Class: ambiguous, Code: "invalid_grant"}},

		{"x", "tokens", 200, "", `{"token_type":"bearer","expires_in":7200,"access_token":"x1","scope":"tweet.read users.read offline.access","refresh_token":"r1"}`,
			outcome{Access: "x1", Refresh: "r1", Lifetime: 7200, Scopes: []string{"tweet.read", "users.read", "offline.access"}}},
		{"x", "a used refresh token", 400, "", `{"error":"invalid_request","error_description":"Value passed for the token was invalid."}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"x", "a used code", 400, "", `{"error":"invalid_request","error_description":"Value passed for the authorization code was invalid."}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"x", "a request that lacks something", 400, "", `{"error":"invalid_request","error_description":"Missing required parameter [code_verifier]."}`,
			outcome{Class: refused, Code: "invalid_request"}},
		{"x", "a wrong secret", 401, "", `{"error":"unauthorized_client","error_description":"Missing valid authorization header"}`,
			outcome{Class: client, Code: "unauthorized_client"}},
		{"x", "an outage with the words of a refusal", 503, "", `{"error":"invalid_request","error_description":"Value passed for the token was invalid."}`,
			outcome{Class: transient, Code: "invalid_grant"}},
	}
}

// TestReplies sends every vector through the client, as the reply to a code.
func TestReplies(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	provider := connectorstest.Start(t, connectorstest.Config{Now: func() time.Time { return now }})
	caller := provider.Client(t)
	seen := map[string]bool{}
	for _, v := range append(vectors(), oddities()...) {
		seen[v.slug] = true
		t.Run(v.slug+" "+v.name, func(t *testing.T) {
			c, err := connectors.NewCatalog(catalog.All(), map[string]connectors.Endpoints{
				v.slug: {TokenURL: provider.URL + connectorstest.TokenPath},
			})
			if err != nil {
				t.Fatal(err)
			}
			conn, _ := c.Connector(v.slug)
			if conn, err = conn.With(conn.ExampleConfig()); err != nil {
				t.Fatal(err)
			}
			conn.LongLived = connectors.LongLived{} // a second request; the copy is the test's
			fault := connectorstest.JSON(v.status, v.body)
			if v.contentType != "" {
				fault.Header = http.Header{"Content-Type": {v.contentType}}
			}
			fault.Header.Set("Date", now.Format(http.TimeFormat)) // absolute ends are read by the provider's clock
			provider.Next(fault)
			tokens, err := caller.Exchange(t.Context(), conn, provider.Credentials(), connectors.ExchangeRequest{
				Code: secret.New([]byte("code")), Verifier: secret.New([]byte("verifier")),
			})
			if diff := cmp.Diff(reveal(tokens, err, now), v.want); diff != "" {
				t.Errorf("outcome (-got +want):\n%s", diff)
			}
		})
	}
	endpoints := map[string]bool{}
	for _, c := range catalog.All() {
		if seen[c.Slug] {
			endpoints[c.TokenURL] = true
		}
	}
	for _, c := range catalog.All() {
		if odd(c) && !endpoints[c.TokenURL] {
			t.Errorf("%s has no vectors, and reads replies as no RFC has them", c.Slug)
		}
	}
}

// odd tells connectors whose blocks say how to read a reply: each such word needs a vector.
func odd(c connectors.Connector) bool {
	return c.Reply != nil || c.ZeroNeverEnds || len(c.DeadGrantCodes)+len(c.DeadClientCodes)+len(c.TransientCodes)+len(c.Endings) > 0
}

func reveal(tokens connectors.Tokens, err error, now time.Time) outcome {
	if err != nil {
		e := connectors.Of(err)
		if e == nil {
			return outcome{Code: "not a *connectors.Error"}
		}
		return outcome{Class: e.Class, Code: e.Code, Ending: e.Ending}
	}
	o := outcome{
		Access:       string(tokens.Access.Reveal()),
		Refresh:      string(tokens.Refresh.Reveal()),
		Scopes:       tokens.Scopes,
		Named:        revealAll(tokens.Named),
		NamedRefresh: revealAll(tokens.NamedRefresh),
	}
	if !tokens.ExpiresAt.IsZero() {
		if o.Lifetime = int(tokens.ExpiresAt.Sub(now) / time.Second); o.Lifetime == 0 {
			o.Lifetime = ended
		}
	}
	if !tokens.RefreshExpiresAt.IsZero() {
		o.RefreshLifetime = int(tokens.RefreshExpiresAt.Sub(now) / time.Second)
	}
	return o
}

func revealAll(named map[string]secret.Bytes) map[string]string {
	var texts map[string]string
	for name, s := range named {
		if texts == nil {
			texts = map[string]string{}
		}
		texts[name] = string(s.Reveal())
	}
	return texts
}
