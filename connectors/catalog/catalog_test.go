package catalog_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/connectors/catalog"

	"github.com/google/go-cmp/cmp"
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
	if len(list) == 0 {
		t.Error("the catalogue is empty")
	}
	slug := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	for _, c := range list {
		for _, problem := range lint(c, slug) {
			t.Errorf("%s: %s", c.Slug, problem)
		}
	}
}

// TestLintFinds shows that the lint finds what it looks for.
func TestLintFinds(t *testing.T) {
	slug := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	good := catalog.All()[0]
	if problems := lint(good, slug); len(problems) != 0 {
		t.Fatalf("%s: %q", good.Slug, problems)
	}
	for name, edit := range map[string]func(*connectors.Connector){
		"slug":       func(c *connectors.Connector) { c.Slug = "git_hub" },
		"docs":       func(c *connectors.Connector) { c.DocsURL = "" },
		"type":       func(c *connectors.Connector) { c.Type = "custom" },
		"token URL":  func(c *connectors.Connector) { c.TokenURL = "http://127.0.0.1/token" },
		"authorize":  func(c *connectors.Connector) { c.AuthorizationURL = "" },
		"query":      func(c *connectors.Connector) { c.AuthorizationURL += "?state=x" },
		"port":       func(c *connectors.Connector) { c.TokenURL = "https://github.com:8443/token" },
		"separator":  func(c *connectors.Connector) { c.ScopeSeparator = ";" },
		"scope":      func(c *connectors.Connector) { c.DefaultScopes = []string{"a b"} },
		"twice":      func(c *connectors.Connector) { c.DefaultScopes = []string{"a", "a"} },
		"ignored":    func(c *connectors.Connector) { c.NoScopes = true },
		"code":       func(c *connectors.Connector) { c.DeadGrantCodes = []string{"Bad Code"} },
		"code twice": func(c *connectors.Connector) { c.DeadClientCodes = c.DeadGrantCodes },
		"auth":       func(c *connectors.Connector) { c.ClientAuth = connectors.ClientAuthNone },
		"lifetime":   func(c *connectors.Connector) { c.Lifetime = 1 },
	} {
		c := good
		edit(&c)
		if problems := lint(c, slug); len(problems) == 0 {
			t.Errorf("%s: the lint finds nothing", name)
		}
	}
}

// lint says what is wrong with a block of data.
func lint(c connectors.Connector, slug *regexp.Regexp) (problems []string) {
	must := func(ok bool, rule string) {
		if !ok {
			problems = append(problems, rule)
		}
	}
	must(slug.MatchString(c.Slug), "the slug is not of words and hyphens")
	must(c.Name != "" && strings.TrimSpace(c.Name) == c.Name, "it has no name")
	must(c.Type != "" && c.Type != "custom", "it has no type of the contract's list")
	must(public(c.DocsURL), "it links no documentation")
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
	code := regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	codes := map[string]bool{}
	for _, s := range slices.Concat(c.DeadGrantCodes, c.DeadClientCodes, c.TransientCodes) {
		must(code.MatchString(s) && !codes[s], "an error code is not one, or means two things")
		codes[s] = true
	}
	return problems
}

// public tells an https URL on a host name and port 443.
func public(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Port() == "" && u.User == nil && u.Fragment == "" &&
		strings.Contains(u.Host, ".") && strings.Trim(u.Host, "0123456789.") != ""
}

// TestAuthorizationURLs pins where browsers are sent with the default scopes.
func TestAuthorizationURLs(t *testing.T) {
	egress, err := connectors.NewEgress(connectors.EgressConfig{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	if err != nil {
		t.Fatal(err)
	}
	const pkce = "&code_challenge=ch&code_challenge_method=S256"
	const ours = "&redirect_uri=https%3A%2F%2Fculvert.example%2Fcb&response_type=code"
	want := map[string]string{
		"github": "https://github.com/login/oauth/authorize?client_id=id" + pkce + ours +
			"&scope=read%3Auser%20user%3Aemail&state=st",
		"github-app": "https://github.com/login/oauth/authorize?client_id=id" + pkce + ours + "&state=st",
		"gitlab":     "https://gitlab.com/oauth/authorize?client_id=id" + pkce + ours + "&scope=read_user&state=st",
		"google": "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&client_id=id" + pkce +
			"&prompt=consent" + ours + "&scope=openid%20email%20profile&state=st",
		"linear": "https://linear.app/oauth/authorize?client_id=id" + pkce + ours + "&scope=read&state=st",
		"microsoft": "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=id" + pkce +
			"&redirect_uri=https%3A%2F%2Fculvert.example%2Fcb&response_mode=query&response_type=code" +
			"&scope=offline_access%20User.Read&state=st",
		"slack": "https://slack.com/oauth/v2/authorize?client_id=id" + ours + "&scope=channels%3Aread%2Cchat%3Awrite&state=st",
	}
	got := map[string]string{}
	for _, c := range catalog.All() {
		to, err := client.AuthorizationURL(&c, connectors.AuthorizationRequest{
			ClientID: "id", RedirectURI: "https://culvert.example/cb", State: "st", Challenge: "ch", Scopes: c.DefaultScopes,
		})
		if err != nil {
			t.Errorf("%s: %v", c.Slug, err)
		}
		got[c.Slug] = to
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("authorization URLs (-got +want):\n%s", diff)
	}
}

// TestMissingScopes has for each provider that spells scopes otherwise in replies what it makes of them.
func TestMissingScopes(t *testing.T) {
	c, err := connectors.NewCatalog(catalog.All(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const userinfo = "https://www.googleapis.com/auth/userinfo."
	for _, tc := range []struct {
		slug                     string
		requested, granted, want []string
	}{
		{"github", []string{"user", "user:email", "repo", "public_repo"}, []string{"repo", "user"}, nil},
		{"github", []string{"read:org", "repo"}, []string{"admin:org"}, []string{"repo"}},
		{"github", []string{"repo"}, []string{"public_repo"}, []string{"repo"}},
		{"github", []string{"repo"}, []string{}, []string{"repo"}},
		{"github-app", []string{"repo"}, []string{}, nil},
		{"google", []string{"openid", "email", "profile"}, []string{userinfo + "profile", "openid", userinfo + "email"}, nil},
		{
			"google", []string{"email", "https://www.googleapis.com/auth/drive"}, []string{userinfo + "email"},
			[]string{"https://www.googleapis.com/auth/drive"},
		},
		{"microsoft", []string{"openid", "offline_access", "User.Read", "Mail.Read"}, []string{"user.read", "profile"}, []string{"Mail.Read"}},
		{"microsoft", []string{"https://graph.microsoft.com/Mail.Read", "https://graph.microsoft.com/.default"}, []string{"Mail.Read"}, nil},
		{"slack", []string{"chat:write", "user:search:read"}, []string{"chat:write", "search:read"}, []string{"user:search:read"}},
		{"linear", []string{"read", "issues:create"}, []string{"read", "issues:create"}, nil},
		{"gitlab", []string{"read_user", "api"}, []string{"read_user"}, []string{"api"}},
	} {
		conn, ok := c.Connector(tc.slug)
		if !ok {
			t.Fatalf("no connector %s", tc.slug)
		}
		if diff := cmp.Diff(connectors.MissingScopes(conn, tc.requested, tc.granted), tc.want); diff != "" {
			t.Errorf("%s asked for %q, granted %q (-got +want):\n%s", tc.slug, tc.requested, tc.granted, diff)
		}
	}
}
