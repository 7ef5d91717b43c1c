package pipes_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestConfigOfAKey: an API key comes with the values that its provider needs; secret ones are sealed with it, vended
// with it and shown nowhere else, and stay with a new key that comes without any.
func TestConfigOfAKey(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"}, func(r *pipes.CreateIntegration) {
		r.AuthMethods, r.Credentials = []pipes.AuthMethod{pipes.MethodAPIKey}, nil
	})
	install := func(key string, c config) (pipes.Account, error) {
		r := keyOf(pipestest.Slug, "user_1", key)
		r.Config = c
		return s.Broker.InstallAPIKey(t.Context(), s.Call(), r)
	}
	vended := func(what, key string, c config, secret string) {
		t.Helper()
		v, err := s.Broker.Credentials(t.Context(), s.Call(), pipestest.Request("user_1"))
		must(t, err)
		app := v.SecretConfig["app_key"]
		if string(v.AccessToken.Reveal()) != key || !maps.Equal(v.Config, c) || string(app.Reveal()) != secret {
			t.Errorf("%s: another key, or %q and a secret of %d bytes", what, v.Config, app.Len())
		}
	}
	if got := refusedFields(errOf(install("key-1-abcdefgh", nil))); !slices.Equal(got, []string{"config.shop required"}) {
		t.Errorf("without a shop: %q", got)
	}
	const secret = "a-secret\nof two lines 1234"
	a, err := install("key-1-abcdefgh", config{"shop": "1", "app_key": secret})
	must(t, err)
	if !maps.Equal(a.Config, config{"shop": "1"}) || !maps.Equal(a.SecretConfig, config{"app_key": "1234"}) {
		t.Errorf("the account shows %q and %q", a.Config, a.SecretConfig)
	}
	vended("installed", "key-1-abcdefgh", config{"shop": "1"}, secret)
	must(t, errOf(install("key-2-abcdefgh", nil)))
	vended("another key", "key-2-abcdefgh", config{"shop": "1"}, secret)
	must(t, errOf(install("key-3-abcdefgh", config{"shop": "2"})))
	vended("another config", "key-3-abcdefgh", config{"shop": "2"}, "")
	// One that comes with its integration has what the integration says.
	key := &pipes.OwnedKey{Secret: pipestest.Secret("key-4-abcdefgh"), UserID: "user_2"}
	owned := func() error {
		return errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, APIKey: key}))
	}
	if got := refusedFields(owned()); !slices.Equal(got, []string{"config.shop required"}) {
		t.Errorf("a key of an integration without a shop: %q", got)
	}
	must(t, s.update(t, config{"shop": "1"}))
	must(t, owned())
	vended("pinned", "key-3-abcdefgh", config{"shop": "1"}, "")
	if n := s.count("1") + s.count("2"); n > 0 || strings.Contains(s.Log.String(), "of two lines") {
		t.Errorf("a provider was asked %d times, or the log has a secret value", n)
	}
}

// TestConfigOfAClient: an account's own client is asked about, and its tokens are fetched, at the account's host.
func TestConfigOfAClient(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"}, func(r *pipes.CreateIntegration) {
		r.AuthMethods, r.Credentials = []pipes.AuthMethod{pipes.MethodClientCredentials}, nil
	})
	r := clientOf("user_1")
	r.Slug = pipestest.Slug
	if got := refusedFields(errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), r))); !slices.Equal(got, []string{"config.shop required"}) {
		t.Errorf("without a shop: %q", got)
	}
	r.Config = config{"shop": "2", "app_key": "a-secret-of-4321"}
	a, err := s.Broker.InstallClientCredentials(t.Context(), s.Call(), r)
	must(t, err)
	before := s.count("2")
	s.Clock.Advance(2 * time.Hour)
	v, err := s.Broker.Credentials(t.Context(), s.Call(), pipestest.Request("user_1"))
	must(t, err)
	app := v.SecretConfig["app_key"]
	if before == 0 || s.count("2") <= before || s.count("1") != 0 || !maps.Equal(v.Config, config{"shop": "2"}) || string(app.Reveal()) != "a-secret-of-4321" {
		t.Errorf("shop 2 was asked %d, then %d times, shop 1 %d; vended with %q", before, s.count("2"), s.count("1"), v.Config)
	}
	if !maps.Equal(a.SecretConfig, config{"app_key": "4321"}) {
		t.Errorf("the account shows %q", a.SecretConfig)
	}
	must(t, s.update(t, config{"shop": "1"}))
	s.Clock.Advance(2 * time.Hour)
	if err := errOf(s.Broker.Credentials(t.Context(), s.Call(), pipestest.Request("user_1"))); !errors.Is(err, pipes.ErrEndpointChanged) || s.count("1") != 0 {
		t.Errorf("fetched at another host: %v", err)
	}
}

// TestConfigOfAnImport: imported tokens are refreshed at the account's host, which they come with, and not before it
// is known.
func TestConfigOfAnImport(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"})
	call := func(with pipes.AccountTokens) error {
		return errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), with))
	}
	ended := s.Clock.Now().Add(-time.Hour)
	renewed := pipes.AccountTokens{AccessToken: pipestest.Secret("at"), RefreshToken: pipestest.Secret("rt"), ExpiresAt: ended}
	if got := refusedFields(call(renewed)); !slices.Equal(got, []string{"config.shop required"}) {
		t.Errorf("a refresh token without a shop: %q", got)
	}
	renewed.Config = config{"shop": "2"}
	must(t, call(renewed))
	before, other := s.count("2"), s.count("1")
	v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_2"))
	must(t, err) // the provider does not know the token, and says so
	if v.Active || s.count("2") <= before || s.count("1") != other {
		t.Errorf("refreshed elsewhere: shop 2 was asked %d times, shop 1 %d times", s.count("2")-before, s.count("1")-other)
	}
	update := func(with pipes.AccountTokens) error {
		return errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_2"), with))
	}
	if got := refusedFields(update(pipes.AccountTokens{Config: config{"shop": "1"}})); len(got) != 1 || !strings.HasPrefix(got[0], "config ") {
		t.Errorf("moved without tokens: %q", got)
	}
	must(t, update(pipes.AccountTokens{AccessToken: pipestest.Secret("at-2")}))
	if a := s.MustAccount(t, "user_2"); !maps.Equal(a.Config, config{"shop": "2"}) {
		t.Errorf("the account has %q", a.Config)
	}
	// Without a refresh token nothing is ever sent, and the host may be left out.
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_3"), pipes.AccountTokens{AccessToken: pipestest.Secret("at-3")})))
	if v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_3")); err != nil || !v.Active {
		t.Errorf("a token without a host: %v", err)
	}
}
