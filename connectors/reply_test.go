package connectors_test

import (
	"strings"
	"testing"
	"time"

	"culvert/connectors"

	"github.com/google/go-cmp/cmp"
)

func TestReplyTokens(t *testing.T) {
	const hour = time.Hour
	for _, tc := range []struct {
		name string
		conn connectors.Connector
		body string
		// date is the provider's clock less ours.
		skew time.Duration
		want plainTokens
	}{
		{
			name: "as the RFC has it",
			body: `{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}`,
			want: plainTokens{Access: "a", Refresh: "r", Lifetime: hour, RefreshEndUnknown: true, Scopes: []string{"x", "y"}},
		},
		{
			name: "a form",
			body: "access_token=a%2Bb&token_type=bearer&expires_in=3600&scope=x%2Cy",
			want: plainTokens{Access: "a+b", Lifetime: hour, RefreshEndUnknown: true, Scopes: []string{"x", "y"}},
		},
		{
			name: "a byte order mark, space and a newline",
			body: "\ufeff  {\"access_token\":\"a\",\"expires_in\":3600}\r\n",
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime as text",
			body: `{"access_token":"a","expires_in":"3600"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime with a fraction",
			body: `{"access_token":"a","expires_in":3599.5}`,
			want: plainTokens{Access: "a", Lifetime: 3599500 * time.Millisecond, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime beyond all bounds",
			body: `{"access_token":"a","expires_in":1e300}`,
			want: plainTokens{Access: "a", Lifetime: 100 * 365 * 24 * hour, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime of ten years",
			body: `{"access_token":"a","expires_in":315705599}`,
			want: plainTokens{Access: "a", Lifetime: 315705599 * time.Second, RefreshEndUnknown: true},
		},
		{
			name: "no lifetime, none known",
			body: `{"access_token":"a"}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "no lifetime, but the provider's is known",
			conn: connectors.Connector{Lifetime: 2 * hour},
			body: `{"access_token":"a","expires_in":null}`,
			want: plainTokens{Access: "a", Lifetime: 2 * hour, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime that is no number",
			body: `{"access_token":"a","expires_in":"soon"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "a lifetime that is no number, but the provider's is known",
			conn: connectors.Connector{Lifetime: 2 * hour},
			body: `{"access_token":"a","expires_in":{}}`,
			want: plainTokens{Access: "a", Lifetime: 2 * hour, RefreshEndUnknown: true},
		},
		{
			name: "no lifetime at all means none left",
			body: `{"access_token":"a","expires_in":0}`,
			want: plainTokens{Access: "a", RefreshEndUnknown: true},
		},
		{
			name: "unless the provider means for ever",
			conn: connectors.Connector{ZeroNeverEnds: true},
			body: `{"access_token":"a","expires_in":"0"}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "which says nothing of other numbers",
			conn: connectors.Connector{ZeroNeverEnds: true},
			body: `{"access_token":"a","expires_in":60}`,
			want: plainTokens{Access: "a", Lifetime: time.Minute, RefreshEndUnknown: true},
		},
		{
			name: "a negative lifetime",
			body: `{"access_token":"a","expires_in":-5}`,
			want: plainTokens{Access: "a", RefreshEndUnknown: true},
		},
		{
			name: "an end in seconds since 1970",
			body: `{"access_token":"a","expires_at":1772370000}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end in milliseconds since 1970, as text",
			body: `{"access_token":"a","expires_at":"1772370000000"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end as a date",
			body: `{"access_token":"a","expires_at":"2026-03-01T14:00:00+01:00"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end by a clock that is two hours slow",
			skew: -2 * hour,
			body: `{"access_token":"a","expires_at":"2026-03-01T11:00:00Z"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end by a clock that is nearly right",
			skew: -30 * time.Second,
			body: `{"access_token":"a","expires_at":"2026-03-01T13:00:00Z"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end that is no time",
			body: `{"access_token":"a","expires_at":"tomorrow"}`,
			want: plainTokens{Access: "a", Lifetime: hour, RefreshEndUnknown: true},
		},
		{
			name: "an end in the year 9999",
			body: `{"access_token":"a","expires_at":"9999-12-31T23:59:59Z"}`,
			want: plainTokens{Access: "a", Lifetime: 100 * 365 * 24 * hour, RefreshEndUnknown: true},
		},
		{
			name: "the lifetime wins over the end",
			body: `{"access_token":"a","expires_in":60,"expires_at":1772370000}`,
			want: plainTokens{Access: "a", Lifetime: time.Minute, RefreshEndUnknown: true},
		},
		{
			name: "the refresh token's lifetime",
			body: `{"access_token":"a","refresh_token":"r","refresh_token_expires_in":15897600}`,
			want: plainTokens{Access: "a", Refresh: "r", Endless: true, RefreshLifetime: 15897600 * time.Second},
		},
		{
			name: "the refresh token's lifetime by another name, and the refresh token does not end",
			body: `{"access_token":"a","refresh_token":"r","refresh_expires_in":0}`,
			want: plainTokens{Access: "a", Refresh: "r", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "scopes with commas",
			body: `{"access_token":"a","scope":"x, y,z"}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true, Scopes: []string{"x", "y", "z"}},
		},
		{
			name: "scopes as an array",
			body: `{"access_token":"a","scope":["x","y"]}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true, Scopes: []string{"x", "y"}},
		},
		{
			name: "scopes under another name",
			body: `{"access_token":"a","scopes":"x y"}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true, Scopes: []string{"x", "y"}},
		},
		{
			name: "no scopes were granted",
			body: `{"access_token":"a","scope":""}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true, Scopes: []string{}},
		},
		{
			name: "nothing is said of scopes",
			body: `{"access_token":"a","scope":null}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "an error member that says that there is none",
			body: `{"access_token":"a","error":"","error_description":null}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "an error member that is 0, false or null",
			body: `{"access_token":"a","error":0}`,
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
		{
			name: "a name that is not UTF-8 beside the token",
			body: "{\"access_token\":\"a\",\"user\":{\"name\":\"J\xf6rg\"}}",
			want: plainTokens{Access: "a", Endless: true, RefreshEndUnknown: true},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := connectors.ReadReply(&tc.conn, 200, []byte(tc.body), start(), start().Add(tc.skew))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(reveal(got), tc.want); diff != "" {
				t.Errorf("tokens (-got +want):\n%s", diff)
			}
		})
	}
}

func TestReplyFailures(t *testing.T) {
	const (
		transient = connectors.Transient
		ambiguous = connectors.Ambiguous
		dead      = connectors.DeadGrant
		client    = connectors.ClientRejected
		refused   = connectors.Refused
	)
	aliases := connectors.Connector{
		DeadGrantCodes:  []string{"invalid_request", "token_inactive"},
		DeadClientCodes: []string{"wrong_app"},
		TransientCodes:  []string{"try_later"},
	}
	for _, tc := range []struct {
		name   string
		conn   connectors.Connector
		status int
		body   string
		want   failure
	}{
		// Case: the RFC's codes.
		{"a dead grant", connectors.Connector{}, 400, `{"error":"invalid_grant"}`, failure{dead, "invalid_grant", 400, 0}},
		{"a rejected client", connectors.Connector{}, 401, `{"error":"invalid_client"}`, failure{client, "invalid_client", 401, 0}},
		{"a client that may not", connectors.Connector{}, 400, `{"error":"unauthorized_client"}`, failure{client, "unauthorized_client", 400, 0}},
		{"a wrong scope", connectors.Connector{}, 400, `{"error":"invalid_scope"}`, failure{refused, "invalid_scope", 400, 0}},
		{"a wrong request", connectors.Connector{}, 400, `{"error":"invalid_request"}`, failure{refused, "invalid_request", 400, 0}},
		{"a form", connectors.Connector{}, 400, `error=invalid_grant&error_description=no`, failure{dead, "invalid_grant", 400, 0}},

		// Case: the right code with another status.
		{"200 with an error", connectors.Connector{}, 200, `{"error":"invalid_grant"}`, failure{dead, "invalid_grant", 200, 0}},
		{"200 with an error beside a token", connectors.Connector{}, 200, `{"error":"access_denied","access_token":"a"}`, failure{refused, "access_denied", 200, 0}},
		{"403 for a dead grant", connectors.Connector{}, 403, `{"error":"invalid_grant"}`, failure{dead, "invalid_grant", 403, 0}},
		{"401 for a dead grant", connectors.Connector{}, 401, `{"error":"invalid_grant"}`, failure{dead, "invalid_grant", 401, 0}},

		// Case: a provider's own codes, which mean nothing elsewhere.
		{"re-use as a wrong request", aliases, 400, `{"error":"invalid_request"}`, failure{dead, "invalid_request", 400, 0}},
		{"re-use as 401", aliases, 401, `{"error":"token_inactive"}`, failure{dead, "token_inactive", 401, 0}},
		{"the same elsewhere", connectors.Connector{}, 401, `{"error":"token_inactive"}`, failure{refused, "token_inactive", 401, 0}},
		{"its client", aliases, 200, `{"error":"wrong_app"}`, failure{client, "wrong_app", 200, 0}},
		{"its pause", aliases, 200, `{"error":"try_later"}`, failure{transient, "try_later", 200, 0}},

		// Case: errors of other shapes.
		{"an object with a number", connectors.Connector{}, 400, `{"error":{"code":190,"type":"OAuthException"}}`, failure{refused, "190", 400, 0}},
		{"an object with a code", connectors.Connector{}, 400, `{"error":{"code":"invalid_grant","message":"no"}}`, failure{dead, "invalid_grant", 400, 0}},
		{"an object with a type", connectors.Connector{}, 400, `{"error":{"type":"invalid_grant"}}`, failure{dead, "invalid_grant", 400, 0}},
		{"an object with nothing", connectors.Connector{}, 400, `{"error":{}}`, failure{refused, "", 400, 0}},
		{"true with a code", connectors.Connector{}, 400, `{"error":true,"error_code":"invalid_grant"}`, failure{dead, "invalid_grant", 400, 0}},
		{"a list with status 200", connectors.Connector{}, 200, `{"error":["x"]}`, failure{refused, "", 200, 0}},
		{"a list", connectors.Connector{}, 400, `{"error":["x"]}`, failure{refused, "", 400, 0}},
		{"status and message", connectors.Connector{}, 400, `{"status":400,"message":"Invalid refresh token"}`, failure{refused, "", 400, 0}},
		{"a token with a status that says no", connectors.Connector{}, 403, `{"access_token":"a"}`, failure{refused, "", 403, 0}},
		{"codes that are not made like codes", connectors.Connector{}, 400, `{"error":"Invalid Grant!"}`, failure{refused, "", 400, 0}},
		{"a code that is too long", connectors.Connector{}, 400, `{"error":"` + strings.Repeat("a", 65) + `"}`, failure{refused, "", 400, 0}},

		// Case: the provider is down or busy, whatever it says.
		{"503", connectors.Connector{}, 503, `{"error":"invalid_grant"}`, failure{transient, "invalid_grant", 503, 0}},
		{"429", connectors.Connector{}, 429, `{"error":"invalid_grant"}`, failure{transient, "invalid_grant", 429, 0}},
		{"408", connectors.Connector{}, 408, ``, failure{transient, "", 408, 0}},
		{"425", connectors.Connector{}, 425, ``, failure{transient, "", 425, 0}},
		{"500 that names a dead grant", connectors.Connector{}, 500, `{"error":"invalid_grant"}`, failure{ambiguous, "invalid_grant", 500, 0}},
		{"500 that says that it is passing", connectors.Connector{}, 500, `{"error":"temporarily_unavailable"}`, failure{transient, "temporarily_unavailable", 500, 0}},
		{"a server error with status 400", connectors.Connector{}, 400, `{"error":"server_error"}`, failure{ambiguous, "server_error", 400, 0}},

		// Case: nothing readable.
		{"a page instead of tokens", connectors.Connector{}, 200, `<html>`, failure{ambiguous, "", 200, 0}},
		{"a gateway's page", connectors.Connector{}, 502, `<html>`, failure{ambiguous, "", 502, 0}},
		{"a gateway that gave up", connectors.Connector{}, 504, ``, failure{ambiguous, "", 504, 0}},
		{"a page for maintenance", connectors.Connector{}, 503, `<!DOCTYPE html>`, failure{transient, "", 503, 0}},
		{"a firewall's page", connectors.Connector{}, 403, `<html>`, failure{transient, "", 403, 0}},
		{"a refusal in prose", connectors.Connector{}, 400, `Bad Request`, failure{refused, "", 400, 0}},
		{"401 without a word", connectors.Connector{}, 401, ``, failure{refused, "", 401, 0}},
		{"a redirect", connectors.Connector{}, 302, ``, failure{refused, "", 302, 0}},
		{"nothing", connectors.Connector{}, 200, ``, failure{ambiguous, "", 200, 0}},
		{"204", connectors.Connector{}, 204, ``, failure{ambiguous, "", 204, 0}},
		{"cut off", connectors.Connector{}, 200, `{"access_token":"a","refr`, failure{ambiguous, "", 200, 0}},
		{"something behind it", connectors.Connector{}, 200, `{"access_token":"a"}{"access_token":"b"}`, failure{ambiguous, "", 200, 0}},
		{"a name twice", connectors.Connector{}, 200, `{"access_token":"a","access_token":"b"}`, failure{ambiguous, "", 200, 0}},
		{"a name twice, spelt differently", connectors.Connector{}, 200, `{"access_token":"a","access\u005ftoken":"b"}`, failure{ambiguous, "", 200, 0}},
		{"a name twice inside", connectors.Connector{}, 200, `{"access_token":"a","user":{"id":1,"id":2}}`, failure{ambiguous, "", 200, 0}},
		{"a parameter twice", connectors.Connector{}, 200, `access_token=a&access_token=b`, failure{ambiguous, "", 200, 0}},
		{"a list of replies", connectors.Connector{}, 200, `[{"access_token":"a"}]`, failure{ambiguous, "", 200, 0}},
		{"too deep", connectors.Connector{}, 200, `{"x":` + strings.Repeat("[", 20000), failure{ambiguous, "", 200, 0}},
		{"another case", connectors.Connector{}, 200, `{"Access_Token":"a"}`, failure{ambiguous, "", 200, 0}},
		{"a token that is a number of no use", connectors.Connector{}, 200, `{"access_token":null}`, failure{ambiguous, "", 200, 0}},
		{"a token that is an object", connectors.Connector{}, 200, `{"access_token":{"a":1}}`, failure{ambiguous, "", 200, 0}},
		{"an empty token", connectors.Connector{}, 200, `{"access_token":""}`, failure{ambiguous, "", 200, 0}},
		{"a token with a newline", connectors.Connector{}, 200, `{"access_token":"a\r\nX-Evil: 1"}`, failure{ambiguous, "", 200, 0}},
		{"a token beyond ASCII", connectors.Connector{}, 200, `{"access_token":"ä"}`, failure{ambiguous, "", 200, 0}},
		{"a refresh token with a zero byte", connectors.Connector{}, 200, `{"access_token":"a","refresh_token":"\u0000"}`, failure{ambiguous, "", 200, 0}},
		{"a token that is not UTF-8", connectors.Connector{}, 200, "{\"access_token\":\"a\xff\"}", failure{ambiguous, "", 200, 0}},
		{"a form that is not UTF-8", connectors.Connector{}, 200, "access_token=a%ff", failure{ambiguous, "", 200, 0}},
		{"a form with a semicolon", connectors.Connector{}, 200, "access_token=a;b", failure{ambiguous, "", 200, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := connectors.ReadReply(&tc.conn, tc.status, []byte(tc.body), start(), time.Time{})
			if diff := cmp.Diff(MustFail(t, err), tc.want); diff != "" {
				t.Errorf("failure (-got +want):\n%s", diff)
			}
		})
	}
}

// TestReplyEchoedSecret: a provider that sends a secret of ours back as its error code.
func TestReplyEchoedSecret(t *testing.T) {
	token := hidden("refresh.0123456789abcdef")
	for body, want := range map[string]string{
		`{"error":"refresh.0123456789abcdef"}`:       "",
		`{"error":"bad_refresh.0123456789abcdef_x"}`: "",
		`{"error":"0123456789abcdef"}`:               "",
		`{"error":"not_ours_at_all"}`:                "not_ours_at_all",
	} {
		_, err := connectors.ReadReply(&connectors.Connector{}, 400, []byte(body), start(), time.Time{}, token)
		if got := MustFail(t, err).Code; got != want {
			t.Errorf("code of %s is %q, want %q", body, got, want)
		}
		if strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("the error names the token: %v", err)
		}
	}
}
