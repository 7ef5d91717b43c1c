package pipes_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// reply is a token reply with tokens of the test's choice.
func reply(access, refresh string) connectorstest.Fault {
	return connectorstest.JSON(200, fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":3600,"token_type":"bearer"}`, access, refresh))
}

// connectWith connects an account with tokens of the test's choice.
func connectWith(t *testing.T, s *pipestest.Stack, r pipes.AuthorizeRequest, access, refresh string) pipes.Result {
	t.Helper()
	r.Slug = pipestest.Slug
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), r)
	must(t, err)
	callback := s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL))
	s.Provider.Next(reply(access, refresh))
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	return result
}

func mustGrant(t *testing.T, s *pipestest.Stack, id pipes.GrantID) pipes.Grant {
	t.Helper()
	must(t, s.Store.Fence(t.Context()))
	g, err := s.Store.Grant(t.Context(), s.Environment.ID(), id)
	must(t, err)
	return *g.Record
}

// The same refresh token is the same grant: a callback that brings it points its account there, and what
// happens to the grant happens to both.
func TestSharedGrant(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "access-1", "shared")
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_2"}, "access-2", "shared")
	one, two := s.MustAccount(t, "user_1"), s.MustAccount(t, "user_2")
	if one.Grant != two.Grant || one.ID == two.ID {
		t.Fatalf("accounts %+v and %+v", one, two)
	}
	if g := mustGrant(t, s, one.Grant); g.Generation != 2 || !cmp.Equal(g.Accounts, []pipes.AccountID{one.ID, two.ID}) {
		t.Errorf("grant %+v", g)
	}
	for _, user := range []string{"user_1", "user_2"} {
		if v := s.MustToken(t, user); !v.AccessToken.Equal(pipestest.Secret("access-2")) {
			t.Errorf("%s has another token than the grant's newest", user)
		}
	}
	// One refresh serves both.
	s.Clock.Advance(2 * time.Hour)
	s.Provider.Next(reply("access-3", "rotated"))
	for _, user := range []string{"user_1", "user_2"} {
		if v := s.MustToken(t, user); !v.AccessToken.Equal(pipestest.Secret("access-3")) {
			t.Errorf("%s has not the refreshed token", user)
		}
	}
	// One death is both's, in one transaction, with an event for each.
	s.Clock.Advance(2 * time.Hour)
	if v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")); err != nil || v.Error != pipes.VendNeedsReauthorization {
		t.Errorf("got %+v, %v", v, err)
	}
	if a := s.MustAccount(t, "user_2"); a.State != pipes.NeedsReauthorization || a.Reason != "revoked" {
		t.Errorf("the other account is %+v", a)
	}
	if n := len(s.MustEvents(t, events.ReauthorizationAsked)); n != 2 {
		t.Errorf("%d events, want one for each account", n)
	}
	// Who comes back with the grant's token revives both.
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "access-4", "rotated")
	for _, user := range []string{"user_1", "user_2"} {
		if v := s.MustToken(t, user); !v.AccessToken.Equal(pipestest.Secret("access-4")) {
			t.Errorf("%s is not revived", user)
		}
	}
}

// An account that leaves a shared grant leaves the others what they have: whoever reconnects may be
// somebody else at the provider.
func TestLeavingASharedGrant(t *testing.T) {
	for what, leave := range map[string]func(*testing.T, *pipestest.Stack){
		"by reconnecting": func(t *testing.T, s *pipestest.Stack) {
			connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "mallory's", "mallory's refresh token")
			if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(pipestest.Secret("mallory's")) {
				t.Error("the reconnected account has not its token")
			}
		},
		"by removal": func(t *testing.T, s *pipestest.Stack) {
			must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1")))
		},
		"by tokens of the caller": func(t *testing.T, s *pipestest.Stack) {
			must(t, errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), pipes.AccountTokens{AccessToken: pipestest.Secret("mallory's")})))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := pipestest.New(t)
			s.MustIntegration(t, pipestest.Slug)
			connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "access-1", "shared")
			connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_2"}, "access-2", "shared")
			two := s.MustAccount(t, "user_2")
			leave(t, s)
			if v := s.MustToken(t, "user_2"); !v.AccessToken.Equal(pipestest.Secret("access-2")) {
				t.Error("the other account's token changed")
			}
			if g := mustGrant(t, s, two.Grant); !cmp.Equal(g.Accounts, []pipes.AccountID{two.ID}) || g.Generation != 2 {
				t.Errorf("grant %+v", g)
			}
			s.Clock.Advance(2 * time.Hour)
			s.Provider.Next(reply("access-3", "rotated"))
			if v := s.MustToken(t, "user_2"); !v.AccessToken.Equal(pipestest.Secret("access-3")) {
				t.Error("the other account is not refreshed")
			}
		})
	}
}

// A refresh token that somebody has is not imported a second time, and crosses no key context: one
// customer's keys do not decide on another's tokens.
func TestRefreshTokenInUse(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "access-1", "shared")
	tokens := pipes.AccountTokens{AccessToken: pipestest.Secret("a"), RefreshToken: pipestest.Secret("shared")}
	if err := errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), tokens)); !errors.Is(err, pipes.ErrTokenInUse) {
		t.Errorf("import: %v, want ErrTokenInUse", err)
	}
	result := connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1", OrganizationID: "org_1"}, "access-2", "shared")
	if result.Code != pipes.CodeTokenInUse || result.Account != "" {
		t.Errorf("in an organization: %+v", result)
	}
	wantFailure(t, s, i, map[string]any{
		"error_code": pipes.CodeTokenInUse, "organization_id": "org_1",
		"error_reason": "the provider handed out a refresh token that another account has",
	})
	if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(pipestest.Secret("access-1")) {
		t.Error("the first account's token changed")
	}
	// The twins: the account's own token again, and another token.
	must(t, errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), tokens)))
	tokens.RefreshToken = pipestest.Secret("another")
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), tokens)))
}

// Where organizations have clients of their own, the consent is to the organization's: one account of a person
// keeps another's within the same organization, and within none that has another client.
func TestSharedConsentThroughAnOrganizationsClient(t *testing.T) {
	for name, c := range map[string]struct {
		others string
		state  pipes.RevocationState
	}{
		"the same client": {pipestest.ClientID, pipes.RevocationKept}, "another client": {"another", pipes.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{Connector: func(conn *connectors.Connector) {
				conn.RevokesAll, conn.IdentityURL = true, ""
			}})
			must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
				Slug: pipestest.Slug, Enabled: true, Credentials: &pipes.ClientCredentials{Type: "organization"},
			})))
			must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_1", pipestest.ClientID, pipestest.ClientSecret))))
			must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_2", c.others, pipestest.ClientSecret))))
			var ids []pipes.AccountID
			for _, organization := range []string{"org_1", "org_2"} {
				a, err := s.Broker.ImportAccount(t.Context(), s.Call(), within(organization), pipes.AccountTokens{AccessToken: pipestest.Secret("at")})
				must(t, err)
				identify(t, s, a.ID, "one person")
				ids = append(ids, a.ID)
			}
			r := within("org_1")
			r.RevokeAtProvider = choice(true)
			must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), r))
			if r := awaitRevocation(t, s, ids[0], over); r.State != c.state {
				t.Errorf("revocation %+v, want %s", r, c.state)
			}
		})
	}
}
