package pipes_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/pipes"
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
