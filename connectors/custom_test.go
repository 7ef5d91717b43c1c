package connectors_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"culvert/connectors"

	"github.com/google/go-cmp/cmp"
)

func definition() connectors.Definition {
	return connectors.Definition{
		Name:             "My provider",
		AuthorizationURL: "https://idp.example/authorize",
		TokenURL:         "https://idp.example/token",
		PKCE:             true,
		SecretRequired:   true,
	}
}

func TestCustom(t *testing.T) {
	got, err := connectors.Custom("my-idp", definition())
	if err != nil {
		t.Fatal(err)
	}
	want := &connectors.Connector{
		Slug: "my-idp", Name: "My provider", Type: "custom",
		AuthorizationURL: "https://idp.example/authorize", TokenURL: "https://idp.example/token",
		ClientAuth: connectors.ClientAuthBody, Body: connectors.BodyForm, PKCE: true, ScopeSeparator: " ",
		Methods:  []connectors.Method{connectors.MethodAPIKey, connectors.MethodClientCredentials, connectors.MethodOAuth},
		Identity: connectors.OpenID(),
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("defaults (-got +want):\n%s", diff)
	}

	d := definition()
	d.RefreshTokenURL = "https://refresh.idp.example:443/token"
	d.PKCE, d.SecretRequired = false, false
	d.ScopeSeparator, d.TokenContentType, d.ClientAuth = ",", "application/json", "basic_auth_header"
	d.AuthorizeParams = map[string]string{"prompt": "consent"}
	if got, err = connectors.Custom("9_idp", d); err != nil {
		t.Fatal(err)
	}
	want = &connectors.Connector{
		Slug: "9_idp", Name: "My provider", Type: "custom",
		AuthorizationURL: "https://idp.example/authorize", TokenURL: "https://idp.example/token",
		RefreshURL: "https://refresh.idp.example:443/token",
		ClientAuth: connectors.ClientAuthBasic, Body: connectors.BodyJSON, ScopeSeparator: ",", NoSecret: true,
		AuthorizeParams: map[string]string{"prompt": "consent"},
		Methods:         []connectors.Method{connectors.MethodAPIKey, connectors.MethodClientCredentials, connectors.MethodOAuth},
		Identity:        connectors.OpenID(),
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("all set (-got +want):\n%s", diff)
	}
	if got, want := got.TokenOrigin(), "https://refresh.idp.example"; got != want {
		t.Errorf("origin is %s, want %s", got, want)
	}
	d.AuthorizeParams["client_id"] = "evil"
	if len(got.AuthorizeParams) != 1 {
		t.Error("the connector shares the caller's map")
	}
	// A provider without OAuth has no endpoints.
	if _, err := connectors.Custom("keys-only", connectors.Definition{Name: "Keys only"}); err != nil {
		t.Error(err)
	}
	// Whether loopback may be called is for egress to say.
	d = definition()
	d.TokenURL = "http://127.0.0.1:8500/token"
	if _, err := connectors.Custom("local", d); err != nil {
		t.Error(err)
	}
}

func TestCustomRefusals(t *testing.T) {
	many := map[string]string{}
	for i := range 33 {
		many["p"+strconv.Itoa(i)] = "x"
	}
	const canary = "canary-8Zq"
	for _, tc := range []struct {
		field string
		slug  string
		edit  func(*connectors.Definition)
	}{
		{"slug", "", nil},
		{"slug", "My-Idp", nil},
		{"slug", "-idp", nil},
		{"slug", "idp-", nil},
		{"slug", "i/dp", nil},
		{"slug", "ïdp", nil},
		{"slug", strings.Repeat("a", 65), nil},
		{"name", "", func(d *connectors.Definition) { d.Name = "" }},
		{"name", "", func(d *connectors.Definition) { d.Name = "a\u202eb" + canary }},
		{"name", "", func(d *connectors.Definition) { d.Name = strings.Repeat("a", 257) }},
		{"authorization_url", "", func(d *connectors.Definition) { d.AuthorizationURL = "javascript:" + canary }},
		{"authorization_url", "", func(d *connectors.Definition) { d.AuthorizationURL = "http://idp.example/" + canary }},
		{"token_url", "", func(d *connectors.Definition) { d.TokenURL = "http://idp.example/token" }},
		{"token_url", "", func(d *connectors.Definition) { d.TokenURL = "https://u:" + canary + "@idp.example/token" }},
		{"token_url", "", func(d *connectors.Definition) { d.TokenURL = "https://idp.example/token#" + canary }},
		{"token_url", "", func(d *connectors.Definition) { d.TokenURL = "https://${config.host}/token" }},
		{"token_url", "", func(d *connectors.Definition) { d.TokenURL = "idp.example/token" }},
		{"refresh_token_url", "", func(d *connectors.Definition) { d.RefreshTokenURL = "https://idp.example\\evil" }},
		{"authenticate_via", "", func(d *connectors.Definition) { d.ClientAuth = canary }},
		{"token_body_content_type", "", func(d *connectors.Definition) { d.TokenContentType = "text/" + canary }},
		{"request_scope_separator", "", func(d *connectors.Definition) { d.ScopeSeparator = "a" }},
		{"request_scope_separator", "", func(d *connectors.Definition) { d.ScopeSeparator = "\n" }},
		{"request_scope_separator", "", func(d *connectors.Definition) { d.ScopeSeparator = ",,,," }},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) { d.AuthorizeParams = many }},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) { d.AuthorizeParams = map[string]string{"": canary} }},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) {
			d.AuthorizeParams = map[string]string{"x": strings.Repeat("a", 1024)}
		}},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) { d.AuthorizeParams = map[string]string{"x": "\x00"} }},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) { d.AuthorizeParams = map[string]string{"state": canary} }},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) {
			d.AuthorizeParams = map[string]string{"redirect_uri": canary}
		}},
		{"additional_authorization_parameters", "", func(d *connectors.Definition) {
			d.AuthorizeParams = map[string]string{"request_uri": canary}
		}},
	} {
		d, slug := definition(), "my-idp"
		if tc.edit != nil {
			tc.edit(&d)
		} else {
			slug = tc.slug
		}
		_, err := connectors.Custom(slug, d)
		var refused *connectors.DefinitionError
		if !errors.As(err, &refused) || refused.Field != tc.field || refused.Rule == "" {
			t.Errorf("%q, %+v: %v, want a refusal of %s", slug, d, err, tc.field)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the error repeats what was sent: %v", err)
		}
	}
}

func TestCatalogOverrides(t *testing.T) {
	list := func() []connectors.Connector {
		return []connectors.Connector{
			{
				Slug: "one", Name: "One", ClientAuth: connectors.ClientAuthBody, Body: connectors.BodyForm, ScopeSeparator: " ",
				AuthorizationURL: "https://one.example/oauth/authorize?v=2", TokenURL: "https://api.one.example/oauth/token",
				RefreshURL: "https://api.one.example/refresh", RevocationURL: "https://api.one.example/oauth/revoke",
				IdentityURL: "https://api.one.example/me", Issuer: "https://one.example",
			},
			{
				Slug: "two", Name: "Two", ClientAuth: connectors.ClientAuthBody, Body: connectors.BodyForm, ScopeSeparator: " ",
				AuthorizationURL: "https://two.example", TokenURL: "https://two.example/token",
			},
		}
	}
	type endpoints struct{ Authorization, Token, Refresh, Revocation, Identity, Issuer string }
	for _, tc := range []struct {
		name string
		o    connectors.Endpoints
		want endpoints
	}{
		{"none", connectors.Endpoints{}, endpoints{
			"https://one.example/oauth/authorize?v=2", "https://api.one.example/oauth/token",
			"https://api.one.example/refresh", "https://api.one.example/oauth/revoke", "https://api.one.example/me", "https://one.example",
		}},
		{"a base", connectors.Endpoints{BaseURL: "http://127.0.0.1:8500"}, endpoints{
			"http://127.0.0.1:8500/oauth/authorize?v=2", "http://127.0.0.1:8500/oauth/token",
			"http://127.0.0.1:8500/refresh", "http://127.0.0.1:8500/oauth/revoke", "http://127.0.0.1:8500/me", "",
		}},
		{"a base with a path", connectors.Endpoints{BaseURL: "https://corp.example/one/"}, endpoints{
			"https://corp.example/one/oauth/authorize?v=2", "https://corp.example/one/oauth/token",
			"https://corp.example/one/refresh", "https://corp.example/one/oauth/revoke", "https://corp.example/one/me", "",
		}},
		{"one besides the base", connectors.Endpoints{BaseURL: "https://corp.example", IdentityURL: "https://corp.example/api/v3/user"}, endpoints{
			"https://corp.example/oauth/authorize?v=2", "https://corp.example/oauth/token",
			"https://corp.example/refresh", "https://corp.example/oauth/revoke", "https://corp.example/api/v3/user", "",
		}},
		{"the token endpoint takes the refreshes along", connectors.Endpoints{TokenURL: "https://corp.example/t"}, endpoints{
			"https://one.example/oauth/authorize?v=2", "https://corp.example/t",
			"https://corp.example/t", "https://api.one.example/oauth/revoke", "https://api.one.example/me", "",
		}},
		{"the others", connectors.Endpoints{AuthorizationURL: "https://a.example/", RevocationURL: "https://r.example/"}, endpoints{
			"https://a.example/", "https://api.one.example/oauth/token",
			"https://api.one.example/refresh", "https://r.example/", "https://api.one.example/me", "",
		}},
	} {
		c, err := connectors.NewCatalog(list(), map[string]connectors.Endpoints{"one": tc.o})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		one, ok := c.Connector("one")
		two, _ := c.Connector("two")
		if !ok || len(c.All()) != 2 || c.All()[0] != one {
			t.Fatalf("%s: the catalogue has %d connectors", tc.name, len(c.All()))
		}
		got := endpoints{one.AuthorizationURL, one.TokenURL, one.RefreshEndpoint(), one.RevocationURL, one.IdentityURL, one.Issuer}
		if diff := cmp.Diff(got, tc.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tc.name, diff)
		}
		if two.TokenURL != "https://two.example/token" {
			t.Errorf("%s: another connector moved to %s", tc.name, two.TokenURL)
		}
	}
	// A path that is not there stays so.
	c, err := connectors.NewCatalog(list(), map[string]connectors.Endpoints{"two": {BaseURL: "https://corp.example/"}})
	if err != nil {
		t.Fatal(err)
	}
	if two, _ := c.Connector("two"); two.AuthorizationURL != "https://corp.example" {
		t.Errorf("authorization URL is %s", two.AuthorizationURL)
	}
	if _, ok := c.Connector("three"); ok {
		t.Error("a connector that is in no list")
	}

	for name, overrides := range map[string]map[string]connectors.Endpoints{
		"no such connector":  {"githbu": {BaseURL: "https://corp.example"}},
		"no scheme":          {"one": {BaseURL: "corp.example"}},
		"http":               {"one": {BaseURL: "http://corp.example"}},
		"a query":            {"one": {BaseURL: "https://corp.example/?x=1"}},
		"an empty query":     {"one": {BaseURL: "https://corp.example/?"}},
		"a password":         {"one": {BaseURL: "https://a:b@corp.example"}},
		"no URL of a token":  {"one": {TokenURL: "ftp://corp.example"}},
		"no URL of identity": {"one": {IdentityURL: "https://"}},
	} {
		if _, err := connectors.NewCatalog(list(), overrides); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	twice := append(list(), list()[0])
	if _, err := connectors.NewCatalog(twice, nil); err == nil {
		t.Error("a slug twice was accepted")
	}
}
