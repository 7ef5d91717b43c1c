package catalog_test

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

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
		for _, problem := range lint(c) {
			t.Errorf("%s: %s", c.Slug, problem)
		}
	}
	for _, problem := range lintTogether(list) {
		t.Error(problem)
	}
}

// TestSize is what may be said of the number of connectors. Those of unverified URLs do not count.
func TestSize(t *testing.T) {
	verified := 0
	for _, c := range catalog.All() {
		if !c.Preview {
			verified++
		}
	}
	if verified < 100 {
		t.Errorf("there are %d connectors with verified URLs, and the documentation says more than a hundred", verified)
	}
	t.Logf("%d connectors, %d of them previews", len(catalog.All()), len(catalog.All())-verified)
}

// TestLintFinds shows that the lint finds what it looks for.
func TestLintFinds(t *testing.T) {
	good := block(t, "github")
	if problems := lint(good); len(problems) != 0 {
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
	} {
		c := good
		edit(&c)
		if problems := lint(c); len(problems) == 0 {
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
		if problems := lintTogether([]connectors.Connector{good, c}); len(problems) == 0 {
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

// lintTogether says what is wrong between blocks: what a person would mistake for another, and endpoints
// that two blocks call in two ways, of which one must be wrong.
func lintTogether(list []connectors.Connector) (problems []string) {
	names, endpoints := map[string]string{}, map[string]connectors.Connector{}
	for _, c := range list {
		if other, taken := names[c.Name]; taken {
			problems = append(problems, c.Slug+": the name is that of "+other)
		}
		names[c.Name] = c.Slug
		other, shared := endpoints[c.TokenURL]
		if shared && (other.ClientAuth != c.ClientAuth || other.Body != c.Body || other.PKCE != c.PKCE) {
			problems = append(problems, c.Slug+": the token endpoint is called otherwise than by "+other.Slug)
		}
		endpoints[c.TokenURL] = c
	}
	return problems
}

// lint says what is wrong with a block of data.
func lint(c connectors.Connector) (problems []string) {
	must := func(ok bool, rule string) {
		if !ok {
			problems = append(problems, rule)
		}
	}
	slug := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	must(slug.MatchString(c.Slug), "the slug is not of words and hyphens")
	must(c.Name != "" && strings.TrimSpace(c.Name) == c.Name, "it has no name")
	must(c.Type != "" && c.Type != "custom", "it has no type of the contract's list")
	page, _, _ := strings.Cut(c.DocsURL, "#")
	must(public(page), "it links no documentation")
	must(public(c.AuthorizationURL), "the authorization URL is not a public https URL")
	must(public(c.TokenURL), "the token URL is not a public https URL")
	for _, optional := range []string{c.RefreshURL, c.RevocationURL, c.IdentityURL} {
		must(optional == "" || public(optional), "an endpoint is not a public https URL")
	}
	if u, err := url.Parse(c.AuthorizationURL); err == nil {
		for name := range u.Query() {
			must(name != "state" && name != "client_id" && name != "scope", "the authorization URL sets a parameter of ours")
		}
	}
	must(c.ClientAuth == connectors.ClientAuthBody || c.ClientAuth == connectors.ClientAuthBasic || c.NoSecret,
		"clients have a secret, so there must be a way to send it")
	must(c.ScopeSeparator == " " || c.ScopeSeparator == ",", "no provider is known that joins scopes so")
	must(!c.NoScopes || len(c.DefaultScopes) == 0, "scopes that are ignored are no default")
	must(c.Lifetime == 0 || c.Lifetime.Seconds() >= 60, "the lifetime is not in seconds")
	scopes := map[string]bool{}
	for _, s := range c.DefaultScopes {
		must(s != "" && !strings.ContainsAny(s, " ,\t") && !scopes[s], "a default scope is two, or there twice")
		scopes[s] = true
	}
	for _, value := range slices.AppendSeq(slices.Clone(c.DefaultScopes), maps.Values(c.AuthorizeParams)) {
		must(!strings.ContainsAny(value, "{}<>|"), "a scope or parameter is a placeholder")
	}
	code := regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	codes := map[string]bool{}
	for _, s := range slices.Concat(c.DeadGrantCodes, c.DeadClientCodes, c.TransientCodes) {
		must(code.MatchString(s) && !codes[s], "an error code is not one, or means two things")
		codes[s] = true
	}
	for s, ending := range c.Endings {
		must(code.MatchString(s) && ending.Known(), "an ending has no code, or is none of ours")
	}
	must(c.EndingMember == "" || len(c.Endings) > 0, "codes are looked for that mean nothing")
	return problems
}

// public tells an https URL on a host name and port 443.
func public(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Port() == "" && u.User == nil && u.Fragment == "" &&
		!strings.ContainsAny(raw, "{}<>") && strings.Contains(u.Host, ".") && strings.Trim(u.Host, "0123456789.") != ""
}
