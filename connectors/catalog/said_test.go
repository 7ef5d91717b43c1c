package catalog_test

import (
	"cmp"
	"maps"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"

	gocmp "github.com/google/go-cmp/cmp"
)

// said is what a provider says besides a token, and what callers get of it.
type said struct {
	slug string
	// token is a token reply, identity the answer of an identity call; both may be left out.
	token, identity string
	callback        map[string]string
	want            map[string]string
}

// sayings has each connector with fields of replies.
func sayings() []said {
	return []said{
		{slug: "docusign", identity: `{"sub":"u1","email":"a@acme.example","accounts":[
			{"account_id":"11111111-aaaa","is_default":false,"base_uri":"https://na2.docusign.net"},
			{"account_id":"22222222-bbbb","is_default":true,"base_uri":"https://eu.docusign.net"}]}`,
			want: map[string]string{"base_uri": "https://eu.docusign.net", "account_id": "22222222-bbbb"}},
		{slug: "docusign", identity: `{"sub":"u1","accounts":[]}`},
		{slug: "docusign", identity: `{"sub":"u1","accounts":["x",{"is_default":"true","base_uri":"https://eu.docusign.net"}]}`},
		{slug: "github-app", callback: map[string]string{"installation_id": "4711", "setup_action": "install", "other": "x"},
			want: map[string]string{"installation_id": "4711", "setup_action": "install"}},
		{slug: "github-app", callback: map[string]string{"installation_id": "4711/../1", "setup_action": "delete"}},
		{slug: "gong", token: `{"access_token":"g1","expires_in":86400,"api_base_url_for_customer":"https://company-1.api.gong.io"}`,
			want: map[string]string{"api_base_url_for_customer": "https://company-1.api.gong.io"}},
		{slug: "mailchimp", identity: `{"dc":"us6","role":"owner","accountname":"Acme","user_id":7,"login":{"email":"a@acme.example"},` +
			`"login_url":"https://login.mailchimp.com","api_endpoint":"https://us6.api.mailchimp.com"}`,
			want: map[string]string{"api_endpoint": "https://us6.api.mailchimp.com"}},
		{slug: "pipedrive", token: `{"access_token":"p1","expires_in":3599,"refresh_token":"r1","api_domain":"https://acme.pipedrive.com"}`,
			want: map[string]string{"api_domain": "https://acme.pipedrive.com"}},
		{slug: "salesforce", token: `{"access_token":"00D1!x","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D1/0051"}`,
			want: map[string]string{"instance_url": "https://acme.my.salesforce.com"}},
		{slug: "salesforce", token: `{"access_token":"00D1!x","instance_url":"https://acme--dev.sandbox.my.salesforce.com"}`,
			want: map[string]string{"instance_url": "https://acme--dev.sandbox.my.salesforce.com"}},
		{slug: "salesforce", token: `{"access_token":"00D1!x"}`},
		{slug: "surveymonkey", token: `{"access_token":"sm1","access_url":"https://api.eu.surveymonkey.com","expires_in":null}`,
			want: map[string]string{"access_url": "https://api.eu.surveymonkey.com"}},
		{slug: "wrike", token: `{"access_token":"w1","expires_in":3600,"host":"app-eu.wrike.com"}`,
			want: map[string]string{"host": "app-eu.wrike.com"}},
		{slug: "zoho-crm", token: `{"access_token":"1000.a","api_domain":"https://www.zohoapis.eu","expires_in":3600}`,
			want: map[string]string{"api_domain": "https://www.zohoapis.eu"}},
	}
}

// TestSayings: what providers say besides the token is kept where it is what it should be.
func TestSayings(t *testing.T) {
	l := newListener(t)
	seen := map[string]bool{}
	for _, v := range sayings() {
		if diff := gocmp.Diff(l.hear(v), v.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", v.slug, diff)
		}
		for name := range v.want {
			seen[v.slug+" "+name] = true
		}
	}
	for _, c := range catalog.All() {
		for _, f := range c.Metadata {
			if !seen[c.Slug+" "+f.Name] {
				t.Errorf("%s: nothing shows how %s is said", c.Slug, f.Name)
			}
		}
	}
}

// TestSayingsOfOthers: a host that is not the provider's is not passed on, however it is written.
func TestSayingsOfOthers(t *testing.T) {
	l := newListener(t)
	for _, v := range sayings() {
		for _, f := range block(t, v.slug).Metadata {
			good := v.want[f.Name]
			if len(f.Domains) == 0 || good == "" {
				continue
			}
			host, path, _ := strings.Cut(strings.TrimPrefix(good, "https://"), "/")
			site := strings.TrimSuffix(good, "/"+path)
			for _, evil := range []string{
				"https://evil.example", "evil.example", "http://" + host, host + ".evil.example", site + ".evil.example",
				site + "@evil.example", "https://x@" + host, "https://evil.example/" + host, "https://evil.example?" + host, good + "?x=y",
				good + "#evil.example", "https://" + host + ":8443", site + "%2eevil.example", "https://evil" + f.Domains[0], "evil" + f.Domains[0],
				"https://127.0.0.1", "127.0.0.1", "https://[::1]", "//" + host, good + "/../x", "https://." + f.Domains[0], "javascript:alert(1)",
				"https://" + site, site + `\\.evil.example`, good + " ", good + strings.Repeat("/x", 600),
			} {
				changed := v
				changed.token, changed.identity = strings.ReplaceAll(v.token, good, evil), strings.ReplaceAll(v.identity, good, evil)
				if got, kept := l.hear(changed)[f.Name]; kept {
					t.Errorf("%s: %s is %q", v.slug, f.Name, got)
				}
			}
		}
	}
}

// listener hears what one provider says on each of its ways.
type listener struct {
	t        *testing.T
	provider *connectorstest.Server
	client   *connectors.Client
	// known are the connectors that were heard before.
	known map[string]*connectors.Connector
}

func newListener(t *testing.T) *listener {
	provider := connectorstest.Start(t, connectorstest.Config{})
	return &listener{t, provider, provider.Client(t), map[string]*connectors.Connector{}}
}

// connector is one whose answers are this test's.
func (l *listener) connector(slug string) *connectors.Connector {
	l.t.Helper()
	if conn := l.known[slug]; conn != nil {
		return conn
	}
	all, err := connectors.NewCatalog(catalog.All(), map[string]connectors.Endpoints{
		slug: {TokenURL: l.provider.URL + connectorstest.TokenPath, IdentityURL: l.provider.URL + connectorstest.IdentityPath},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	conn, _ := all.Connector(slug)
	if conn, err = conn.With(conn.ExampleConfig()); err != nil {
		l.t.Fatal(err)
	}
	l.known[slug] = conn
	return conn
}

func (l *listener) hear(v said) map[string]string {
	l.t.Helper()
	conn := l.connector(v.slug)
	heard := conn.FromCallback(func(name string) string { return v.callback[name] })
	if v.token != "" {
		l.provider.Next(connectorstest.JSON(200, v.token))
		tokens, err := l.client.Exchange(l.t.Context(), conn, l.provider.Credentials(), connectors.ExchangeRequest{
			Code: secret.New([]byte("code")), Verifier: secret.New([]byte("verifier")),
		})
		if err != nil {
			l.t.Fatal(err)
		}
		heard = heard.With(tokens.Metadata)
	}
	if v.identity != "" {
		l.provider.AlwaysIdentity(connectorstest.JSON(200, v.identity))
		told, err := l.client.Identify(l.t.Context(), conn, secret.New([]byte("access-token")))
		if err != nil {
			l.t.Fatal(err)
		}
		heard = heard.With(told.Metadata)
	}
	return heard.Metadata
}

// TestSignedCallbacks has the example of Shopify's documentation, and what is not signed like it.
func TestSignedCallbacks(t *testing.T) {
	example := map[string]string{
		"shop": "some-shop.myshopify.com", "state": "0.6784241404160823",
		"timestamp": "1337178173", "hmac": "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf",
	}
	shopify := block(t, "shopify")
	for what, v := range map[string]struct {
		conn   connectors.Connector
		secret string
		change map[string]string
		signed bool
	}{
		"as documented":         {shopify, "hush", nil, true},
		"in capitals":           {shopify, "hush", map[string]string{"hmac": strings.ToUpper(example["hmac"])}, true},
		"another secret":        {shopify, "hash", nil, false},
		"no secret":             {shopify, "", nil, false},
		"another shop":          {shopify, "hush", map[string]string{"shop": "other-shop.myshopify.com"}, false},
		"another code":          {shopify, "hush", map[string]string{"code": "0907a61c0c8d55e99db179b68161bc01"}, false},
		"more":                  {shopify, "hush", map[string]string{"host": "x"}, false},
		"not signed":            {shopify, "hush", map[string]string{"hmac": ""}, false},
		"half of it":            {shopify, "hush", map[string]string{"hmac": example["hmac"][:32]}, false},
		"not in hex":            {shopify, "hush", map[string]string{"hmac": "zz"}, false},
		"nobody signs there":    {block(t, "github"), "hush", map[string]string{"hmac": ""}, true},
		"a signature of others": {block(t, "github"), "", nil, true},
	} {
		given := maps.Clone(example)
		maps.Copy(given, v.change)
		code := cmp.Or(given["code"], "0907a61c0c8d55e99db179b68161bc00")
		delete(given, "code")
		if got := v.conn.Signed(connectors.Credentials{Secret: secret.New([]byte(v.secret))}, secret.New([]byte(code)), given); got != v.signed {
			t.Errorf("%s: signed is %v", what, got)
		}
	}
	for _, c := range catalog.All() {
		if c.Quirks.CallbackMAC != "" && c.Slug != "shopify" {
			t.Errorf("%s: nothing shows how its callbacks are signed", c.Slug)
		}
	}
}

// TestScopesOfCallbacks: Strava says there alone what was granted.
func TestScopesOfCallbacks(t *testing.T) {
	for _, v := range []struct {
		slug, granted string
		want          []string
	}{
		{"strava", "read,activity:read_all", []string{"read", "activity:read_all"}},
		{"strava", ",read", []string{"read"}},
		{"strava", "", nil},
		{"google", "openid", nil}, // its reply says so too, and counts
	} {
		conn := block(t, v.slug)
		got := conn.GrantedIn(func(name string) string { return map[string]string{"scope": v.granted}[name] })
		if diff := gocmp.Diff(got, v.want); diff != "" {
			t.Errorf("%s %q (-got +want):\n%s", v.slug, v.granted, diff)
		}
	}
	for _, c := range catalog.All() {
		if c.Quirks.CallbackScopes != "" && c.Slug != "strava" {
			t.Errorf("%s: nothing shows which scopes its callbacks name", c.Slug)
		}
	}
}
