package catalog_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/catalog"
)

// TestLint holds every block of data to what blocks must have. What a caller's definition must have too
// is checked by NewCatalog.
func TestLint(t *testing.T) {
	list := catalog.All()
	if _, err := connectors.NewCatalog(list, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(list, func(a, b connectors.Connector) int { return strings.Compare(a.Slug, b.Slug) }) {
		t.Error("the list is not in order of slugs")
	}
	for _, c := range list {
		for _, problem := range catalog.Lint(c) {
			t.Errorf("%s: %s", c.Slug, problem)
		}
	}
	for _, problem := range catalog.LintTogether(list) {
		t.Error(problem)
	}
}

// TestSize is what may be said of the number of connectors. Those of unverified URLs do not count.
func TestSize(t *testing.T) {
	verified := map[connectors.Method]int{}
	for _, c := range catalog.All() {
		for _, m := range c.Methods {
			if !c.Preview {
				verified[m]++
			}
		}
	}
	for method, least := range map[connectors.Method]int{connectors.MethodOAuth: 100, connectors.MethodAPIKey: 25} {
		if verified[method] < least {
			t.Errorf("there are %d connectors with verified URLs by %s, and the documentation says more than %d", verified[method], method, least)
		}
	}
	t.Logf("%d connectors; verified: %v", len(catalog.All()), verified)
}

// TestLintFinds shows that the lint finds what it looks for.
func TestLintFinds(t *testing.T) {
	good := block(t, "github")
	if problems := catalog.Lint(good); len(problems) != 0 {
		t.Fatalf("%s: %q", good.Slug, problems)
	}
	for name, edit := range map[string]func(*connectors.Connector){
		"slug":        func(c *connectors.Connector) { c.Slug = "git_hub" },
		"docs":        func(c *connectors.Connector) { c.DocsURL = "" },
		"type":        func(c *connectors.Connector) { c.Type = "custom" },
		"token URL":   func(c *connectors.Connector) { c.TokenURL = "http://127.0.0.1/token" },
		"authorize":   func(c *connectors.Connector) { c.AuthorizationURL = "" },
		"query":       func(c *connectors.Connector) { c.AuthorizationURL += "?state=x" },
		"port":        func(c *connectors.Connector) { c.TokenURL = "https://github.com:8443/token" },
		"variable":    func(c *connectors.Connector) { c.RevocationURL = "https://{host}.github.com/revoke" },
		"separator":   func(c *connectors.Connector) { c.ScopeSeparator = ";" },
		"scope":       func(c *connectors.Connector) { c.DefaultScopes = []string{"a b"} },
		"placeholder": func(c *connectors.Connector) { c.DefaultScopes = []string{"session:role:<ROLE>"} },
		"parameter":   func(c *connectors.Connector) { c.AuthorizeParams = map[string]string{"tenant": "{tenant}"} },
		"twice":       func(c *connectors.Connector) { c.DefaultScopes = []string{"a", "a"} },
		"ignored":     func(c *connectors.Connector) { c.NoScopes = true },
		"code":        func(c *connectors.Connector) { c.DeadGrantCodes = []string{"Bad Code"} },
		"code twice":  func(c *connectors.Connector) { c.DeadClientCodes = c.DeadGrantCodes },
		"auth":        func(c *connectors.Connector) { c.ClientAuth = connectors.ClientAuthNone },
		"lifetime":    func(c *connectors.Connector) { c.Lifetime = 1 },
		"ending":      func(c *connectors.Connector) { c.Endings = map[string]connectors.Ending{"code": "gone"} },
		"ending code": func(c *connectors.Connector) { c.Endings = map[string]connectors.Ending{"A B": connectors.EndingIdle} },
		"no endings":  func(c *connectors.Connector) { c.EndingMember = "suberror" },
		"no method":   func(c *connectors.Connector) { c.Methods = nil },
		"no key":      func(c *connectors.Connector) { c.Methods = append(c.Methods, connectors.MethodAPIKey) },
		"key":         func(c *connectors.Connector) { c.APIKey.Header = "Authorization" },
		"path":        func(c *connectors.Connector) { c.Identity.ID = []string{"data[0].id"} },
		"name only":   func(c *connectors.Connector) { c.Identity.ID = nil; c.Identity.Name = []string{"name"} },
		"no call":     func(c *connectors.Connector) { c.Identity.ID, c.IdentityURL = []string{"id"}, "" },
		"idle":        func(c *connectors.Connector) { c.RefreshIdle = time.Hour },
		"grant":       func(c *connectors.Connector) { c.RefreshIdle, c.GrantLifetime = 48*time.Hour, 24*time.Hour },
		"two ways": func(c *connectors.Connector) {
			c.RevocationURL = "https://github.com/revoke"
			c.Revocation = connectors.RevocationCall{Method: http.MethodPost, URL: "https://github.com/revoke", Auth: connectors.RevokeAsToken}
		},
		"of what": func(c *connectors.Connector) {
			c.Revocation = connectors.RevocationCall{Method: http.MethodPost, URL: "https://github.com/revoke", Auth: connectors.RevokeAsClient}
		},
	} {
		c := good
		edit(&c)
		if problems := catalog.Lint(c); len(problems) == 0 {
			t.Errorf("%s: the lint finds nothing", name)
		}
	}
	for name, edit := range map[string]func(*connectors.Connector){
		"name":        func(c *connectors.Connector) { c.Slug = "other" },
		"client auth": func(c *connectors.Connector) { c.Name, c.ClientAuth = "Other", connectors.ClientAuthBasic },
		"body":        func(c *connectors.Connector) { c.Name, c.Body = "Other", connectors.BodyJSON },
	} {
		c := good
		edit(&c)
		if problems := catalog.LintTogether([]connectors.Connector{good, c}); len(problems) == 0 {
			t.Errorf("%s: the lint finds nothing", name)
		}
	}
}

// block is the built-in connector of a slug.
func block(t *testing.T, slug string) connectors.Connector {
	t.Helper()
	for _, c := range catalog.All() {
		if c.Slug == slug {
			return c
		}
	}
	t.Fatalf("no connector %s", slug)
	return connectors.Connector{}
}
