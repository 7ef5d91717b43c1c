package connectors_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
)

// results are which checks were made, and whether they were good.
func results(findings []connectors.Finding) string {
	var words []string
	for _, f := range findings {
		word := f.Check + " ok"
		if !f.OK {
			word = f.Check + " failed"
			if f.Hint == "" {
				word += ", without a hint"
			}
		}
		words = append(words, word)
	}
	return strings.Join(words, "; ")
}

// TestProbe: a provider that keeps the rules is found good, and each way of being another thing is found.
func TestProbe(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{})
	client := provider.Client(t)
	own := func(edit func(*connectors.Connector)) string {
		t.Helper()
		c := provider.Connector("probed")
		c.Methods = []connectors.Method{connectors.MethodOAuth}
		edit(&c)
		return results(client.Probe(t.Context(), &c))
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_, _ = w.Write([]byte(`{"token_endpoint":"https://elsewhere.example/token"}`))
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
		case "/down":
			w.WriteHeader(http.StatusBadGateway)
		case "/key":
			w.WriteHeader(http.StatusUnauthorized)
		case "/moved":
			http.Redirect(w, r, "/key", http.StatusFound)
		default:
			_, _ = w.Write([]byte(`{"access_token":"anything"}`))
		}
	}))
	defer pages.Close()
	for name, c := range map[string]struct {
		edit func(*connectors.Connector)
		want string
	}{
		"good":        {func(*connectors.Connector) {}, "authorization ok; tokens ok; identity ok"},
		"no page":     {func(c *connectors.Connector) { c.AuthorizationURL = pages.URL + "/gone" }, "authorization failed; tokens ok; identity ok"},
		"no endpoint": {func(c *connectors.Connector) { c.TokenURL = provider.URL + "/none" }, "authorization ok; tokens failed; identity ok"},
		"anything, and metadata that says otherwise": {func(c *connectors.Connector) { c.TokenURL = pages.URL + "/any" },
			"authorization ok; tokens failed; metadata failed; identity ok"},
		"nobody there": {func(c *connectors.Connector) { c.TokenURL = "http://127.0.0.1:1/token" }, "authorization ok; tokens failed; identity ok"},
		"not allowed":  {func(c *connectors.Connector) { c.IdentityURL = "https://10.0.0.1/me" }, "authorization ok; tokens ok; identity failed"},
		"moved":        {func(c *connectors.Connector) { c.IdentityURL = pages.URL + "/moved" }, "authorization ok; tokens ok; identity failed"},
		"keys": {func(c *connectors.Connector) {
			c.Methods, c.IdentityURL, c.APIKey.VerifyURL = []connectors.Method{connectors.MethodAPIKey}, "", pages.URL+"/key"
		}, "verification of keys ok"},
		"keys, down": {func(c *connectors.Connector) {
			c.Methods, c.IdentityURL, c.APIKey.VerifyURL = []connectors.Method{connectors.MethodAPIKey}, "", pages.URL+"/down"
		}, "verification of keys failed"},
	} {
		if got := own(c.edit); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
