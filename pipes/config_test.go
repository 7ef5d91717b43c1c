package pipes_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

type config = map[string]string

// shops is a stack whose provider has a host for each customer: 127.N.0.1 is that of the shop N. All are the one
// provider, and asked counts what came through each.
type shops struct {
	*pipestest.Stack
	mu    sync.Mutex
	asked map[string]int // guarded by mu
}

// inShops gives a connector a field for its customers' hosts, one that an integration needs, and a secret one.
func inShops(scope connectors.ConfigScope) func(*connectors.Connector) {
	return func(c *connectors.Connector) {
		for _, at := range []*string{&c.AuthorizationURL, &c.TokenURL, &c.RevocationURL, &c.IdentityURL} {
			*at = strings.Replace(*at, "127.0.0.1", "127.${config.shop}.0.1", 1)
		}
		c.AuthorizeParams = map[string]string{"app": "${config.app}"}
		c.Config = []connectors.ConfigField{
			{Key: "shop", Label: "Shop", Scope: scope, Required: true, Example: "1", Pattern: "^(?:[0-9]{1,3})$", Order: 1},
			{Key: "app", Label: "App", Scope: connectors.ConfigIntegration, Required: true, Example: "a1", Pattern: "^(?:[a-z0-9]+)$", Order: 2},
			{Key: "app_key", Label: "App key", Scope: connectors.ConfigInstallation, Secret: true, Example: "k", Pattern: "^(?:(?s:.+))$", Order: 3},
		}
	}
}

func withShops(t *testing.T, scope connectors.ConfigScope) *shops {
	t.Helper()
	s := &shops{asked: map[string]int{}}
	s.Stack = pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}, Connector: inShops(scope)})
	provider, err := url.Parse(s.Provider.URL)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(provider)
	for _, shop := range []string{"1", "2"} {
		l, err := net.Listen("tcp", net.JoinHostPort("127."+shop+".0.1", provider.Port()))
		must(t, err)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.asked[shop]++
			s.mu.Unlock()
			proxy.ServeHTTP(w, r)
		}), ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	return s
}

// count is how often a shop was asked.
func (s *shops) count(shop string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[shop]
}

func (s *shops) mustCreate(t *testing.T, c config, more ...func(*pipes.CreateIntegration)) pipes.IntegrationView {
	t.Helper()
	r := pipes.CreateIntegration{Slug: pipestest.Slug, Enabled: true, Credentials: pipestest.Credentials(), Config: c}
	for _, change := range more {
		change(&r)
	}
	i, err := s.Broker.CreateIntegration(t.Context(), s.Call(), r)
	must(t, err)
	return i
}

func (s *shops) update(t *testing.T, c config) error {
	t.Helper()
	return errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Config: c}))
}

// authorize begins a flow of a user of org_1 and returns where it leads to.
func (s *shops) authorize(t *testing.T, user string, c config) (string, error) {
	t.Helper()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: pipestest.Slug, UserID: user, OrganizationID: "org_1", Config: c,
	})
	return begun.URL, err
}

func (s *shops) mustConnect(t *testing.T, user string, c config) {
	t.Helper()
	at, err := s.authorize(t, user, c)
	must(t, err)
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, at)))
	must(t, err)
	if result.Account == "" {
		t.Fatalf("connect %s with %q: %+v", user, c, result)
	}
}

func ofOrg1(user string) pipes.Request {
	return pipes.Request{Slug: pipestest.Slug, UserID: user, OrganizationID: "org_1"}
}

// refusedFields are the fields and codes that an error refuses.
func refusedFields(err error) (fields []string) {
	var refused *pipes.InvalidError
	if !errors.As(err, &refused) {
		return nil
	}
	for _, e := range append([]*pipes.InvalidError{refused}, refused.Others...) {
		fields = append(fields, e.Field+" "+e.Code)
	}
	return fields
}

// TestConfigDefault: a field's default stands where nobody has set it.
func TestConfigDefault(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) {
		c.Config = []connectors.ConfigField{{
			Key: "site", Label: "Site", Scope: connectors.ConfigInstallation, Example: "eu", Pattern: "^(?:[a-z]+)$", Order: 1, Default: "world",
		}}
		c.AuthorizeParams = map[string]string{"site": "${config.site}"}
	}})
	s.MustIntegration(t, pipestest.Slug)
	for want, c := range map[string]config{"world": nil, "eu": {"site": "eu"}} {
		begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_" + want, Config: c})
		must(t, err)
		if at := s.Browser().MustDepart(t, pipestest.Ticket(t, begun.URL)); !strings.Contains(at, "site="+want) {
			t.Errorf("with %q the browser leaves for %s", c, at)
		}
	}
}

// TestConfigLevels: who sets what, and whose value counts: the integration's, else the account's, else the
// organization's.
func TestConfigLevels(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	create := func(c config) error {
		return errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
			Slug: pipestest.Slug, Enabled: true, Credentials: pipestest.Credentials(), Config: c,
		}))
	}
	configure := func(c config) error {
		return errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Config: c}))
	}
	refusals := func(what string, err error, want ...string) {
		t.Helper()
		if got := refusedFields(err); !slices.Equal(got, want) {
			t.Errorf("%s: refused are %q, want %q (%v)", what, got, want, err)
		}
	}
	refusals("nothing for an integration", create(nil), "config.app required")
	refusals("nonsense for an integration", create(config{"app": "A", "app_key": "k", "other": "x"}),
		"config.app invalid_value", "config.app_key invalid_value", "config invalid_value")
	if i := s.mustCreate(t, config{"app": "a1", "shop": ""}); i.State != "valid" || !maps.Equal(i.Config, config{"app": "a1"}) {
		t.Errorf("the integration is %s with %q", i.State, i.Config)
	}
	refused := func(c config) error { return errOf(s.authorize(t, "user_0", c)) }
	refusals("nothing for an account", refused(nil), "config.shop required")
	refusals("an integration's for an account", refused(config{"shop": "1", "app": "a2"}), "config.app invalid_value")
	refusals("a secret in a flow", refused(config{"shop": "1", "app_key": "k"}), "config.app_key invalid_value")
	refusals("an organization's", configure(config{"app": "a2"}), "config.app invalid_value")
	if err := configure(config{"app_key": "k"}); !errors.As(err, new(*pipes.InvalidError)) {
		t.Errorf("an organization's secret: %v", err)
	}
	leaves := func(what string, c config, shop string) {
		t.Helper()
		at, err := s.authorize(t, "user_0", c)
		must(t, err)
		if at = s.Browser().MustDepart(t, pipestest.Ticket(t, at)); !strings.HasPrefix(at, "http://127."+shop+".0.1:") || !strings.Contains(at, "app=a1") {
			t.Errorf("%s: the browser leaves for %s", what, at)
		}
	}
	leaves("the account's", config{"shop": "1"}, "1")
	must(t, configure(config{"shop": "2"}))
	leaves("the organization's", nil, "2")
	leaves("both", config{"shop": "1"}, "1")
	must(t, s.update(t, config{"shop": "1"}))
	leaves("all", nil, "1")
	refusals("one that the integration has", refused(config{"shop": "2"}), "config.shop invalid_value")
	refusals("an organization's that the integration has", configure(config{"shop": "2"}), "config.shop invalid_value")
	must(t, configure(config{}))
	must(t, s.update(t, config{"shop": ""}))
	refusals("taken away", refused(nil), "config.shop required")
	refusals("what is needed", s.update(t, config{"app": ""}), "config.app required")
	leaves("again", config{"shop": "2"}, "2")
}

// TestConfigRefusesHostileValues: at every way in, before anything is stored or sent.
func TestConfigRefusesHostileValues(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"})
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Second, Enabled: true, Config: config{"app": "a1"},
		AuthMethods: []pipes.AuthMethod{pipes.MethodAPIKey, pipes.MethodClientCredentials},
	})))
	ways := map[string]func(config) error{
		"update":    func(c config) error { return s.update(t, c) },
		"authorize": func(c config) error { return errOf(s.authorize(t, "user_1", c)) },
		"configure": func(c config) error {
			return errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_2", Slug: pipestest.Slug, Config: c}))
		},
		"import": func(c config) error {
			return errOf(s.Broker.ImportAccount(t.Context(), s.Call(), ofOrg1("user_1"), pipes.AccountTokens{AccessToken: pipestest.Secret("at"), Config: c}))
		},
		"api key": func(c config) error {
			r := keyOf(pipestest.Second, "user_1", apiKey)
			r.Config = c
			return errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), r))
		},
		"client": func(c config) error {
			r := clientOf("user_2")
			r.Slug, r.Config = pipestest.Second, c
			return errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), r))
		},
	}
	for way, send := range ways {
		for _, value := range []string{
			"1/", "1.evil.example", "evil.example#", "x@evil.example", "1:80", "1%2f", "..", ".", "1 ", "1\n", "\x00", "ONE", "１", "[::1]", "1\\", "-1", "1?a=b", "${config.app}",
			strings.Repeat("1", 9<<10),
		} {
			err := send(config{"shop": value})
			if got := refusedFields(err); !slices.Equal(got, []string{"config.shop invalid_value"}) || len(value) > 4 && strings.Contains(err.Error(), value) {
				t.Errorf("%s, %.40q: %q (%.200s)", way, value, got, fmt.Sprint(err))
			}
		}
		must(t, send(config{"shop": "1"}))
		must(t, s.update(t, config{"shop": ""}))
	}
}

// TestAccountsHost: every account is asked about, refreshed and revoked at its own host, also by a broker that has
// only the store, and once its integration is gone.
func TestAccountsHost(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"})
	for shop, user := range map[string]string{"1": "user_1", "2": "user_2"} {
		before := s.count(shop)
		s.mustConnect(t, user, config{"shop": shop})
		a, err := s.Broker.Account(t.Context(), s.Call(), ofOrg1(user))
		must(t, err)
		if n := s.count(shop) - before; n < 2 || !maps.Equal(a.Config, config{"shop": shop}) { // the consent, the code
			t.Errorf("shop %s was asked %d times, the account has %q", shop, n, a.Config)
		}
	}
	s.Clock.Advance(2 * time.Hour)
	again := s.Restart(t)
	other, refreshes := s.count("1"), s.Provider.Refreshes()
	v, err := again.Broker.Credentials(t.Context(), s.Call(), ofOrg1("user_2"))
	must(t, err)
	if !v.Active || !maps.Equal(v.Config, config{"shop": "2"}) || s.Provider.Refreshes() != refreshes+1 || s.count("1") != other {
		t.Errorf("vended %v with %q after %d refreshes; the other shop was asked %d times", v.Active, v.Config, s.Provider.Refreshes()-refreshes, s.count("1")-other)
	}
	// Connected again without a config it is where it was; with another one elsewhere, and refreshed there.
	at, err := again.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_2", OrganizationID: "org_1"})
	must(t, err)
	if to := again.Browser().MustDepart(t, pipestest.Ticket(t, at.URL)); !strings.HasPrefix(to, "http://127.2.0.1:") {
		t.Errorf("a reconnect leaves for %s", to)
	}
	revoke, before1, before2 := true, s.count("1"), s.count("2")
	must(t, again.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, pipes.OwnedByUser, &revoke))
	eventually(t, "a revocation at each host", func() bool { return s.count("1") > before1 && s.count("2") > before2 })
	if n := len(s.Provider.Revocations()); n < 2 {
		t.Errorf("the provider was asked for %d revocations", n)
	}
}

// TestConfigChange: a value that is changed sends no token and no secret to another host.
func TestConfigChange(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"})
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Config: config{"shop": "1"}})))
	s.mustConnect(t, "user_1", nil)
	for way, change := range map[string]func(to string) error{
		"integration": func(to string) error { return s.update(t, config{"shop": to}) },
		"organization": func(to string) error {
			if to == "" {
				to = "1"
			}
			return errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Config: config{"shop": to}}))
		},
	} {
		must(t, change("2"))
		if v, err := s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_1")); err != nil || !v.Active {
			t.Errorf("%s: a token that lives is not vended: %v", way, err)
		}
		s.Clock.Advance(2 * time.Hour)
		if err := errOf(s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_1"))); !errors.Is(err, pipes.ErrEndpointChanged) {
			t.Errorf("%s: refreshed at another host: %v", way, err)
		}
		must(t, change(""))
		if v, err := s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_1")); err != nil || !v.Active {
			t.Errorf("%s: not refreshed where it is from: %v", way, err)
		}
	}
	at, err := s.authorize(t, "user_2", nil)
	must(t, err)
	back := s.Browser().MustReturn(t, pipestest.Ticket(t, at)) // a flow that is under way
	must(t, s.update(t, config{"shop": "2"}))
	result, err := s.Broker.Callback(t.Context(), back)
	must(t, err)
	if result.Code != pipes.CodeEndpointChanged {
		t.Errorf("a code of another host's: %+v", result)
	}
	revoke := true
	gone := ofOrg1("user_1")
	gone.RevokeAtProvider = &revoke
	a, err := s.Broker.Account(t.Context(), s.Call(), gone)
	must(t, err)
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), gone))
	eventually(t, "the revocation's end", func() bool {
		r, err := s.Broker.Revocation(t.Context(), s.Call(), a.ID)
		must(t, err)
		return r.State == pipes.RevocationFailed && r.Code == pipes.RevocationMoved
	})
	if n := s.count("2"); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// TestConfigMovesSecret: where an integration's value is the host, its client secret stays with the one that it was
// given for.
func TestConfigMovesSecret(t *testing.T) {
	s := withShops(t, connectors.ConfigIntegration)
	i := s.mustCreate(t, config{"app": "a1", "shop": "1"})
	if i.State != "valid" || !strings.HasPrefix(i.Client.Secret.Origin, "http://127.1.0.1:") {
		t.Errorf("the integration is %s, its secret bound to %s", i.State, i.Client.Secret.Origin)
	}
	if got := refusedFields(s.update(t, config{"shop": "2"})); !slices.Equal(got, []string{"credentials required"}) {
		t.Errorf("moved without the secret: %q", got)
	}
	must(t, s.update(t, config{"app": "a2"}))
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
		Slug: pipestest.Slug, Config: config{"shop": "2"}, Credentials: pipestest.Credentials(),
	})))
	s.mustConnect(t, "user_1", nil)
	if s.count("1") != 0 || s.count("2") == 0 {
		t.Errorf("the hosts were asked %d and %d times", s.count("1"), s.count("2"))
	}
}
