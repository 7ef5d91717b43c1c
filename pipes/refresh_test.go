package pipes_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// withAccount is a stack with one connected account, of "user_1".
func withAccount(t *testing.T, c connectorstest.Config) *pipestest.Stack {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{Provider: c})
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	return s
}

// token vends without expecting anything.
func token(t *testing.T, s *pipestest.Stack) (pipes.Vended, error) {
	t.Helper()
	return s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1"))
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// A hundred callers at the moment of expiry: exactly one refresh at the provider, one answer for all.
func TestHundredCallersOneRefresh(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true})
	old := s.MustToken(t, "user_1")
	s.Clock.Advance(time.Hour)
	answers := make([]secret.Bytes, 100)
	var group sync.WaitGroup
	for n := range answers {
		group.Go(func() {
			v, err := s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1"))
			if err != nil || !v.Active {
				t.Errorf("caller %d: %+v, %v", n, v, err)
			}
			answers[n] = v.AccessToken
		})
	}
	group.Wait()
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes, want exactly one", n)
	}
	for n, got := range answers {
		if !got.Equal(answers[0]) || got.Equal(old.AccessToken) {
			t.Errorf("caller %d got another token", n)
		}
	}
	if !s.Provider.Alive(string(answers[0].Reveal())) {
		t.Error("the token that was vended is dead")
	}
	all := s.MustEvents(t, events.GrantRefreshed)
	if len(all) != 1 {
		t.Errorf("%d refreshed events", len(all))
	}
}

// A caller who comes the moment after a refresh finds its result, and begins none.
func TestCallersOneAfterTheOther(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Clock.Advance(time.Hour)
	for range 20 {
		s.MustToken(t, "user_1")
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A caller who read the grant before a refresh landed, and asks for one after it, begins none: the store
// is read again first.
func TestLateCallerLooksAgain(t *testing.T) {
	lie := &lying{}
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true},
		Wrap:     func(inner pipes.Store) pipes.Store { lie.Store = inner; return lie },
	})
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	before := mustGrant(t, s, s.MustAccount(t, "user_1").Grant)
	s.Clock.Advance(time.Hour)
	want := s.MustToken(t, "user_1")
	var once sync.Once
	lie.grant = func(g *pipes.Grant) { once.Do(func() { *g = before }) }
	if got := s.MustToken(t, "user_1"); !got.AccessToken.Equal(want.AccessToken) || s.Provider.Refreshes() != 1 {
		t.Errorf("%d refreshes, want one", s.Provider.Refreshes())
	}
}

// Before the margin nothing happens; within it the living token is vended at once and refreshed behind;
// after the end a caller waits.
func TestMargin(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	first := s.MustToken(t, "user_1")
	s.Clock.Advance(54 * time.Minute) // the margin of an hour is five minutes at most
	if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(first.AccessToken) || s.Provider.Refreshes() != 0 {
		t.Errorf("before the margin: %d refreshes", s.Provider.Refreshes())
	}
	s.Clock.Advance(5 * time.Minute)
	s.Provider.Hold() // the refresh behind does not end, and nobody waits for it
	if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(first.AccessToken) {
		t.Error("within the margin another token is vended")
	}
	eventually(t, "a refresh behind", func() bool { return s.Provider.Refreshes() == 1 })
	s.Provider.Release()
	eventually(t, "the refreshed token", func() bool { return !s.MustToken(t, "user_1").AccessToken.Equal(first.AccessToken) })
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// Short-lived tokens have a short margin: a fifth of their life, never all of it.
func TestMarginOfShortTokens(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true, Lifetime: 10 * time.Second})
	s.Clock.Stop()
	s.MustConnect(t, "user_1") // from here on, a second of the token's is one of the test's
	s.Clock.Advance(7 * time.Second)
	s.MustToken(t, "user_1")
	time.Sleep(20 * time.Millisecond)
	if n := s.Provider.Refreshes(); n != 0 {
		t.Errorf("%d refreshes with three of ten seconds left", n)
	}
	s.Clock.Advance(2500 * time.Millisecond)
	s.MustToken(t, "user_1")
	eventually(t, "a refresh behind", func() bool { return s.Provider.Refreshes() == 1 })
}

// Where a refresh ends the old access token, nobody is given one that is about to be ended: within the
// margin, which is a minute, callers wait.
func TestKillsPreviousAccessToken(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true, KillsPrevious: true})
	s.Clock.Stop()
	first := s.MustToken(t, "user_1")
	s.Clock.Advance(58 * time.Minute)
	if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(first.AccessToken) || s.Provider.Refreshes() != 0 {
		t.Error("refreshed two minutes before the end")
	}
	s.Clock.Advance(110 * time.Second)
	v := s.MustToken(t, "user_1")
	if v.AccessToken.Equal(first.AccessToken) || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
		t.Error("a caller within the margin was given the dying token")
	}
	// The provider is down: the old token still works, so it is vended.
	s.Clock.Advance(time.Hour - 10*time.Second)
	s.Provider.Always(connectorstest.JSON(503, `{}`))
	if again := s.MustToken(t, "user_1"); !again.AccessToken.Equal(v.AccessToken) {
		t.Error("another token although the provider is down")
	}
}

// The same of a provider of the caller's own, which says so in its definition.
func TestKillsPreviousAccessTokenOfACustomProvider(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true, KillsPrevious: true}})
	s.Clock.Stop()
	definition := custom(s)
	_, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, Custom: definition, Credentials: pipestest.Credentials(), Scopes: []string{"read"},
	})
	must(t, err)
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "user_1"})
	must(t, err)
	_, err = s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))
	must(t, err)
	vend := func() pipes.Vended {
		v, err := s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: "mine", UserID: "user_1"})
		must(t, err)
		return v
	}
	kills := func(yes bool) {
		_, err := s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: "mine", Custom: &pipes.CustomUpdate{KillsPrevious: &yes}})
		must(t, err)
	}
	first := vend()
	kills(true)
	s.Clock.Advance(time.Hour - 10*time.Second)
	second := vend()
	if second.AccessToken.Equal(first.AccessToken) || !s.Provider.Alive(string(second.AccessToken.Reveal())) {
		t.Error("a caller within the margin was given the dying token")
	}
	kills(false)
	s.Clock.Advance(time.Hour - 10*time.Second)
	if v := vend(); !v.AccessToken.Equal(second.AccessToken) {
		t.Error("a caller waited although nothing says that the old token dies")
	}
}

// The provider is down: the living token is vended, then a clear error; nothing about the account
// changes, and it recovers by itself.
func TestProviderDown(t *testing.T) {
	for what, fault := range map[string]connectorstest.Fault{
		"500": connectorstest.JSON(500, `{}`), "HTML": connectorstest.HTML(502), "busy": connectorstest.Busy(2 * time.Second),
		"dropped": {Drop: true}, "HTML with 200": connectorstest.HTML(200), "cut": {Status: 200, Body: `{"access_token":"x"}`, Truncate: 5},
		"an error object": connectorstest.JSON(500, `{"error":{"code":190}}`),
	} {
		t.Run(what, func(t *testing.T) {
			s := withAccount(t, connectorstest.Config{Rotate: true})
			s.Clock.Stop() // a pause is a second, and a slow machine must not outlast it
			before, first := s.MustAccount(t, "user_1"), s.MustToken(t, "user_1")
			grant := mustGrant(t, s, before.Grant)
			s.Provider.Always(fault)
			s.Clock.Advance(59 * time.Minute)
			if v, err := token(t, s); err != nil || !v.AccessToken.Equal(first.AccessToken) {
				t.Errorf("a minute before the end: %+v, %v", v, err)
			}
			eventually(t, "a refresh behind", func() bool { return s.Provider.Refreshes() > 0 })
			s.Clock.Advance(10 * time.Minute)
			v, err := token(t, s)
			var down *pipes.ProviderError
			if !errors.Is(err, pipes.ErrProvider) || !errors.As(err, &down) || down.RetryAfter <= 0 || v.Active {
				t.Errorf("after the end: %+v, %v", v, err)
			}
			// That answer may have been the refresh behind's, whose pause began before the clock moved.
			_, _ = token(t, s)
			// While the pause lasts the provider is left alone.
			sent := s.Provider.Refreshes()
			if err := errOf(token(t, s)); !errors.Is(err, pipes.ErrProvider) || s.Provider.Refreshes() != sent {
				t.Errorf("asked again within the pause: %v", err)
			}
			if diff := cmp.Diff(before, s.MustAccount(t, "user_1")); diff != "" {
				t.Errorf("the account changed: %s", diff)
			}
			if diff := cmp.Diff(grant, mustGrant(t, s, before.Grant)); diff != "" {
				t.Errorf("the grant changed: %s", diff)
			}
			if all := s.MustEvents(t, events.ReauthorizationAsked); len(all) != 0 {
				t.Errorf("%d events", len(all))
			}
			s.Provider.Heal()
			s.Clock.Advance(10 * time.Minute)
			if v := s.MustToken(t, "user_1"); !s.Provider.Alive(string(v.AccessToken.Reveal())) {
				t.Error("after recovery a dead token is vended")
			}
		})
	}
}

// A revoked grant needs reauthorization: once, with one event; from then on the provider is not asked. A
// reconnect brings it back.
func TestRevoked(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Provider.RevokeAll()
	s.Clock.Advance(time.Hour)
	for range 3 {
		if v, err := token(t, s); err != nil || v.Active || v.Error != pipes.VendNeedsReauthorization || v.AccessToken.Len() != 0 {
			t.Errorf("got %+v, %v", v, err)
		}
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes of a dead grant", n)
	}
	if a := s.MustAccount(t, "user_1"); a.State != pipes.NeedsReauthorization || a.Reason != "revoked" {
		t.Errorf("account %+v", a)
	}
	if n := len(s.MustEvents(t, events.ReauthorizationAsked)); n != 1 {
		t.Errorf("%d events", n)
	}
	s.MustConnect(t, "user_1")
	s.MustToken(t, "user_1")
}

// Other names for invalid_grant end a grant too where the connector says so, and only there.
func TestDeadGrantCodes(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{
		Connector: func(c *connectors.Connector) {
			if c.Slug == pipestest.Slug {
				c.DeadGrantCodes = []string{"bad_refresh_token"}
			}
		},
	})
	pipes.Impatient(s.Broker)
	for slug, want := range map[string]bool{pipestest.Slug: true, pipestest.Second: false} {
		s.MustIntegration(t, slug)
		r := pipes.Request{Slug: slug, UserID: "u"}
		must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), r, pipes.AccountTokens{
			AccessToken: pipestest.Secret("a"), RefreshToken: pipestest.Secret("refresh of " + slug), ExpiresAt: s.Clock.Now().Add(-time.Minute),
		})))
		s.Provider.Next(connectorstest.JSON(200, `{"error":"bad_refresh_token"}`))
		v, err := s.Broker.Token(t.Context(), s.Call(), r)
		if dead := err == nil && v.Error == pipes.VendNeedsReauthorization; dead != want {
			t.Errorf("%s: got %+v, %v", slug, v, err)
		}
	}
}

// The provider refuses the client: no account is to blame. Nobody asks again for a minute, or until new
// credentials come.
func TestClientRejected(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.MustConnect(t, "user_2")
	before := s.MustAccount(t, "user_1")
	s.Clock.Advance(time.Hour)
	rejected := connectorstest.JSON(401, `{"error":"invalid_client"}`)
	s.Provider.Always(rejected)
	for _, user := range []string{"user_1", "user_2", "user_1"} {
		err := errOf(s.Broker.Token(t.Context(), s.Call(), pipestest.Request(user)))
		var down *pipes.ProviderError
		if !errors.Is(err, pipes.ErrClientRejected) || !errors.As(err, &down) || down.RetryAfter <= 0 {
			t.Errorf("%s: %v", user, err)
		}
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes with a client that is refused", n)
	}
	if diff := cmp.Diff(before, s.MustAccount(t, "user_1")); diff != "" {
		t.Errorf("the account changed: %s", diff)
	}
	// After a minute one tries again.
	s.Clock.Advance(time.Minute)
	if err := errOf(token(t, s)); !errors.Is(err, pipes.ErrClientRejected) || s.Provider.Refreshes() != 2 {
		t.Errorf("after a minute: %v, %d refreshes", err, s.Provider.Refreshes())
	}
	// New credentials are tried at once.
	s.Provider.Heal()
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Credentials: pipestest.Credentials()})))
	s.MustToken(t, "user_1")
	s.MustToken(t, "user_2")
}

// Some providers say unauthorized_client of a refresh token that belongs to another client: then one
// grant waits, and no other.
func TestOneGrantRejected(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.MustConnect(t, "user_2")
	s.Clock.Advance(time.Hour)
	s.Provider.Next(connectorstest.JSON(400, `{"error":"unauthorized_client"}`))
	if err := errOf(token(t, s)); !errors.Is(err, pipes.ErrClientRejected) {
		t.Errorf("user_1: %v", err)
	}
	s.MustToken(t, "user_2")
}

// A reply that is lost is asked for again with the same refresh token. Where the provider has rotated it
// meanwhile, the grant is lost, and says so.
func TestLostReply(t *testing.T) {
	t.Run("never arrived", func(t *testing.T) {
		s := withAccount(t, connectorstest.Config{Rotate: true})
		s.Clock.Advance(time.Hour)
		s.Provider.Next(connectorstest.Fault{Drop: true}, connectorstest.HTML(200))
		s.MustToken(t, "user_1")
		sent := s.Provider.Requests()
		if n := s.Provider.Refreshes(); n != 3 {
			t.Fatalf("%d refreshes, want three", n)
		}
		last := sent[len(sent)-3:]
		if last[0].Params.Get("refresh_token") != last[2].Params.Get("refresh_token") {
			t.Error("another refresh token was sent again")
		}
	})
	t.Run("rotated", func(t *testing.T) {
		s := withAccount(t, connectorstest.Config{Rotate: true})
		s.Clock.Advance(time.Hour)
		s.Provider.Next(connectorstest.LostReply())
		if v, err := token(t, s); err != nil || v.Error != pipes.VendNeedsReauthorization {
			t.Errorf("got %+v, %v", v, err)
		}
		if a := s.MustAccount(t, "user_1"); a.Reason != "rotation_lost" {
			t.Errorf("reason %q, want rotation_lost", a.Reason)
		}
	})
	t.Run("not rotated", func(t *testing.T) {
		s := withAccount(t, connectorstest.Config{})
		s.Clock.Advance(time.Hour)
		s.Provider.Next(connectorstest.LostReply())
		s.MustToken(t, "user_1")
	})
}

// A token without a refresh token is vended until its end; then the user has to consent again.
func TestNotRefreshable(t *testing.T) {
	s := withAccount(t, connectorstest.Config{NoRefresh: true})
	s.Clock.Advance(59 * time.Minute)
	s.MustToken(t, "user_1")
	s.Clock.Advance(2 * time.Minute)
	if v, err := token(t, s); err != nil || v.Error != pipes.VendNeedsReauthorization {
		t.Errorf("got %+v, %v", v, err)
	}
	if a := s.MustAccount(t, "user_1"); a.Reason != "expired" || s.Provider.Refreshes() != 0 {
		t.Errorf("account %+v, %d refreshes", a, s.Provider.Refreshes())
	}
	if n := len(s.MustEvents(t, events.ReauthorizationAsked)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// A token that does not end is vended for ever, with or without a refresh token.
func TestEndlessToken(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Lifetime: -1})
	s.Clock.Advance(10 * 365 * 24 * time.Hour)
	if v := s.MustToken(t, "user_1"); !v.ExpiresAt.IsZero() || s.Provider.Refreshes() != 0 {
		t.Errorf("vended %+v after %d refreshes", v, s.Provider.Refreshes())
	}
}

// A reply without a refresh token keeps the old one; one with other scopes is noted; a token that has
// ended when it arrives is not asked for without end.
func TestOddReplies(t *testing.T) {
	s := withAccount(t, connectorstest.Config{})
	s.Clock.Advance(time.Hour)
	s.MustToken(t, "user_1")
	s.Clock.Advance(time.Hour)
	s.Provider.Next(connectorstest.JSON(200, `{"access_token":"narrow","expires_in":"3600","scope":"other,more"}`))
	if v := s.MustToken(t, "user_1"); !slices.Equal(v.Scopes, []string{"other", "more"}) || !slices.Equal(v.MissingScopes, []string{"read"}) {
		t.Errorf("vended %+v", v)
	}
	s.Clock.Advance(time.Hour)
	s.Clock.Stop() // all of it within one moment, whatever part of a millisecond has passed
	s.Provider.Always(connectorstest.JSON(200, `{"access_token":"ended","expires_in":0}`))
	before := s.Provider.Refreshes()
	for range 2 {
		if v, err := token(t, s); !errors.Is(err, pipes.ErrProvider) || s.Provider.Refreshes() != before+1 {
			t.Errorf("got %+v, %v after %d refreshes, want one", v, err, s.Provider.Refreshes()-before)
		}
	}
	s.Provider.Heal()
	s.Clock.Advance(time.Minute) // the grant pauses after a token that was of no use
	s.MustToken(t, "user_1")
}
