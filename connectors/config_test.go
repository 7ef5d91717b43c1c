package connectors_test

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"culvert/connectors"
)

// shop is a provider with a label of a host, a segment of a path, a whole host and a secret.
func shop() connectors.Connector {
	return connectors.Connector{
		Slug: "shop", Name: "Shop", Type: "shop", DocsURL: "https://shop.example/docs",
		AuthorizationURL: "https://${config.shop}.shop.example/${config.tenant}/authorize",
		TokenURL:         "https://${config.shop}.shop.example/token",
		IdentityURL:      "https://api.${config.site}/me",
		DefaultScopes:    []string{"https://api.${config.site}/.default"},
		ClientAuth:       connectors.ClientAuthBody, Body: connectors.BodyForm, ScopeSeparator: " ",
		Config: []connectors.ConfigField{
			{
				Key: "shop", Label: "Shop", Required: true, Scope: connectors.ConfigInstallation,
				Example: "acme", Pattern: `^(?:[\x00-\x7f]+)$`, // far too wide, as a pattern may be
			},
			{
				Key: "tenant", Label: "Tenant", Scope: connectors.ConfigIntegration,
				Example: "acme", Pattern: `^(?:[a-z]+)$`, Default: "common",
			},
			{
				Key: "site", Label: "Site", Scope: connectors.ConfigIntegration,
				Example: "eu.shop.example", Pattern: `^(?:.+)$`, Default: "shop.example", Domains: []string{"shop.example"},
			},
			{
				Key: "key", Label: "Key", Scope: connectors.ConfigInstallation, Example: "k", Pattern: `^(?:(?s:.+))$`, Secret: true,
			},
		},
	}
}

func one(t testing.TB, c connectors.Connector) *connectors.Connector {
	t.Helper()
	catalog, err := connectors.NewCatalog([]connectors.Connector{c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := catalog.Connector(c.Slug)
	return conn
}

func TestWith(t *testing.T) {
	template := one(t, shop())
	if template.Complete() || template.TokenOrigin() != "" {
		t.Error("a connector with variables passes for one without")
	}
	// Case 1: an integration's values leave those of accounts open.
	half, err := template.ForIntegration(map[string]string{"tenant": "acme", "ignored": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://${config.shop}.shop.example/acme/authorize"; half.AuthorizationURL != want || half.Complete() {
		t.Errorf("authorization URL is %s", half.AuthorizationURL)
	}
	// Case 2: all values, and defaults for those that are not there.
	full, err := template.With(map[string]string{"shop": "Acme-1", "site": "eu.shop.example", "key": "s3cret\n"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{full.AuthorizationURL, full.TokenURL, full.IdentityURL, full.DefaultScopes[0], full.TokenOrigin()}
	want := []string{
		"https://Acme-1.shop.example/common/authorize", "https://Acme-1.shop.example/token",
		"https://api.eu.shop.example/me", "https://api.eu.shop.example/.default", "https://acme-1.shop.example",
	}
	if !slices.Equal(got, want) || !full.Complete() {
		t.Errorf("got %q, want %q", got, want)
	}
	// Case 3: client secrets are bound to the same for every account, and before there is one.
	for _, c := range []*connectors.Connector{template, half, full} {
		if got, want := c.SecretOrigin(), "https://${config.shop}.shop.example"; got != want {
			t.Errorf("client secrets are bound to %s, want %s", got, want)
		}
	}
	// Case 4: the template is as it was.
	if template.DefaultScopes[0] != "https://api.${config.site}/.default" {
		t.Error("the template was changed")
	}
}

// TestSecretOriginOfIntegration: a host that an administrator sets is part of what the secret is bound to.
func TestSecretOriginOfIntegration(t *testing.T) {
	c := shop()
	c.Config[0].Scope = connectors.ConfigIntegration
	for value, want := range map[string]string{"acme": "https://acme.shop.example", "Other": "https://other.shop.example"} {
		conn, err := one(t, c).ForIntegration(map[string]string{"shop": value})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.SecretOrigin(); got != want {
			t.Errorf("client secrets are bound to %s, want %s", got, want)
		}
	}
}

// TestIncompleteBuildsNoURL: not even one whose variables are in an endpoint that is not called.
func TestIncompleteBuildsNoURL(t *testing.T) {
	client, conn := MustClient(t, connectors.ClientConfig{}), one(t, shop())
	if _, err := client.AuthorizationURL(conn, connectors.AuthorizationRequest{ClientID: "id"}); MustFail(t, err).Class != connectors.Refused {
		t.Errorf("authorization: %v", err)
	}
	if _, err := client.Refresh(t.Context(), conn, connectors.Credentials{ID: "id"}, hidden("r")); MustFail(t, err).Class != connectors.Refused {
		t.Errorf("refresh: %v", err)
	}
	full, err := conn.With(map[string]string{"shop": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthorizationURL(full, connectors.AuthorizationRequest{ClientID: "id"}); err != nil {
		t.Error(err)
	}
}

// hostile are values that lead elsewhere if one parser reads them otherwise than another.
func hostile() []string {
	return []string{
		"evil.com", "evil.com/", "evil.com#", "evil.com?", "x@evil.com", "x:y@evil.com", "a/b", `a\b`, "a:1", "a b", "a\n", "\ta",
		"..", ".", "a.", ".a", "-a", "a-", "_a", "%2e%2e", "a%2f", "a%00", "a\x00", "${config.tenant}", "}", "{", "а", "ａ", "a。b", "[::1]",
		"127.0.0.1", "0x7f.1", "a;b", "a&b=c", "a=b", "a,b", "a'b", `a"b`, "a|b", "<a>", strings.Repeat("a", 64), "evil.com/shop.example",
		"shop.example.evil.com", "evilshop.example", "evil.com/.shop.example", "a..shop.example", "evil.com#.shop.example", ".shop.example",
		strings.Repeat("a.", 130) + "shop.example",
	}
}

func TestWithRefusesHostileValues(t *testing.T) {
	conn := one(t, shop())
	for _, value := range hostile() {
		for _, values := range []map[string]string{{"shop": value}, {"shop": "acme", "tenant": value}, {"shop": "acme", "site": value}} {
			if got, err := conn.With(values); err == nil {
				t.Errorf("%q gives %s and %s", values, got.AuthorizationURL, got.IdentityURL)
			} else if refused := new(connectors.ConfigError); !errors.As(err, &refused) || len(value) > 2 && strings.Contains(err.Error(), value) {
				t.Errorf("%q: the error is %v", values, err)
			}
		}
	}
	if _, err := conn.With(map[string]string{"shop": "acme", "tenant": "acme", "site": "a-1.eu.shop.example"}); err != nil {
		t.Error(err)
	}
}

// FuzzWith: whatever a caller sends, the hosts are the provider's and the paths have as many segments as
// before.
func FuzzWith(f *testing.F) {
	for _, value := range append(hostile(), "acme", "eu.shop.example") {
		f.Add(value, "acme", "shop.example")
		f.Add("acme", value, "shop.example")
		f.Add("acme", "acme", value)
	}
	conn := one(f, shop())
	f.Fuzz(func(t *testing.T, name, tenant, site string) {
		c, err := conn.With(map[string]string{"shop": name, "tenant": tenant, "site": site})
		if err != nil {
			return
		}
		for _, raw := range []string{c.AuthorizationURL, c.TokenURL, c.IdentityURL} {
			u, err := url.Parse(raw)
			if err != nil || !strings.HasSuffix(u.Host, ".shop.example") || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" {
				t.Fatalf("%q", raw)
			}
		}
		if u, _ := url.Parse(c.AuthorizationURL); strings.Count(u.EscapedPath(), "/") != 2 {
			t.Fatalf("%q", c.AuthorizationURL)
		}
	})
}

// refusedKeys are the fields of all errors in one, "" for those that are not declared.
func refusedKeys(err error) (keys []string) {
	refused := new(connectors.ConfigError)
	if !errors.As(err, &refused) {
		return nil
	}
	keys = append(keys, refused.Key)
	for _, other := range refused.Others {
		keys = append(keys, other.Key)
	}
	return keys
}

// TestCheckConfig: what can be given for an integration, for some of its accounts, and for one.
func TestCheckConfig(t *testing.T) {
	conn := one(t, shop())
	type values = map[string]string
	integration := func(given values) error { return conn.CheckIntegrationConfig(given) }
	shared := func(given values) error { return conn.CheckSharedConfig(values{"tenant": "acme"}, given) }
	account := func(given values) error { return conn.CheckAccountConfig(nil, nil, given, false) }
	partial := func(given values) error { return conn.CheckAccountConfig(nil, nil, given, true) }
	pinned := func(given values) error { return conn.CheckAccountConfig(values{"shop": "acme"}, nil, given, false) }
	backed := func(given values) error { return conn.CheckAccountConfig(nil, values{"shop": "acme"}, given, false) }
	for n, c := range []struct {
		check  func(values) error
		values values
		wrong  []string
	}{
		{integration, nil, nil},
		{integration, values{"tenant": "acme", "site": "", "shop": "acme"}, nil}, // pinned for all accounts
		{integration, values{"tenant": "A", "site": "evil.com"}, []string{"tenant", "site"}},
		{integration, values{"shop": "evil.com/"}, []string{"shop"}},
		{integration, values{"key": "k"}, []string{"key"}},
		{integration, values{"no such\n": "A", "other": "", "tenant": "acme"}, []string{""}},
		{shared, values{"shop": "acme"}, nil},
		{shared, values{"tenant": "acme", "key": "k"}, []string{"tenant", "key"}},
		{account, values{"shop": "acme", "key": "line\nline"}, nil},
		{account, values{"key": "k"}, []string{"shop"}},
		{account, nil, []string{"shop"}},
		{account, values{"shop": "acme", "tenant": "acme"}, []string{"tenant"}},
		{account, values{"shop": "acme", "key": strings.Repeat("k", 9<<10)}, []string{"key"}},
		{partial, nil, nil},
		{partial, values{"tenant": "acme"}, []string{"tenant"}},
		{pinned, nil, nil},
		{pinned, values{"shop": "other"}, []string{"shop"}},
		{backed, values{"shop": "other"}, nil},
		{backed, nil, nil},
	} {
		if wrong := refusedKeys(c.check(c.values)); !slices.Equal(wrong, c.wrong) {
			t.Errorf("case %d, %q: refused are %q, want %q", n, c.values, wrong, c.wrong)
		}
	}
	if got := conn.InstallationConfig(values{"shop": "acme", "key": "k", "tenant": "acme"}); !maps.Equal(got, values{"shop": "acme"}) {
		t.Errorf("of an account is shown %q", got)
	}
}

// TestCheckRefusesHostileValues: what a caller sends is refused before it is stored, too.
func TestCheckRefusesHostileValues(t *testing.T) {
	conn := one(t, shop())
	for _, value := range hostile() {
		for _, err := range []error{
			conn.CheckIntegrationConfig(map[string]string{"shop": value}), conn.CheckIntegrationConfig(map[string]string{"site": value}),
			conn.CheckSharedConfig(nil, map[string]string{"shop": value}), conn.CheckAccountConfig(nil, nil, map[string]string{"shop": value}, false),
		} {
			if err == nil || len(value) > 2 && strings.Contains(err.Error(), value) {
				t.Errorf("%q: the error is %v", value, err)
			}
		}
	}
}

// TestConfigRules: what a connector's fields must keep among themselves.
func TestConfigRules(t *testing.T) {
	one(t, shop()) // as it stands it is good
	for name, edit := range map[string]func(*connectors.Connector){
		"no field":      func(c *connectors.Connector) { c.TokenURL = "https://${config.other}.shop.example/token" },
		"open end":      func(c *connectors.Connector) { c.TokenURL = "https://shop.${config.shop}/token" },
		"top level":     func(c *connectors.Connector) { c.TokenURL = "https://${config.shop}.example/token" },
		"two in a host": func(c *connectors.Connector) { c.TokenURL = "https://${config.shop}.${config.tenant}.shop.example/" },
		"host inside":   func(c *connectors.Connector) { c.IdentityURL = "https://${config.site}.example.com/" },
		"host glued":    func(c *connectors.Connector) { c.IdentityURL = "https://api-${config.site}/" },
		"scheme":        func(c *connectors.Connector) { c.TokenURL = "${config.tenant}://shop.example/" },
		"broken":        func(c *connectors.Connector) { c.TokenURL = "https://shop.example/${config.shop" },
		"unanchored":    func(c *connectors.Connector) { c.Config[0].Pattern = "[a-z]+" },
		"alternatives":  func(c *connectors.Connector) { c.Config[0].Pattern = "^a|b$" },
		"empty":         func(c *connectors.Connector) { c.Config[0].Pattern = "^(?:[a-z]*)$" },
		"no example":    func(c *connectors.Connector) { c.Config[0].Example = "" },
		"bad example":   func(c *connectors.Connector) { c.Config[1].Example = "A1" },
		"bad default":   func(c *connectors.Connector) { c.Config[1].Default = "A1" },
		"no default":    func(c *connectors.Connector) { c.Config[1].Default = "" },
		"secret in URL": func(c *connectors.Connector) { c.Config[0].Secret = true },
		"all's secret":  func(c *connectors.Connector) { c.Config[3].Scope = connectors.ConfigIntegration },
		"scope":         func(c *connectors.Connector) { c.Config[0].Scope = "account" },
		"twice":         func(c *connectors.Connector) { c.Config[3].Key = "shop" },
		"key":           func(c *connectors.Connector) { c.Config[3].Key = "Key" },
	} {
		c := shop()
		edit(&c)
		if _, err := connectors.NewCatalog([]connectors.Connector{c}, nil); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}
