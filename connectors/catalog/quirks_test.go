package catalog_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/internal/secret"
)

// oddRequest is what a provider whose requests depart from the RFC is sent.
type oddRequest struct {
	// Authorize is the authorization URL; Code and Refresh are the token requests, with their queries or bodies.
	Authorize     string
	Code, Refresh []string
}

// oddRequests has each connector with quirks or long-lived tokens.
func oddRequests() map[string]oddRequest {
	const (
		cb       = "redirect_uri=https%3A%2F%2Fculvert.example%2Fcb"
		code     = "grant_type=authorization_code&code=c&" + cb
		refresh  = "grant_type=refresh_token&refresh_token=rt"
		inBody   = "&client_id=id&client_secret=secret"
		ordinary = "&" + cb + "&response_type=code"
	)
	return map[string]oddRequest{
		"amazon-selling-partner": {
			Authorize: "/apps/authorize/consent?application_id=amzn1.sp.solution.0a1b2c3d" + ordinary + "&state=st",
			Code:      []string{"POST /auth/o2/token " + code + inBody},
			Refresh:   []string{"POST /auth/o2/token " + refresh + inBody},
		},
		"apollo": {
			Authorize: "/#/oauth/authorize?client_id=id" + ordinary + "&state=st",
			Code:      []string{"POST /api/v1/oauth/token " + code + inBody},
			Refresh:   []string{"POST /api/v1/oauth/token " + refresh + inBody},
		},
		"basecamp": {
			Authorize: "/authorization/new?client_id=id" + ordinary + "&state=st&type=web_server",
			Code:      []string{"POST /authorization/token " + code + "&type=web_server" + inBody},
			Refresh:   []string{"POST /authorization/token " + refresh + "&type=refresh" + inBody},
		},
		"datadog-oauth": {
			Authorize: "/oauth2/v1/authorize?client_id=id&code_challenge=ch&code_challenge_method=S256" + ordinary + "&state=st",
			Code:      []string{"POST /oauth2/v1/token " + code + "&code_verifier=v" + inBody},
			Refresh:   []string{"POST /oauth2/v1/token " + refresh + inBody},
		},
		"ebay": {
			Authorize: "/oauth2/authorize?client_id=id&redirect_uri=Acme-AcmeApp-Culver-abcdef&response_type=code&scope=" +
				"https%3A%2F%2Fapi.ebay.com%2Foauth%2Fapi_scope%20" +
				"https%3A%2F%2Fapi.ebay.com%2Foauth%2Fapi_scope%2Fcommerce.identity.readonly&state=st",
			Code:    []string{"POST /identity/v1/oauth2/token grant_type=authorization_code&code=c&redirect_uri=Acme-AcmeApp-Culver-abcdef"},
			Refresh: []string{"POST /identity/v1/oauth2/token " + refresh},
		},
		"facebook": {
			Authorize: "/v22.0/dialog/oauth?client_id=id" + ordinary + "&scope=public_profile%2Cemail&state=st",
			Code: []string{
				"POST /v22.0/oauth/access_token " + code + inBody,
				"GET /v22.0/oauth/access_token client_id=id&client_secret=secret&fb_exchange_token=at1&grant_type=fb_exchange_token",
			},
			Refresh: []string{"POST /v22.0/oauth/access_token " + refresh + inBody},
		},
		"instagram": {
			Authorize: "/oauth/authorize?client_id=id" + ordinary + "&scope=instagram_business_basic&state=st",
			Code: []string{
				"POST /oauth/access_token " + code + inBody,
				"GET /access_token access_token=at1&client_secret=secret&grant_type=ig_exchange_token",
			},
			Refresh: []string{"GET /refresh_access_token access_token=rt&grant_type=ig_refresh_token"},
		},
		"pinterest": {
			Authorize: "/oauth/?client_id=id" + ordinary + "&scope=user_accounts%3Aread&state=st",
			Code:      []string{"POST /v5/oauth/token " + code + "&continuous_refresh=true"},
			Refresh:   []string{"POST /v5/oauth/token " + refresh},
		},
		"shopify": {
			Authorize: "/admin/oauth/authorize?client_id=id" + ordinary + "&scope=read_products&state=st",
			Code:      []string{"POST /admin/oauth/access_token " + code + "&expiring=1" + inBody},
			Refresh:   []string{"POST /admin/oauth/access_token " + refresh + inBody},
		},
		"threads": {
			Authorize: "/oauth/authorize?client_id=id" + ordinary + "&scope=threads_basic&state=st",
			Code: []string{
				"POST /oauth/access_token " + code + inBody,
				"GET /access_token access_token=at1&client_secret=secret&grant_type=th_exchange_token",
			},
			Refresh: []string{"GET /refresh_access_token access_token=rt&grant_type=th_refresh_token"},
		},
		"tiktok": {
			Authorize: "/v2/auth/authorize/?client_key=id" + ordinary + "&scope=user.info.basic&state=st",
			Code:      []string{"POST /v2/oauth/token/ " + code + "&client_key=id&client_secret=secret"},
			Refresh:   []string{"POST /v2/oauth/token/ " + refresh + "&client_key=id&client_secret=secret"},
		},
		"zoho-crm": {
			Authorize: "/oauth/v2/auth?access_type=offline&client_id=id&prompt=consent" + ordinary +
				"&scope=ZohoCRM.modules.READ%2CAaaServer.profile.READ&state=st",
			Code:    []string{"POST /oauth/v2/token " + code + inBody},
			Refresh: []string{"POST /oauth/v2/token " + refresh + inBody},
		},
	}
}

// TestOddRequests: what departs from the RFC is sent as the provider's documentation has it, and nothing
// besides.
func TestOddRequests(t *testing.T) {
	want := oddRequests()
	for _, conn := range catalog.All() {
		odd := conn.LongLived.URL != ""
		if q := conn.Quirks; q.ClientIDParam != "" || q.NoAuthorizeClientID || q.RedirectURI != "" || q.FragmentRoute != "" ||
			q.CodeParam != "" || len(q.ExchangeParams)+len(q.RefreshParams)+len(q.CallbackPins) > 0 {
			odd = true
		}
		wanted, listed := want[conn.Slug]
		if odd != listed {
			t.Errorf("%s: has quirks: %v, is in the list: %v", conn.Slug, odd, listed)
		}
		if odd && listed {
			if diff := cmp.Diff(sentTo(t, conn.Slug), wanted); diff != "" {
				t.Errorf("%s (-got +want):\n%s", conn.Slug, diff)
			}
		}
	}
}

// sentTo is what a provider gets of one authorization and one refresh.
func sentTo(t *testing.T, slug string) (got oddRequest) {
	t.Helper()
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, r.Method+" "+r.URL.Path+" "+r.URL.RawQuery+string(body))
		_, _ = io.WriteString(w, `{"access_token":"at1","expires_in":3600}`)
	}))
	defer server.Close()
	all, err := connectors.NewCatalog(catalog.All(), map[string]connectors.Endpoints{slug: {BaseURL: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := all.Connector(slug)
	if conn, err = conn.With(conn.ExampleConfig()); err != nil {
		t.Fatal(err)
	}
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	if err != nil {
		t.Fatal(err)
	}
	hidden := func(s string) secret.Bytes { return secret.New([]byte(s)) }
	creds := connectors.Credentials{ID: "id", Secret: hidden("secret")}
	const cb = "https://culvert.example/cb"
	to, err := client.AuthorizationURL(conn, connectors.AuthorizationRequest{
		ClientID: "id", RedirectURI: cb, State: "st", Challenge: "ch", Scopes: conn.DefaultScopes,
	})
	if err != nil {
		t.Fatal(err)
	}
	got.Authorize = to[len(server.URL):]
	if _, err := client.Exchange(t.Context(), conn, creds, connectors.ExchangeRequest{
		Code: hidden("c"), Verifier: hidden("v"), RedirectURI: cb,
	}); err != nil {
		t.Fatal(err)
	}
	got.Code, sent = sent, nil
	if _, err := client.Refresh(t.Context(), conn, creds, hidden("rt")); err != nil {
		t.Fatal(err)
	}
	got.Refresh = sent
	return got
}

// TestCallbacks: a callback of another host is none.
func TestCallbacks(t *testing.T) {
	for _, v := range []struct {
		slug   string
		others map[string]string
		ok     bool
	}{
		{"github", map[string]string{"shop": "x"}, true},
		{"shopify", map[string]string{"shop": "acme.myshopify.com"}, true},
		{"shopify", map[string]string{"shop": "evil.myshopify.com"}, false},
		{"zoho-crm", map[string]string{"location": "eu", "accounts-server": "https://accounts.zoho.eu"}, true},
		{"zoho-crm", map[string]string{"location": "us", "accounts-server": "https://accounts.zoho.com"}, false},
		{"zoho-crm", nil, true},
		{"datadog-oauth", map[string]string{"site": "https://app.datadoghq.eu", "domain": "datadoghq.eu"}, true},
		{"datadog-oauth", map[string]string{"domain": "datadoghq.com"}, false},
	} {
		c := block(t, v.slug)
		conn, err := c.With(c.ExampleConfig())
		if err != nil {
			t.Fatal(err)
		}
		if ok := conn.CalledBack(func(name string) string { return v.others[name] }); ok != v.ok {
			t.Errorf("%s %v: got %v", v.slug, v.others, ok)
		}
	}
}
