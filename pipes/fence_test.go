package pipes_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// interposed stands between a broker and its store: it can fail changes, or do something before them.
type interposed struct {
	pipes.Store
	mu sync.Mutex
	// before is asked before each change; its error is answered instead of the store's.
	before func(pipes.Change) error
}

func (i *interposed) Apply(ctx context.Context, c pipes.Change) error {
	i.mu.Lock()
	before := i.before
	i.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return err
		}
	}
	return i.Store.Apply(ctx, c)
}

func (i *interposed) set(before func(pipes.Change) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.before = before
}

// withInterposed is a stack with an account of user_1, whose token has ended.
func withInterposed(t *testing.T) (*pipestest.Stack, *interposed) {
	t.Helper()
	store := &interposed{}
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true, ReuseKillsFamily: true},
		Wrap: func(inner pipes.Store) pipes.Store {
			if store.Store == nil {
				store.Store = inner
				return store
			}
			return inner
		},
	})
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	s.Clock.Advance(time.Hour)
	return s, store
}

func isRefresh(c pipes.Change) bool {
	return c.Grant != nil && c.Account == nil && !c.Grant.Record.Dead
}

// A refreshed token is not handed out before it is stored; and it is stored as soon as the store is back,
// without asking the provider again, which has rotated it.
func TestPersistedBeforeItIsVended(t *testing.T) {
	s, store := withInterposed(t)
	pipes.Hasty(s.Broker)
	for _, down := range []error{
		&outage.Error{Dependency: outage.Etcd}, &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown},
		&outage.Error{Dependency: outage.RootKey}, pipes.ErrConflict, keys.ErrConflict,
	} {
		store.set(func(c pipes.Change) error {
			if isRefresh(c) {
				return down
			}
			return nil
		})
		before := s.Provider.Refreshes()
		v, err := token(t, s)
		if err == nil || v.Active || v.AccessToken.Len() != 0 {
			t.Errorf("%v: vended %+v, %v while nothing can be stored", down, v, err)
		}
		store.set(nil)
		pipes.Impatient(s.Broker)
		got := s.MustToken(t, "user_1")
		pipes.Hasty(s.Broker)
		if !s.Provider.Alive(string(got.AccessToken.Reveal())) || s.Provider.Refreshes() != before+1 {
			t.Errorf("%v: after recovery, %d refreshes", down, s.Provider.Refreshes()-before)
		}
		s.Clock.Advance(time.Hour)
	}
}

// Whoever edits the record of a grant without refreshing it costs no token: the fence is the generation.
func TestEditDuringARefresh(t *testing.T) {
	s, store := withInterposed(t)
	a := s.MustAccount(t, "user_1")
	edited := 0
	store.set(func(c pipes.Change) error {
		if !isRefresh(c) || edited == 3 {
			return nil
		}
		edited++
		// A rewrap job, or another account that joins: the same generation at another revision.
		g, err := store.Store.Grant(t.Context(), s.Environment.ID(), a.Grant)
		must(t, err)
		must(t, store.Store.Apply(t.Context(), pipes.Change{
			Environment: s.Environment.ID(), Grant: &pipes.Put[pipes.Grant]{Record: *g.Record, Revision: g.Revision},
			Previous: g.Record.TokenMAC, Events: []events.Event{{Type: events.AccountUpdated, Data: []byte("{}"), At: time.Now(), Node: "test"}},
		}))
		return nil
	})
	v := s.MustToken(t, "user_1")
	if !s.Provider.Alive(string(v.AccessToken.Reveal())) || s.Provider.Refreshes() != 1 || edited != 3 {
		t.Errorf("%d refreshes, %d edits", s.Provider.Refreshes(), edited)
	}
	if g := mustGrant(t, s, a.Grant); g.Generation != 2 {
		t.Errorf("generation %d", g.Generation)
	}
}

// A reconnect while a refresh is under way wins: the refresh's result is dropped, and the provider is not
// told to revoke anything.
func TestReconnectDuringARefresh(t *testing.T) {
	s, store := withInterposed(t)
	a := s.MustAccount(t, "user_1")
	var once sync.Once
	store.set(func(c pipes.Change) error {
		if isRefresh(c) {
			once.Do(func() { s.MustConnect(t, "user_1") })
		}
		return nil
	})
	v := s.MustToken(t, "user_1")
	g := mustGrant(t, s, a.Grant)
	if !s.Provider.Alive(string(v.AccessToken.Reveal())) || g.Generation != 2 || s.Provider.Exchanges() != 2 {
		t.Errorf("generation %d after %d exchanges", g.Generation, s.Provider.Exchanges())
	}
	if n := len(s.MustEvents(t, events.GrantRefreshed)); n != 0 {
		t.Errorf("%d refreshes were stored over a newer generation", n)
	}
}

// An account that is removed while it is refreshed stays removed.
func TestDeleteDuringARefresh(t *testing.T) {
	s, store := withInterposed(t)
	a := s.MustAccount(t, "user_1")
	var once sync.Once
	store.set(func(c pipes.Change) error {
		if isRefresh(c) {
			once.Do(func() { must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1"))) })
		}
		return nil
	})
	if v, err := token(t, s); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("got %+v, %v", v, err)
	}
	must(t, s.Store.Fence(t.Context()))
	if err := errOf(s.Store.Grant(t.Context(), s.Environment.ID(), a.Grant)); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("the grant came back: %v", err)
	}
}

// Two replicas refresh at once: one wins, and the other, whose token the provider then calls dead, finds
// the winner's result instead of judging the account.
func TestTwoReplicasRefresh(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	replica := s.Replica(t)
	for _, b := range []*pipes.Broker{s.Broker, replica.Broker} {
		pipes.Impatient(b)
	}
	s.Clock.Advance(time.Hour)
	var group sync.WaitGroup
	for n := range 20 {
		stack := []*pipestest.Stack{s, replica}[n%2]
		group.Go(func() {
			v, err := stack.Broker.Token(t.Context(), stack.Call(), pipestest.Request("user_1"))
			if err != nil || !v.Active || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
				t.Errorf("caller %d: %+v, %v", n, v, err)
			}
		})
	}
	group.Wait()
	if a := s.MustAccount(t, "user_1"); a.State != pipes.Connected {
		t.Errorf("account %+v", a)
	}
	if g := mustGrant(t, s, s.MustAccount(t, "user_1").Grant); g.Generation != 2 {
		t.Errorf("generation %d", g.Generation)
	}
}

// A refresh that fails at the moment in which another replica's succeeded has its result.
func TestFailureBesideASuccess(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	replica := s.Replica(t)
	s.Clock.Advance(time.Hour)
	succeeded := make(chan struct{})
	s.Provider.Next(connectorstest.Fault{Status: 503, Until: succeeded})
	var v pipes.Vended
	var err error
	var group sync.WaitGroup
	group.Go(func() { v, err = token(t, s) })
	eventually(t, "the failing refresh", func() bool { return s.Provider.Refreshes() == 1 })
	want := replica.MustToken(t, "user_1")
	close(succeeded)
	group.Wait()
	if err != nil || !v.AccessToken.Equal(want.AccessToken) {
		t.Errorf("got %+v, %v", v, err)
	}
}

// killed is the context of a shutdown that has no time left.
func killed(t *testing.T) context.Context {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	kill()
	return ctx
}

// unlock ends the lock of a grant's attempt, as the lease of its owner would that is gone.
func unlock(t *testing.T, s *pipestest.Stack) {
	t.Helper()
	grant := s.MustAccount(t, "user_1").Grant
	found, err := s.Store.Standing(t.Context(), s.Environment.ID(), grant)
	must(t, err)
	if found.Attempt.Record == nil || found.Lock.Revision == 0 {
		t.Fatalf("no attempt is under way: %+v", found)
	}
	must(t, errOf(s.Store.PutAttempt(t.Context(), pipes.Step{
		Environment: s.Environment.ID(), Attempt: *found.Attempt.Record, Revision: found.Attempt.Revision, Lock: pipes.LockReleased,
	})))
}

// A process that is killed between the provider's reply and the transaction has the tokens in its journal,
// and its next life stores them, also over the judgement of a replica that went on meanwhile.
func TestKilledBeforeTheTransaction(t *testing.T) {
	for _, judged := range []bool{false, true} {
		s, store := withInterposed(t)
		store.set(func(c pipes.Change) error {
			if isRefresh(c) {
				return &outage.Error{Dependency: outage.Etcd}
			}
			return nil
		})
		go func() { _, _ = s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")) }()
		eventually(t, "an entry in the journal", func() bool { return pipes.Pending(s.Broker) == 1 })
		text, err := os.ReadFile(s.JournalPath)
		must(t, err)
		for _, token := range s.Provider.Tokens() {
			if bytes.Contains(text, []byte(token)) {
				t.Error("a token stands in the journal in clear")
			}
		}
		if judged {
			// The lock of the killed process has ended, and nobody knows that it will come back.
			_ = s.Broker.Close(killed(t))
			replica := s.Replica(t)
			pipes.Impatient(replica.Broker)
			pipes.Settled(replica.Broker, 0)
			unlock(t, s)
			if v, err := token(t, replica); err != nil || v.Error != pipes.VendNeedsReauthorization {
				t.Errorf("the other replica: %+v, %v", v, err)
			}
			if a := s.MustAccount(t, "user_1"); a.Reason != "rotation_lost" || replica.Counts.Of(pipes.CountRotationLost) != 1 {
				t.Errorf("account %+v", a)
			}
		}
		restarted := s.Restart(t) // whose store works
		pipes.Impatient(restarted.Broker)
		eventually(t, "the replay", func() bool { return restarted.Counts.Of(pipes.CountReplayed) == 1 })
		v := restarted.MustToken(t, "user_1")
		if g := mustGrant(t, s, s.MustAccount(t, "user_1").Grant); g.Generation != 2 || g.Dead {
			t.Errorf("grant %+v", g)
		}
		if a := s.MustAccount(t, "user_1"); a.State != pipes.Connected || a.Reason != "" {
			t.Errorf("account %+v", a)
		}
		if !judged && (!s.Provider.Alive(string(v.AccessToken.Reveal())) || s.Provider.Refreshes() != 1) {
			t.Errorf("%d refreshes", s.Provider.Refreshes())
		}
		if pipes.Pending(restarted.Broker) != 0 {
			t.Error("the entry is still in the journal")
		}
		if judged {
			// The replica's send had ended the grant at the provider before the journal came back.
			s.Clock.Advance(time.Hour)
			if v, err := token(t, restarted); err != nil || v.Reason != pipes.ReasonRotationLost {
				t.Errorf("the next refresh: %+v, %v", v, err)
			}
		}
	}
}

// A caller who hangs up does not cancel the rotation; Close waits for it, and begins none after.
func TestCloseDrains(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Clock.Advance(time.Hour)
	s.Provider.Hold()
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- errOf(s.Broker.Token(ctx, s.Call(), pipestest.Request("user_1"))) }()
	eventually(t, "a refresh", func() bool { return s.Provider.Refreshes() == 1 })
	hangUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who hung up got %v", err)
	}
	closed := make(chan error)
	go func() { closed <- s.Broker.Close(t.Context()) }()
	select {
	case err := <-closed:
		t.Errorf("Close did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	pipes.Hasty(s.Broker)
	if err := errOf(token(t, s)); err == nil {
		t.Error("a refresh began during the shutdown")
	}
	s.Provider.Release()
	must(t, <-closed)
	if g := mustGrant(t, s, s.MustAccount(t, "user_1").Grant); g.Generation != 2 {
		t.Errorf("generation %d: the rotation was lost", g.Generation)
	}
	s.MustToken(t, "user_1") // a living token needs no refresh
}

// Close gives up when it may not wait any longer, and says so.
func TestCloseGivesUp(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Clock.Advance(time.Hour)
	s.Provider.Hold()
	go func() { _, _ = s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")) }()
	eventually(t, "a refresh", func() bool { return s.Provider.Refreshes() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Broker.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// lying is a store that edits what it hands out, as a writer of etcd would who could make MACs.
type lying struct {
	pipes.Store
	grant func(*pipes.Grant)
}

func (l *lying) Grant(ctx context.Context, env access.EnvironmentID, id pipes.GrantID) (pipes.At[pipes.Grant], error) {
	found, err := l.Store.Grant(ctx, env, id)
	if err == nil && l.grant != nil {
		edited := *found.Record
		l.grant(&edited)
		found.Record = &edited
	}
	return found, err
}
