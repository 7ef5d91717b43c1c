package pipes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// The token validation rules of the contract, one by one: what an import makes of each combination.
func TestImportRules(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	soon := s.Clock.Now().Add(time.Hour)
	access, refresh := pipestest.Secret("imported-access"), pipestest.Secret("imported-refresh")
	for _, c := range []struct {
		what   string
		tokens pipes.AccountTokens
		state  pipes.State
		field  string
	}{
		{"nothing", pipes.AccountTokens{}, pipes.NeedsReauthorization, ""},
		{"all three", pipes.AccountTokens{AccessToken: access, RefreshToken: refresh, ExpiresAt: soon}, pipes.Connected, ""},
		{"an access token", pipes.AccountTokens{AccessToken: access}, pipes.Connected, ""},
		{"access and refresh token", pipes.AccountTokens{AccessToken: access, RefreshToken: refresh}, pipes.Connected, ""},
		{"an access token that ends", pipes.AccountTokens{AccessToken: access, ExpiresAt: soon}, "", "expires_at"},
		{"an end of nothing", pipes.AccountTokens{ExpiresAt: soon}, "", "expires_at"},
		{"a refresh token", pipes.AccountTokens{RefreshToken: refresh}, "", "refresh_token"},
		{"a refresh token with an end", pipes.AccountTokens{RefreshToken: refresh, ExpiresAt: soon}, "", "expires_at"},
		{"tokens in a dead state", pipes.AccountTokens{AccessToken: access, State: pipes.NeedsReauthorization}, pipes.NeedsReauthorization, ""},
		{"a living state without tokens", pipes.AccountTokens{State: pipes.Connected}, "", "state"},
		{"an unknown state", pipes.AccountTokens{AccessToken: access, State: "disconnected"}, "", "state"},
		{"a scope with a space", pipes.AccountTokens{AccessToken: access, Scopes: []string{"a b"}}, "", "scopes"},
		{"a token of 65 KiB", pipes.AccountTokens{AccessToken: pipestest.Secret(strings.Repeat("a", 65<<10))}, "", "access_token"},
	} {
		a, err := s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), c.tokens)
		var refused *pipes.InvalidError
		if c.field != "" {
			if !errors.As(err, &refused) || refused.Field != c.field {
				t.Errorf("%s: got %v, want %s refused", c.what, err, c.field)
			}
			if err := errOf(s.Broker.Account(t.Context(), s.Call(), pipestest.Request("user_1"))); !errors.Is(err, pipes.ErrNoAccount) {
				t.Errorf("%s: %v, want no account", c.what, err)
			}
			continue
		}
		if err != nil || a.State != c.state || !strings.HasPrefix(string(a.ID), "data_installation_") {
			t.Errorf("%s: got %+v, %v", c.what, a, err)
		}
		v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1"))
		must(t, err)
		if v.Active != (c.state == pipes.Connected) || v.Active && !v.AccessToken.Equal(access) || !v.Active && v.Error != pipes.VendNeedsReauthorization {
			t.Errorf("%s: vended %+v", c.what, v)
		}
		if err := errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), c.tokens)); !errors.Is(err, pipes.ErrAccountExists) {
			t.Errorf("%s, again: %v, want ErrAccountExists", c.what, err)
		}
		must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1")))
	}
}

// An imported refresh token is used when the access token has ended; one whose end nobody knows is
// refreshed before its first use, where the provider's tokens end.
func TestImportedTokensAreRefreshed(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider:  connectorstest.Config{Rotate: true},
		Connector: func(c *connectors.Connector) { c.Lifetime = time.Hour },
	})
	s.MustIntegration(t, pipestest.Slug)
	for user, at := range map[string]time.Time{"no end": {}, "ended": s.Clock.Now().Add(-time.Hour)} {
		must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request(user), pipes.AccountTokens{
			AccessToken: pipestest.Secret("stale"), RefreshToken: mustTokens(t, s).RefreshToken, ExpiresAt: at,
		})))
		before := s.Provider.Refreshes()
		if v := s.MustToken(t, user); !s.Provider.Alive(string(v.AccessToken.Reveal())) || s.Provider.Refreshes() != before+1 {
			t.Errorf("%s: vended %+v after %d refreshes", user, v, s.Provider.Refreshes()-before)
		}
	}
}

// mustTokens are tokens of a grant that the provider knows and nobody here does.
func mustTokens(t *testing.T, s *pipestest.Stack) pipes.AccountTokens {
	t.Helper()
	const redirect = "https://elsewhere.example"
	verifier, challenge := connectors.GenerateVerifier()
	conn := s.Provider.Connector(pipestest.Slug)
	tokens, err := s.Provider.Client(t).Exchange(t.Context(), &conn, s.Provider.Credentials(), connectors.ExchangeRequest{
		Code: pipestest.Secret(s.Provider.Code(redirect, challenge, "read")), Verifier: verifier, RedirectURI: redirect,
	})
	must(t, err)
	return pipes.AccountTokens{AccessToken: tokens.Access, RefreshToken: tokens.Refresh, ExpiresAt: tokens.ExpiresAt}
}

func TestUpdateAccount(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	first := s.MustConnect(t, "user_1")
	update := func(tokens pipes.AccountTokens) (pipes.Account, error) {
		return s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), tokens)
	}
	// Case 1: scopes alone. Tokens stay.
	token := s.MustToken(t, "user_1")
	a, err := update(pipes.AccountTokens{Scopes: []string{"other"}})
	must(t, err)
	if v := s.MustToken(t, "user_1"); a.ID != first || !cmp.Equal(a.Scopes, []string{"other"}) || !v.AccessToken.Equal(token.AccessToken) || !cmp.Equal(v.MissingScopes, []string{"read"}) {
		t.Errorf("account %+v, vended %+v", a, v)
	}
	// Case 2: the state alone, there and back.
	a, err = update(pipes.AccountTokens{State: pipes.NeedsReauthorization})
	must(t, err)
	if v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")); err != nil || v.Active || a.State != pipes.NeedsReauthorization {
		t.Errorf("account %+v, vended %+v, %v", a, v, err)
	}
	must(t, errOf(update(pipes.AccountTokens{State: pipes.Connected})))
	s.MustToken(t, "user_1")
	// Case 3: new tokens are a new generation of the same account.
	a, err = update(pipes.AccountTokens{AccessToken: pipestest.Secret("new-access")})
	must(t, err)
	if v := s.MustToken(t, "user_1"); a.ID != first || !v.AccessToken.Equal(pipestest.Secret("new-access")) || !v.ExpiresAt.IsZero() || !cmp.Equal(v.Scopes, []string{"other"}) {
		t.Errorf("account %+v, vended %+v", a, v)
	}
	// Case 4: an account without tokens cannot be called connected.
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), pipes.AccountTokens{})))
	var refused *pipes.InvalidError
	if err := errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_2"), pipes.AccountTokens{State: pipes.Connected})); !errors.As(err, &refused) {
		t.Errorf("connected without tokens: %v", err)
	}
	if err := errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_3"), pipes.AccountTokens{})); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("nobody's account: %v", err)
	}
	var types []events.Type
	for _, e := range s.MustEvents(t)[2:] { // behind the integration's and the first connection's
		types = append(types, e.Type)
	}
	want := []events.Type{events.AccountUpdated, events.ReauthorizationAsked, events.AccountConnected, events.AccountConnected, events.ReauthorizationAsked}
	if diff := cmp.Diff(types, want); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

// An account, its tokens and its refresh token's place are gone with it; nothing is left that would stand
// in the way of the next one.
func TestDeleteAccount(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	a := s.MustAccount(t, "user_1")
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1")))
	must(t, s.Store.Fence(t.Context()))
	if err := errOf(s.Store.Grant(t.Context(), s.Environment.ID(), a.Grant)); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("grant: %v", err)
	}
	if err := errOf(s.Store.Connections(t.Context(), s.Environment.ID(), a.Owner, a.Slug)); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("connections: %v", err)
	}
	if members, err := s.Store.Memberships(t.Context(), s.Environment.ID()); err != nil || len(members) != 0 {
		t.Errorf("memberships: %v, %v", members, err)
	}
	if err := s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1")); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("deleted twice: %v", err)
	}
	if v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("token: %+v, %v", v, err)
	}
	if second := s.MustConnect(t, "user_1"); second == a.ID {
		t.Error("a new account has the id of the removed one")
	}
	if n := len(s.MustEvents(t, events.AccountDisconnected)); n != 1 {
		t.Errorf("%d disconnected events", n)
	}
}

// A user within an organization and the same user without are two owners, and ids are compared as bytes.
func TestOwnersDoNotMix(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	seen := map[pipes.AccountID]bool{}
	owners := []pipes.Request{
		{UserID: "a", OrganizationID: ""}, {UserID: "a", OrganizationID: "b"}, {UserID: "ab"}, {UserID: "A"},
		{UserID: "ä"}, {UserID: "a\u0308"}, {UserID: "a/b"}, {UserID: "../a"}, {UserID: " a"},
	}
	for n, r := range owners {
		r.Slug = pipestest.Slug
		token := pipestest.Secret(strings.Repeat("t", n+5))
		a, err := s.Broker.ImportAccount(t.Context(), s.Call(), r, pipes.AccountTokens{AccessToken: token})
		must(t, err)
		seen[a.ID] = true
	}
	for n, r := range owners {
		r.Slug = pipestest.Slug
		if v, err := s.Broker.Token(t.Context(), s.Call(), r); err != nil || v.AccessToken.Len() != n+5 {
			t.Errorf("%+v: vended %d characters, %v", r, v.AccessToken.Len(), err)
		}
	}
	if len(seen) != len(owners) {
		t.Errorf("%d accounts of %d owners", len(seen), len(owners))
	}
}

// A selector of another owner's account selects nothing, and a malformed one is refused as such.
func TestAccountSelector(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	mine, others := s.MustConnect(t, "user_1"), s.MustConnect(t, "user_2")
	r := pipestest.Request("user_1")
	for id, want := range map[pipes.AccountID]error{mine: nil, others: pipes.ErrNoAccount, "data_installation_01JD8Z6Q5RN5T4M0A1B2C3D4EX": pipes.ErrNoAccount} {
		r.AccountID = id
		if err := errOf(s.Broker.Token(t.Context(), s.Call(), r)); !errors.Is(err, want) {
			t.Errorf("token of %s: %v, want %v", id, err, want)
		}
		if err := errOf(s.Broker.Account(t.Context(), s.Call(), r)); !errors.Is(err, want) {
			t.Errorf("account %s: %v, want %v", id, err, want)
		}
	}
	r.AccountID = "data_installation_../x"
	var refused *pipes.InvalidError
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), r)); !errors.As(err, &refused) || refused.Field != "connected_account_id" {
		t.Errorf("malformed selector: %v", err)
	}
}

func TestDataProviders(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	no := false
	s.MustIntegration(t, pipestest.Second)
	s.MustConnect(t, "user_1")
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: &no})))
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Ownership: pipes.OwnedByOrganization, Enabled: true, Credentials: pipestest.Credentials(),
	})))
	for user, want := range map[string][]string{"user_1": {pipestest.Slug, pipestest.Second}, "user_2": {pipestest.Second}} {
		list, err := s.Broker.DataProviders(t.Context(), s.Call(), pipes.Request{UserID: user})
		must(t, err)
		var slugs []string
		for _, p := range list {
			slugs = append(slugs, p.Slug)
			if connected := user == "user_1" && p.Slug == pipestest.Slug; (p.Account != nil) != connected || (len(p.Accounts) == 1) != connected {
				t.Errorf("%s at %s: account %v", user, p.Slug, p.Account)
			}
		}
		if diff := cmp.Diff(slugs, want); diff != "" {
			t.Errorf("%s: %s", user, diff)
		}
	}
}
