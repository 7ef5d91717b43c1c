package connectors_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
)

// identified is a provider that says who its users are.
func identified(s *connectorstest.Server) *connectors.Connector {
	conn := s.Connector("test")
	conn.Identity = connectors.Identity{ID: []string{"sub"}, Name: []string{"email", "name"}}
	return &conn
}

// TestIdentify: what an answer says, and what is made of it.
func TestIdentify(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{})
	access, client := MustConnect(t, s).Access, s.Client(t)
	long, deep := strings.Repeat("ü", 200), strings.Repeat("[", 70)+strings.Repeat("]", 70)
	for what, c := range map[string]struct {
		identity connectors.Identity
		body     string
		want     connectors.Account
	}{
		"a text":               {body: `{"sub":"a","name":"A"}`, want: connectors.Account{ID: "a", Name: "A"}},
		"a number":             {body: `{"sub":583231,"email":"a@b"}`, want: connectors.Account{ID: "583231", Name: "a@b"}},
		"no name":              {body: `{"sub":"a"}`, want: connectors.Account{ID: "a"}},
		"a name that deceives": {body: `{"sub":"a","email":"a\u202eb","name":"A"}`, want: connectors.Account{ID: "a", Name: "A"}},
		"a long name":          {body: `{"sub":"a","name":"` + long + `"}`, want: connectors.Account{ID: "a", Name: strings.Repeat("ü", 127)}},
		"the token as the name": {
			body: `{"sub":"a","name":"x` + string(access.Reveal()) + `y"}`, want: connectors.Account{ID: "a"},
		},
		"parts below others": {
			identity: connectors.Identity{ID: []string{"data.0.id", "team.id"}, Name: []string{"data.1"}},
			body:     `{"data":[{"id":7},"A"],"team":{"id":"t"}}`, want: connectors.Account{ID: "7/t", Name: "A"},
		},
		"a list": {
			identity: connectors.Identity{ID: []string{"0.tenantId"}}, body: `[{"tenantId":"x"}]`, want: connectors.Account{ID: "x"},
		},
		"the same deep enough": {body: `{"sub":"a","x":` + deep[10:130] + `}`, want: connectors.Account{ID: "a"}},

		"the token as the id": {body: `{"sub":"` + string(access.Reveal()) + `"}`},
		"nothing":             {body: `{}`},
		"an object":           {body: `{"sub":{"a":"b"}}`},
		"one part of two": {
			identity: connectors.Identity{ID: []string{"team", "sub"}}, body: `{"sub":"a"}`,
		},
		"a place that is not there": {identity: connectors.Identity{ID: []string{"3"}}, body: `["a"]`},
		"a long id":                 {body: `{"sub":"` + long + `"}`},
		"a control character":       {body: `{"sub":"a\nb"}`},
		"no JSON":                   {body: `<html>`},
		"more behind it":            {body: `{"sub":"a"} {}`},
		"two of a name":             {body: `{"sub":"a","sub":"b"}`},
		"nested too deeply":         {body: `{"sub":"a","x":` + deep + `}`},
		"more than is read":         {body: `{"sub":"a","x":"` + strings.Repeat("x", 1<<20) + `"}`},
	} {
		t.Run(what, func(t *testing.T) {
			conn := identified(s)
			if c.identity.ID != nil {
				conn.Identity = c.identity
			}
			s.AlwaysIdentity(connectorstest.JSON(200, c.body))
			got, err := client.Identify(t.Context(), conn, access)
			if diff := cmp.Diff(got.Account, c.want); diff != "" {
				t.Errorf("account (-got +want):\n%s", diff)
			}
			if (err == nil) != (c.want.ID != "") {
				t.Errorf("error is %v", err)
			}
			if err != nil && (connectors.Of(err) == nil || strings.Contains(err.Error(), string(access.Reveal()))) {
				t.Errorf("error is %v", err)
			}
		})
	}
	s.Heal()
	if got, err := client.Identify(t.Context(), identified(s), access); err != nil || got.Account != (connectors.Account{ID: "user-1", Name: "Test User"}) {
		t.Errorf("from the provider: %+v, %v", got, err)
	}
}

// TestIdentifyFailures: whatever goes wrong is an error of the class that says it, without the token, after
// one call; and no redirect is followed with it.
func TestIdentifyFailures(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{})
	access, conn := MustConnect(t, s).Access, identified(s)
	hasty := MustClient(t, connectors.ClientConfig{Timeout: time.Second})
	for what, c := range map[string]struct {
		fault connectorstest.Fault
		want  failure
	}{
		"a dead token": {connectorstest.JSON(401, `{"error":"invalid_token"}`), failure{Class: connectors.Refused, Status: 401}},
		"busy":         {connectorstest.Busy(7 * time.Second), failure{Class: connectors.Refused, Status: 429, After: 7 * time.Second}},
		"cut":          {connectorstest.Fault{Drop: true}, failure{Class: connectors.Ambiguous}},
		"late":         {connectorstest.Fault{Delay: time.Minute}, failure{Class: connectors.Ambiguous}},
		"a redirect": {
			connectorstest.Fault{Status: 302, Header: http.Header{"Location": {s.URL + connectorstest.IdentityPath}}},
			failure{Class: connectors.Refused, Status: 302},
		},
	} {
		t.Run(what, func(t *testing.T) {
			before := s.Identities()
			s.AlwaysIdentity(c.fault)
			_, err := hasty.Identify(t.Context(), conn, access)
			if diff := cmp.Diff(MustFail(t, err), c.want); diff != "" {
				t.Errorf("failure (-got +want):\n%s", diff)
			}
			if n := s.Identities() - before; n != 1 || strings.Contains(err.Error(), string(access.Reveal())) {
				t.Errorf("%d calls, %v", n, err)
			}
		})
	}
	s.Heal()
	strict := MustClient(t, connectors.ClientConfig{Egress: MustEgress(t, connectors.EgressConfig{})})
	if _, err := strict.Identify(t.Context(), conn, access); MustFail(t, err).Class != connectors.Blocked {
		t.Errorf("an address that is not allowed: %v", err)
	}
	if _, err := hasty.Identify(t.Context(), pointer(s.Connector("test")), access); MustFail(t, err).Class != connectors.Refused {
		t.Errorf("a provider without: %v", err)
	}
}

// TestAccountOfAReply: what token replies say, at the top, deeper, and in an ID token.
func TestAccountOfAReply(t *testing.T) {
	claims := func(body string) string { return "e30." + base64.RawURLEncoding.EncodeToString([]byte(body)) + ".c2ln" }
	openID := connectors.Identity{TokenID: []string{"id_token.sub"}, TokenName: []string{"id_token.email"}}
	slack := connectors.Identity{TokenID: []string{"team.id", "authed_user.id"}, TokenName: []string{"team.name"}}
	for what, c := range map[string]struct {
		identity connectors.Identity
		reply    string
		want     connectors.Account
	}{
		"an ID token":             {openID, `"id_token":"` + claims(`{"sub":"a","email":"a@b"}`) + `"`, connectors.Account{ID: "a", Name: "a@b"}},
		"members":                 {slack, `"team":{"id":"T","name":"Acme"},"authed_user":{"id":"U"}`, connectors.Account{ID: "T/U", Name: "Acme"}},
		"one member of two":       {slack, `"team":{"id":"T","name":"Acme"}`, connectors.Account{Name: "Acme"}},
		"no ID token":             {openID, `"x":1`, connectors.Account{}},
		"an ID token of two":      {openID, `"id_token":"e30.e30"`, connectors.Account{}},
		"an ID token that is not": {openID, `"id_token":"e30.*.x"`, connectors.Account{}},
		"an object for one":       {openID, `"id_token":{"sub":"a"}`, connectors.Account{}},
		"the access token":        {connectors.Identity{TokenID: []string{"me"}}, `"me":"access-token"`, connectors.Account{}},
		"nobody asked":            {connectors.Identity{}, `"sub":"a"`, connectors.Account{}},
	} {
		conn := &connectors.Connector{Slug: "test", Identity: c.identity}
		tokens, err := connectors.ReadReply(conn, 200, []byte(`{"access_token":"access-token",`+c.reply+`}`), start(), time.Time{})
		if err != nil || tokens.Account != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", what, tokens.Account, err, c.want)
		}
	}
}

// TestFromCallback: the one parameter that a connector names, and no other.
func TestFromCallback(t *testing.T) {
	query := func(name string) string {
		return map[string]string{"realmId": "4711", "long": strings.Repeat("x", 256)}[name]
	}
	for name, want := range map[string]string{"realmId": "4711", "other": "", "long": "", "": ""} {
		conn := connectors.Connector{Identity: connectors.Identity{CallbackID: name}}
		if got := conn.FromCallback(query); got.ID != want {
			t.Errorf("%q: got %q", name, got.ID)
		}
	}
}

// TestCustomIdentity: a custom provider's identity call goes where its tokens come from.
func TestCustomIdentity(t *testing.T) {
	d := connectors.Definition{
		Name: "P", AuthorizationURL: "https://p.example/a", TokenURL: "https://p.example/t", IdentityURL: "https://p.example/userinfo",
	}
	conn, err := connectors.Custom("p", d)
	if err != nil || !conn.CanIdentify() {
		t.Fatalf("got %v", err)
	}
	for _, other := range []string{"https://q.example/userinfo", "https://p.example:8443/userinfo", "http://p.example/userinfo", "userinfo"} {
		d.IdentityURL = other
		var refused *connectors.DefinitionError
		if _, err := connectors.Custom("p", d); !asDefinition(err, &refused) || refused.Field != "identity_url" {
			t.Errorf("%s: got %v", other, err)
		}
	}
}

func asDefinition(err error, to **connectors.DefinitionError) bool {
	var ok bool
	*to, ok = err.(*connectors.DefinitionError)
	return ok
}
