package pipes_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestRefusedAtOneHost: a customer whose host refuses the client keeps nobody at other hosts from being refreshed.
func TestRefusedAtOneHost(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"})
	for user, shop := range map[string]string{"user_1": "1", "user_2": "2", "user_3": "2"} {
		s.mustConnect(t, user, config{"shop": shop})
	}
	s.Clock.Advance(2 * time.Hour)
	s.Provider.Next(connectorstest.JSON(http.StatusUnauthorized, `{"error":"invalid_client"}`))
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_2"))); !errors.Is(err, pipes.ErrClientRejected) {
		t.Fatalf("at the host that refuses the client: %v", err)
	}
	if v, err := s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_1")); err != nil || !v.Active {
		t.Errorf("at another host: %+v, %v", v.Active, err)
	}
	asked := s.count("2")
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), ofOrg1("user_3"))); !errors.Is(err, pipes.ErrClientRejected) || s.count("2") != asked {
		t.Errorf("another account at that host: %v, which was asked %d times more", err, s.count("2")-asked)
	}
}

// TestVendedHost: a token is vended with the host that it is from, whatever is set of the integration or the
// organization meanwhile; an API key with what counts for its account.
func TestVendedHost(t *testing.T) {
	s := withShops(t, connectors.ConfigInstallation)
	s.mustCreate(t, config{"app": "a1"}, func(r *pipes.CreateIntegration) {
		r.AuthMethods = []pipes.AuthMethod{pipes.MethodOAuth, pipes.MethodAPIKey}
	})
	organization := func(to string) {
		t.Helper()
		must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Config: config{"shop": to}})))
	}
	vended := func(what, user, shop string) {
		t.Helper()
		v, err := s.Broker.Credentials(t.Context(), s.Call(), ofOrg1(user))
		if err != nil || !v.Active || !maps.Equal(v.Config, config{"shop": shop}) {
			t.Errorf("%s: vended to %s is %v with %q, want shop %s (%v)", what, user, v.Active, v.Config, shop, err)
		}
	}
	organization("1")
	s.mustConnect(t, "user_1", nil)
	key := keyOf(pipestest.Slug, "user_2", apiKey)
	key.OrganizationID = "org_1"
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), key)))
	vended("as connected", "user_1", "1")
	vended("as connected", "user_2", "1")
	organization("2")
	vended("the organization's moved", "user_1", "1")
	vended("the organization's moved", "user_2", "2")
	must(t, s.update(t, config{"shop": "2"}))
	vended("the integration's is set", "user_1", "1")
	s.mustConnect(t, "user_3", nil)
	vended("connected there", "user_3", "2")
	s.mustConnect(t, "user_1", nil)
	vended("connected again there", "user_1", "2")
	s.Clock.Advance(2 * time.Hour)
	vended("refreshed there", "user_1", "2")
}
