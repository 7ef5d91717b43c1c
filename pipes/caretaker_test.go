package pipes_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// keptStack is a stack whose clock stands still but for what the test adds, with an account of "user_1".
func keptStack(t *testing.T, change func(*connectors.Connector)) *pipestest.Stack {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true}, Connector: change,
	})
	pipes.Impatient(s.Broker)
	s.Clock.Stop()
	s.MustIntegration(t, pipestest.Slug)
	return s
}

// generation keeps the grants that are due, and returns the generation of a user's.
func generation(t *testing.T, s *pipestest.Stack, user string) uint64 {
	t.Helper()
	pipes.Care(t.Context(), s.Broker)
	return mustGrant(t, s, s.MustAccount(t, user).Grant).Generation
}

// A grant in use is refreshed at its margin and not before, without anybody asking; one that nobody uses
// is left in peace from then on, until somebody does.
func TestCaretakerRefreshesWhatIsUsed(t *testing.T) {
	s := keptStack(t, nil)
	s.MustConnect(t, "user_1")
	want := func(what string, n uint64) {
		t.Helper()
		if got := generation(t, s, "user_1"); got != n {
			t.Fatalf("%s: generation %d, want %d", what, got, n)
		}
	}
	s.Clock.Advance(54 * time.Minute)
	want("before the margin", 1)
	s.Clock.Advance(2 * time.Minute)
	want("at the margin of a new grant", 2)
	s.Clock.Advance(57 * time.Minute)
	want("nobody has used it", 2)
	s.Clock.Advance(2 * time.Hour)
	want("ended, and idle", 2)
	// A caller waits for this one, and from now on it is in use.
	if v := s.MustToken(t, "user_1"); !v.Active {
		t.Fatalf("vended %+v", v)
	}
	want("asked for", 3)
	s.Clock.Advance(57 * time.Minute)
	want("in use", 4)
	s.Clock.Advance(57 * time.Minute)
	want("nobody has used that one", 5)
	// It counts as idle now, and is vended: that makes it one in use.
	s.MustToken(t, "user_1")
	want("idle and used again", 5)
	s.Clock.Advance(57 * time.Minute)
	want("marked", 6)
}

// An idle grant is refreshed at a third of the time after which its provider forgets it, also if its
// access token still lives; without a word of the connector's, once a week.
func TestCaretakerKeepsIdleGrantsAlive(t *testing.T) {
	for name, c := range map[string]struct {
		idle  time.Duration
		early time.Duration
	}{
		"sixty days":   {60 * 24 * time.Hour, 17 * 24 * time.Hour},
		"nobody knows": {0, 6 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := keptStack(t, func(conn *connectors.Connector) { conn.RefreshIdle = c.idle })
			s.MustConnect(t, "user_1")
			s.Clock.Advance(time.Hour)
			if got := generation(t, s, "user_1"); got != 2 {
				t.Fatalf("generation %d after the first hour", got)
			}
			s.Clock.Advance(c.early)
			if got := generation(t, s, "user_1"); got != 2 {
				t.Errorf("refreshed early: generation %d", got)
			}
			s.Clock.Advance(4 * 24 * time.Hour)
			if got := generation(t, s, "user_1"); got != 3 {
				t.Errorf("not kept alive: generation %d", got)
			}
		})
	}
}

// An end that no refresh moves is told of once, before it comes; a reconnect is a new grant of the user's.
func TestCaretakerAnnouncesTheEnd(t *testing.T) {
	s := keptStack(t, func(conn *connectors.Connector) { conn.GrantLifetime = 365 * 24 * time.Hour })
	s.MustConnect(t, "user_1")
	ends := s.Clock.Now().Add(365 * 24 * time.Hour)
	told := func() int {
		t.Helper()
		generation(t, s, "user_1")
		return len(s.MustEvents(t, events.AccountExpiring))
	}
	s.Clock.Advance(350 * 24 * time.Hour)
	if n := told(); n != 0 {
		t.Fatalf("%d events early", n)
	}
	s.Clock.Advance(25 * time.Hour)
	if n := told(); n != 1 {
		t.Fatalf("%d events two weeks before the end, want 1", n)
	}
	var data struct {
		ID     pipes.AccountID `json:"id"`
		Ending string          `json:"ending"`
		EndsAt time.Time       `json:"ends_at"`
	}
	must(t, json.Unmarshal(s.MustEvents(t, events.AccountExpiring)[0].Data, &data))
	if data.ID != s.MustAccount(t, "user_1").ID || data.Ending != "grant" || data.EndsAt.Sub(ends).Abs() > time.Minute {
		t.Errorf("event %+v, want an end at %v", data, ends)
	}
	s.Clock.Advance(24 * time.Hour)
	if n := told(); n != 1 {
		t.Errorf("%d events, want one", n)
	}
	s.MustConnect(t, "user_1")
	s.Clock.Advance(352 * 24 * time.Hour)
	if n := told(); n != 2 {
		t.Errorf("%d events, want one of the new consent too", n)
	}
}

// A provider that is down is asked again later, and not without end; nothing is flipped, and the grant is
// refreshed when it is back.
func TestCaretakerWaitsForAProvider(t *testing.T) {
	s := keptStack(t, nil)
	s.MustConnect(t, "user_1")
	s.Clock.Advance(time.Hour)
	before := s.Provider.Refreshes()
	s.Provider.Next(connectorstest.JSON(503, `{}`))
	for range 3 {
		if got := generation(t, s, "user_1"); got != 1 {
			t.Fatalf("generation %d of a refresh that failed", got)
		}
	}
	if n := s.Provider.Refreshes() - before; n != 1 {
		t.Errorf("%d requests at one moment, want 1", n)
	}
	s.Clock.Advance(time.Minute)
	if got := generation(t, s, "user_1"); got != 2 || s.MustAccount(t, "user_1").State != pipes.Connected {
		t.Errorf("generation %d once the provider was back", got)
	}
}

// Two replicas share what is due: each grant is refreshed once. A caretaker that dies leaves its claims to the
// others.
func TestCaretakersShareTheWork(t *testing.T) {
	s := keptStack(t, nil)
	other := s.Replica(t)
	pipes.Impatient(other.Broker)
	const accounts = 60
	for n := range accounts {
		s.MustConnect(t, fmt.Sprint("user_", n))
	}
	must(t, s.Store.Fence(t.Context()))
	s.Clock.Advance(time.Hour)
	env := s.Environment.ID()
	// This one dies with what it claimed.
	claimed, err := s.Store.ClaimDue(t.Context(), env, s.Clock.Now(), s.Clock.Now().Add(time.Minute), 10)
	if err != nil || len(claimed) != 10 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	before := s.Provider.Refreshes()
	var both sync.WaitGroup
	for _, b := range []*pipes.Broker{s.Broker, other.Broker} {
		both.Go(func() { pipes.Care(t.Context(), b) })
	}
	both.Wait()
	if n := s.Provider.Refreshes() - before; n != accounts-10 {
		t.Errorf("%d refreshes, want %d", n, accounts-10)
	}
	s.Clock.Advance(2 * time.Minute)
	pipes.Care(t.Context(), other.Broker)
	if n := s.Provider.Refreshes() - before; n != accounts {
		t.Errorf("%d refreshes, want %d", n, accounts)
	}
	// Nothing is due any more, and no entry is left behind.
	if left, err := s.Store.ClaimDue(t.Context(), env, s.Clock.Now(), s.Clock.Now().Add(time.Minute), 40); err != nil || len(left) != 0 {
		t.Errorf("%d are still due, %v", len(left), err)
	}
}
