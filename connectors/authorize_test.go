package connectors_test

import (
	"net/url"
	"strings"
	"testing"

	"culvert/connectors"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorizationURL(t *testing.T) {
	request := connectors.AuthorizationRequest{
		ClientID: "id & co", RedirectURI: "https://culvert.example/cb?x=1", State: "s+t/a=te", Challenge: "challenge",
		Scopes: []string{"a:b", "c"},
	}
	ours := url.Values{
		"response_type": {"code"}, "client_id": {"id & co"}, "redirect_uri": {"https://culvert.example/cb?x=1"},
		"state": {"s+t/a=te"}, "code_challenge": {"challenge"}, "code_challenge_method": {"S256"}, "scope": {"a:b c"},
	}
	with := func(changes url.Values) url.Values {
		all := url.Values{}
		for name, values := range ours {
			all[name] = values
		}
		for name, values := range changes {
			if all[name] = values; values == nil {
				delete(all, name)
			}
		}
		return all
	}
	base := connectors.Connector{AuthorizationURL: "https://idp.example/authorize", PKCE: true, ScopeSeparator: " "}
	edit := func(change func(*connectors.Connector)) connectors.Connector {
		c := base
		change(&c)
		return c
	}
	for _, tc := range []struct {
		name   string
		conn   connectors.Connector
		scopes []string
		want   url.Values
	}{
		{"plain", base, request.Scopes, ours},
		{"the provider's own query", edit(func(c *connectors.Connector) {
			c.AuthorizationURL = "https://idp.example/authorize?tenant=a%20b&p=1&p=2"
		}), request.Scopes, with(url.Values{"tenant": {"a b"}, "p": {"1", "2"}})},
		{"the provider's own query with a parameter of ours", edit(func(c *connectors.Connector) {
			c.AuthorizationURL = "https://idp.example/authorize?client_id=evil&state=evil&scope=evil&response_type=token&redirect_uri=evil"
		}), request.Scopes, ours},
		{"a request object, which would be read in place of ours", edit(func(c *connectors.Connector) {
			c.AuthorizationURL = "https://idp.example/authorize?request=evil&request_uri=urn:evil&requests=1"
		}), request.Scopes, with(url.Values{"requests": {"1"}})},
		{"somebody's challenge where none is ours", edit(func(c *connectors.Connector) {
			c.AuthorizationURL, c.PKCE = "https://idp.example/authorize?code_challenge=evil&code_challenge_method=plain", false
		}), request.Scopes, with(url.Values{"code_challenge": nil, "code_challenge_method": nil})},
		{"more parameters", edit(func(c *connectors.Connector) {
			c.AuthorizeParams = map[string]string{"prompt": "consent", "access_type": "offline"}
		}), request.Scopes, with(url.Values{"prompt": {"consent"}, "access_type": {"offline"}})},
		{"more parameters win over the URL's", edit(func(c *connectors.Connector) {
			c.AuthorizationURL = "https://idp.example/authorize?prompt=none"
			c.AuthorizeParams = map[string]string{"prompt": "consent"}
		}), request.Scopes, with(url.Values{"prompt": {"consent"}})},
		{"no PKCE", edit(func(c *connectors.Connector) { c.PKCE = false }), request.Scopes,
			with(url.Values{"code_challenge": nil, "code_challenge_method": nil})},
		{"commas", edit(func(c *connectors.Connector) { c.ScopeSeparator = "," }), request.Scopes, with(url.Values{"scope": {"a:b,c"}})},
		{"no scopes asked for", base, nil, with(url.Values{"scope": nil})},
		{"scopes that the URL has stay if none are asked for", edit(func(c *connectors.Connector) {
			c.AuthorizationURL = "https://idp.example/authorize?scope=theirs"
		}), nil, with(url.Values{"scope": {"theirs"}})},
		{"a provider that ignores scopes", edit(func(c *connectors.Connector) { c.NoScopes = true }), request.Scopes,
			with(url.Values{"scope": nil})},
		{"two lists of scopes", edit(func(c *connectors.Connector) {
			c.ScopeSeparator = ","
			c.ScopeRules.Params = map[string]string{"user:": "user_scope"}
		}), []string{"a:b", "user:x:y", "user:z"}, with(url.Values{"scope": {"a:b"}, "user_scope": {"x:y,z"}})},
		{"only the other list", edit(func(c *connectors.Connector) {
			c.ScopeRules.Params = map[string]string{"user:": "user_scope"}
		}), []string{"user:z"}, with(url.Values{"scope": nil, "user_scope": {"z"}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			request.Scopes = tc.scopes
			raw, err := MustClient(t, connectors.ClientConfig{}).AuthorizationURL(&tc.conn, request)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(raw, "+") {
				t.Errorf("a plus stands for a space to some only: %s", raw)
			}
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			got, err := url.ParseQuery(u.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("query (-got +want):\n%s", diff)
			}
			if u.RawQuery = ""; u.String() != "https://idp.example/authorize" {
				t.Errorf("the rest is %s", u)
			}
		})
	}
}

func TestAuthorizationURLRefusals(t *testing.T) {
	production := MustClient(t, connectors.ClientConfig{Egress: MustEgress(t, connectors.EgressConfig{})})
	dev := MustClient(t, connectors.ClientConfig{})
	for _, tc := range []struct {
		client    *connectors.Client
		url       string
		challenge string
		class     connectors.Class
	}{
		{production, "http://127.0.0.1:8500/authorize", "c", connectors.Blocked},
		{dev, "http://idp.example/authorize", "c", connectors.Blocked},
		{production, "javascript:alert(1)//", "c", connectors.Blocked},
		{production, "data:text/html,x", "c", connectors.Blocked},
		{production, "https://evil@idp.example/", "c", connectors.Blocked},
		{production, "", "c", connectors.Refused},
		{production, "https://idp.example/authorize", "", connectors.Refused},
		// The twins: loopback in development, and an inside host that only the browser has to reach.
		{dev, "http://127.0.0.1:8500/authorize", "c", 0},
		{production, "https://10.0.0.1:8443/authorize", "c", 0},
	} {
		conn := connectors.Connector{AuthorizationURL: tc.url, PKCE: true, ScopeSeparator: " "}
		_, err := tc.client.AuthorizationURL(&conn, connectors.AuthorizationRequest{Challenge: tc.challenge})
		if tc.class == 0 {
			if err != nil {
				t.Errorf("%s: %v", tc.url, err)
			}
			continue
		}
		if got := MustFail(t, err).Class; got != tc.class {
			t.Errorf("%s with challenge %q: %v, want %v", tc.url, tc.challenge, got, tc.class)
		}
	}
}

func TestGenerateVerifier(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		verifier, challenge := connectors.GenerateVerifier()
		text := string(verifier.Reveal())
		if len(text) != 43 || len(challenge) != 43 || strings.Trim(text, unreserved) != "" || seen[text] || text == challenge {
			t.Fatalf("verifier of %d bytes, challenge of %d", len(text), len(challenge))
		}
		seen[text] = true
	}
}

// unreserved are the characters of RFC 7636 section 4.1.
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

func TestMissingScopes(t *testing.T) {
	for _, tc := range []struct {
		name               string
		rules              connectors.ScopeRules
		requested, granted []string
		want               []string
	}{
		{"all there", connectors.ScopeRules{}, []string{"a", "b"}, []string{"b", "a", "c"}, nil},
		{"one refused", connectors.ScopeRules{}, []string{"a", "b", "c"}, []string{"b"}, []string{"a", "c"}},
		{"asked for twice", connectors.ScopeRules{}, []string{"a", "a", ""}, []string{}, []string{"a"}},
		{"not said", connectors.ScopeRules{}, []string{"a"}, nil, nil},
		{"none granted", connectors.ScopeRules{}, []string{"a"}, []string{}, []string{"a"}},
		{"none asked for", connectors.ScopeRules{}, nil, []string{"a"}, nil},
		{"case counts", connectors.ScopeRules{}, []string{"A"}, []string{"a"}, []string{"A"}},
		{"unless it does not", connectors.ScopeRules{Fold: true}, []string{"User.Read"}, []string{"user.read"}, nil},
		{"another spelling", connectors.ScopeRules{Aliases: map[string]string{"email": "https://x/email"}},
			[]string{"email", "drive"}, []string{"https://x/email"}, []string{"drive"}},
		{"the same, asked for in the long form", connectors.ScopeRules{Aliases: map[string]string{"email": "https://x/email"}},
			[]string{"https://x/email"}, []string{"email"}, nil},
		{"a prefix less", connectors.ScopeRules{Prefix: "https://g/"}, []string{"https://g/Mail.Read"}, []string{"Mail.Read"}, nil},
		{"a prefix more", connectors.ScopeRules{Prefix: "https://g/", Fold: true}, []string{"mail.read"}, []string{"https://G/Mail.Read"}, nil},
		{"never listed", connectors.ScopeRules{Unlisted: []string{"offline_access"}}, []string{"offline_access", "a"}, []string{}, []string{"a"}},
		{"within another, at a distance", connectors.ScopeRules{Implied: map[string][]string{"admin": {"write"}, "write": {"read"}}},
			[]string{"read", "write", "other"}, []string{"admin"}, []string{"other"}},
		{"not the other way round", connectors.ScopeRules{Implied: map[string][]string{"admin": {"write"}, "write": {"read"}}},
			[]string{"admin", "read"}, []string{"write"}, []string{"admin"}},
		{"within another of the same name", connectors.ScopeRules{Widened: map[string]string{"write_": "read_"}},
			[]string{"read_a", "write_a", "read_b"}, []string{"write_a"}, []string{"read_b"}},
		{"nor there", connectors.ScopeRules{Widened: map[string]string{"write_": "read_"}}, []string{"write_a", "x_write_a"}, []string{"read_a"}, []string{"write_a", "x_write_a"}},
		{"in a circle", connectors.ScopeRules{Implied: map[string][]string{"a": {"b"}, "b": {"a"}}}, []string{"a", "b"}, []string{"b"}, nil},
	} {
		got := connectors.MissingScopes(&connectors.Connector{ScopeRules: tc.rules}, tc.requested, tc.granted)
		if diff := cmp.Diff(got, tc.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tc.name, diff)
		}
	}
	if got := connectors.MissingScopes(&connectors.Connector{NoScopes: true}, []string{"a"}, []string{}); got != nil {
		t.Errorf("a provider that ignores scopes misses %q", got)
	}
}
