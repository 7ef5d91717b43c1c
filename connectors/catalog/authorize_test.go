package catalog_test

import (
	"cmp"
	"net/url"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/connectors/catalog"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestAuthorizationURLs pins where browsers are sent with the default scopes.
func TestAuthorizationURLs(t *testing.T) {
	const pkce = "&code_challenge=ch&code_challenge_method=S256"
	const ours = "&redirect_uri=https%3A%2F%2Fculvert.example%2Fcb&response_type=code"
	want := map[string]string{
		"atlassian": "https://auth.atlassian.com/authorize?audience=api.atlassian.com&client_id=id&prompt=consent" + ours +
			"&scope=read%3Ame%20read%3Ajira-work%20offline_access&state=st",
		"dropbox": "https://www.dropbox.com/oauth2/authorize?client_id=id" + pkce + ours + "&state=st&token_access_type=offline",
		"github": "https://github.com/login/oauth/authorize?client_id=id" + pkce + ours +
			"&scope=read%3Auser%20user%3Aemail&state=st",
		"github-app": "https://github.com/login/oauth/authorize?client_id=id" + pkce + ours + "&state=st",
		"gitlab":     "https://gitlab.com/oauth/authorize?client_id=id" + pkce + ours + "&scope=read_user&state=st",
		"google": "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&client_id=id" + pkce +
			"&prompt=consent" + ours + "&scope=openid%20email%20profile&state=st",
		"gmail": "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&client_id=id" + pkce +
			"&prompt=consent" + ours + "&scope=openid%20email%20https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fgmail.readonly&state=st",
		"linear": "https://linear.app/oauth/authorize?client_id=id" + pkce + ours + "&scope=read&state=st",
		"microsoft": "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=id" + pkce +
			"&redirect_uri=https%3A%2F%2Fculvert.example%2Fcb&response_mode=query&response_type=code" +
			"&scope=offline_access%20User.Read&state=st",
		"notion":    "https://api.notion.com/v1/oauth/authorize?client_id=id&owner=user" + ours + "&state=st",
		"pipedrive": "https://oauth.pipedrive.com/oauth/authorize?client_id=id" + ours + "&state=st",
		"sage-accounting": "https://www.sageone.com/oauth2/auth/central?client_id=id&filter=apiv3.1" + ours +
			"&scope=full_access&state=st",
		"slack": "https://slack.com/oauth/v2/authorize?client_id=id" + ours + "&scope=channels%3Aread%2Cchat%3Awrite&state=st",
	}
	got := map[string]string{}
	for slug := range want {
		c := block(t, slug)
		got[slug] = authorizationURL(t, &c)
	}
	if diff := gocmp.Diff(got, want); diff != "" {
		t.Errorf("authorization URLs (-got +want):\n%s", diff)
	}
}

// TestEveryAuthorizationURL: each connector sends browsers to its provider with what its block says, and
// with nothing else.
func TestEveryAuthorizationURL(t *testing.T) {
	for _, c := range byOAuth(t) {
		own, err := url.Parse(c.AuthorizationURL)
		if err != nil {
			t.Fatal(err)
		}
		want := own.Query()
		for name, value := range map[string]string{
			cmp.Or(c.Quirks.ClientIDParam, "client_id"): "id", "response_type": "code", "state": "st",
			"redirect_uri": cmp.Or(c.Quirks.RedirectURI, "https://culvert.example/cb"),
		} {
			want.Set(name, value)
		}
		if c.Quirks.NoAuthorizeClientID {
			want.Del("client_id")
		}
		for name, value := range c.AuthorizeParams {
			want.Set(name, value)
		}
		if len(c.DefaultScopes) > 0 {
			want.Set("scope", strings.Join(c.DefaultScopes, c.ScopeSeparator))
		}
		if c.PKCE {
			want.Set("code_challenge", "ch")
			want.Set("code_challenge_method", "S256")
		}
		to := authorizationURL(t, &c)
		if route := c.Quirks.FragmentRoute; route != "" {
			to = strings.Replace(to, "#"+route, "", 1)
		}
		got, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(got.Query(), want); diff != "" {
			t.Errorf("%s: query (-got +want):\n%s", c.Slug, diff)
		}
		if got.Host != own.Host || got.Path != own.Path {
			t.Errorf("%s: the browser goes to %s%s", c.Slug, got.Host, got.Path)
		}
	}
}

// authorizationURL asks for the default scopes.
func authorizationURL(t *testing.T, c *connectors.Connector) string {
	t.Helper()
	egress, err := connectors.NewEgress(connectors.EgressConfig{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	if err != nil {
		t.Fatal(err)
	}
	to, err := client.AuthorizationURL(c, connectors.AuthorizationRequest{
		ClientID: "id", RedirectURI: "https://culvert.example/cb", State: "st", Challenge: "ch", Scopes: c.DefaultScopes,
	})
	if err != nil {
		t.Errorf("%s: %v", c.Slug, err)
	}
	return to
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
		{"microsoft-outlook", []string{"offline_access", "User.Read", "Mail.Read"}, []string{"User.Read"}, []string{"Mail.Read"}},
		{"gmail", []string{"openid", "email", "https://www.googleapis.com/auth/gmail.readonly"}, []string{"openid", userinfo + "email"}, []string{"https://www.googleapis.com/auth/gmail.readonly"}},
		{"shopify", []string{"read_products", "write_products", "read_orders"}, []string{"write_products"}, []string{"read_orders"}},
		{"notion", []string{"anything"}, []string{}, nil},
		{"linear", []string{"read", "issues:create"}, []string{"read", "issues:create"}, nil},
		{"gitlab", []string{"read_user", "api"}, []string{"read_user"}, []string{"api"}},
	} {
		conn, ok := c.Connector(tc.slug)
		if !ok {
			t.Fatalf("no connector %s", tc.slug)
		}
		if diff := gocmp.Diff(connectors.MissingScopes(conn, tc.requested, tc.granted), tc.want); diff != "" {
			t.Errorf("%s asked for %q, granted %q (-got +want):\n%s", tc.slug, tc.requested, tc.granted, diff)
		}
	}
}
