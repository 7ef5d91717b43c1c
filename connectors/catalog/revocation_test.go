package catalog_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/internal/secret"
)

// sent is a revocation as it reached the provider.
type sent struct{ Request, Auth, Type, Body string }

// revocations are what each provider with a call of its own is sent for an access and a refresh token, in
// order, and some of those that keep to RFC 7009.
func revocations() map[string][]sent {
	const (
		form, json = "application/x-www-form-urlencoded", "application/json"
		basic      = "Basic aWQ6c2VjcmV0" // id:secret
	)
	bearer := func(request string) []sent { return []sent{{Request: request, Auth: "Bearer at"}} }
	github := []sent{{"DELETE /applications/id/token", basic, json, `{"access_token":"at"}`}}
	return map[string][]sent{
		"github": github, "github-app": github,
		"slack":        bearer("POST /api/auth.revoke"),
		"dropbox":      bearer("POST /2/auth/token/revoke"),
		"smartsheet":   bearer("DELETE /2.0/token"),
		"strava":       bearer("POST /oauth/deauthorize"),
		"digitalocean": {{"POST /v1/oauth/revoke", "Bearer at", form, "token=at"}},
		"oura":         {{"POST /oauth/revoke", "", form, "access_token=at"}},
		"square":       {{"POST /oauth2/revoke", "Client secret", json, `{"access_token":"at","client_id":"id"}`}},
		"facebook":     bearer("DELETE /v22.0/me/permissions"),
		"zendesk":      bearer("DELETE /api/v2/oauth/tokens/current.json"),
		"quickbooks":   {{"POST /v2/oauth2/tokens/revoke", basic, json, `{"token":"rt"}`}},
		"zoho-crm":     {{"POST /oauth/v2/token/revoke", "", form, "token=rt"}},
		"tiktok": {
			{"POST /v2/oauth/revoke/", "", form, "token=rt&token_type_hint=refresh_token&client_key=id&client_secret=secret"},
			{"POST /v2/oauth/revoke/", "", form, "token=at&token_type_hint=access_token&client_key=id&client_secret=secret"},
		},
		"google": {{"POST /revoke", "", form, "token=rt&token_type_hint=refresh_token&client_id=id&client_secret=secret"}},
		"linear": {
			{"POST /oauth/revoke", "", form, "token=rt&token_type_hint=refresh_token&client_id=id&client_secret=secret"},
			{"POST /oauth/revoke", "", form, "token=at&token_type_hint=access_token&client_id=id&client_secret=secret"},
		},
	}
}

// TestRevocations: every call of a provider's own is sent as its documentation has it.
func TestRevocations(t *testing.T) {
	want := revocations()
	for _, conn := range catalog.All() {
		wanted, listed := want[conn.Slug]
		if conn.Revocation.URL != "" && !listed {
			t.Errorf("%s has a revocation call of its own, and is not in the list", conn.Slug)
		}
		if !listed {
			continue
		}
		p := newRevoker(t, conn.Slug)
		if err := p.revoke(t, time.Time{}); err != nil {
			t.Errorf("%s: %v", conn.Slug, err)
		}
		if diff := cmp.Diff(p.sent, wanted); diff != "" {
			t.Errorf("%s sent (-got +want):\n%s", conn.Slug, diff)
		}
		delete(want, conn.Slug)
	}
	for slug := range want {
		t.Errorf("there is no %s", slug)
	}
}

// TestRevocationReplies: what the answers mean. gone is no error.
func TestRevocationReplies(t *testing.T) {
	const gone connectors.Class = 0
	for _, v := range []struct {
		slug, name string
		status     int
		body       string
		class      connectors.Class
		code       string
	}{
		{"github", "done", 204, "", gone, ""},
		{"github", "a token that is gone", 404, `{"message":"Not Found"}`, gone, ""},
		{"github", "a wrong secret", 401, `{"message":"Bad credentials"}`, client, ""},
		{"github", "no token at all", 422, `{"message":"Validation Failed"}`, refused, ""},
		{"github", "a unicorn", 502, "<!DOCTYPE html>", ambiguous, ""},
		{"slack", "done", 200, `{"ok":true,"revoked":true}`, gone, ""},
		{"slack", "a revoked token", 200, `{"ok":false,"error":"token_revoked"}`, gone, ""},
		{"slack", "an unknown token", 200, `{"ok":false,"error":"invalid_auth"}`, gone, ""},
		{"slack", "too many", 429, `{"ok":false,"error":"ratelimited"}`, transient, "ratelimited"},
		{"slack", "its trouble", 200, `{"ok":false,"error":"fatal_error"}`, transient, "fatal_error"},
		{"slack", "a method that is off", 200, `{"ok":false,"error":"method_not_supported_for_channel_type"}`, refused, "method_not_supported_for_channel_type"},
		{"google", "done", 200, `{}`, gone, ""},
		{"google", "a token that is gone", 400, `{"error":"invalid_token","error_description":"Token expired or revoked"}`, gone, ""},
		{"google", "its gateway", 503, "<html>", transient, ""},
		{"dropbox", "done", 200, "null", gone, ""},
		{"dropbox", "a token that is gone", 401, `{"error_summary":"invalid_access_token/","error":{".tag":"invalid_access_token"}}`, gone, ""},
		{"linear", "done, in words", 200, "Token revoked", gone, ""},
		{"linear", "a page in between", 200, "<html>sign in to the network</html>", ambiguous, ""},
		{"linear", "half an answer", 200, `{"success":`, ambiguous, ""},
		{"linear", "no", 200, `{"success":false}`, refused, ""},
		{"linear", "a wrong secret", 401, `{"error":"invalid_client"}`, client, "invalid_client"},
		{"linear", "later", 503, "", transient, ""},
		{"linear", "not this kind of token", 400, `{"error":"unsupported_token_type"}`, refused, connectors.CodeUnsupportedToken},
	} {
		p := newRevoker(t, v.slug)
		p.status, p.body = v.status, v.body
		err := p.revoke(t, time.Time{})
		e := connectors.Of(err)
		if v.class == gone && err != nil || v.class != gone && (e == nil || e.Class != v.class || e.Code != v.code) {
			t.Errorf("%s, %s: got %+v, want the class %v and the code %q", v.slug, v.name, err, v.class, v.code)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s, %s: %v", v.slug, v.name, err)
		}
	}
}

// TestRevocationOfEndedTokens: a call that takes living access tokens alone says so of a grant whose refresh
// token lives on, and sends nothing for one of which nothing lives.
func TestRevocationOfEndedTokens(t *testing.T) {
	p := newRevoker(t, "github-app")
	past := time.Now().Add(-time.Minute)
	if e := connectors.Of(p.revoke(t, past)); e == nil || e.Code != connectors.CodeAccessExpired || len(p.sent) != 0 {
		t.Errorf("got %+v, sent %v", e, p.sent)
	}
	p.refresh = ""
	if err := p.revoke(t, past); err != nil || len(p.sent) != 0 {
		t.Errorf("nothing lives: %v, sent %v", err, p.sent)
	}
	if err := p.revoke(t, time.Now().Add(time.Hour)); err != nil || len(p.sent) != 1 {
		t.Errorf("one lives: %v, sent %v", err, p.sent)
	}
	// By RFC 7009 the refresh token is what matters.
	p = newRevoker(t, "linear")
	if err := p.revoke(t, past); err != nil || len(p.sent) == 0 {
		t.Errorf("linear: %v, sent %v", err, p.sent)
	}
}

// revoker is a provider that notes what is revoked, and answers as it is told.
type revoker struct {
	conn    *connectors.Connector
	client  *connectors.Client
	refresh string
	sent    []sent
	status  int
	body    string
}

func newRevoker(t *testing.T, slug string) *revoker {
	t.Helper()
	p := &revoker{status: 200, refresh: "rt"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.sent = append(p.sent, sent{r.Method + " " + r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
		w.WriteHeader(p.status)
		_, _ = w.Write([]byte(p.body))
	}))
	t.Cleanup(server.Close)
	all, err := connectors.NewCatalog(catalog.All(), map[string]connectors.Endpoints{slug: {BaseURL: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	p.conn, _ = all.Connector(slug)
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	if p.client, err = connectors.NewClient(connectors.ClientConfig{Egress: egress}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *revoker) revoke(t *testing.T, ends time.Time) error {
	t.Helper()
	return p.client.Revoke(t.Context(), p.conn, connectors.Credentials{ID: "id", Secret: secret.New([]byte("secret"))}, connectors.Tokens{
		Access: secret.New([]byte("at")), Refresh: secret.New([]byte(p.refresh)), ExpiresAt: ends,
	})
}
