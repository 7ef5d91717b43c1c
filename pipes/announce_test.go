package pipes_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/internal/outage"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// standing is what there is of a refresh of user_1's grant.
func standing(t *testing.T, s *pipestest.Stack) pipes.Standing {
	t.Helper()
	found, err := s.Store.Standing(t.Context(), s.Environment.ID(), s.MustAccount(t, "user_1").Grant)
	must(t, err)
	return found
}

// announcing sees every step of a refresh before it is stored.
type announcing struct {
	pipes.Store
	mu    sync.Mutex
	steps []pipes.Step
	// sent is how many refresh tokens the provider had been sent by then.
	sent     []int
	provider *connectorstest.Server
	// unlocked stores the first step without its lock, as if the lease had ended since.
	unlocked bool
}

func (a *announcing) PutAttempt(ctx context.Context, s pipes.Step) (int64, error) {
	a.mu.Lock()
	a.steps, a.sent = append(a.steps, s), append(a.sent, a.provider.Refreshes())
	if a.unlocked && len(a.steps) == 1 {
		s.Lock = pipes.LockKept
	}
	a.mu.Unlock()
	return a.Store.PutAttempt(ctx, s)
}

func withAnnouncing(t *testing.T, c connectorstest.Config) (*pipestest.Stack, *announcing) {
	t.Helper()
	seen := &announcing{}
	s := pipestest.WithConfig(t, pipestest.Config{Provider: c, Wrap: func(inner pipes.Store) pipes.Store {
		if seen.Store == nil {
			seen.Store = inner
			return seen
		}
		return inner
	}})
	seen.provider = s.Provider
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	s.Clock.Advance(time.Hour)
	return s, seen
}

// Each send stands in etcd before it goes out, and so does what became of the one before.
func TestSendsAreAnnounced(t *testing.T) {
	s, seen := withAnnouncing(t, connectorstest.Config{})
	s.Provider.Next(connectorstest.Fault{Drop: true}, connectorstest.Fault{Drop: true})
	s.MustToken(t, "user_1")
	if len(seen.steps) != 3 || s.Provider.Refreshes() != 3 || s.Counts.Of(pipes.CountAmbiguous) != 2 {
		t.Fatalf("%d steps, %d sends", len(seen.steps), s.Provider.Refreshes())
	}
	for n, step := range seen.steps {
		a := step.Attempt
		if a.Sends != n+1 || a.Ambiguous != (n > 0) || seen.sent[n] != n || a.Generation != 1 || a.Owner != s.Audit.Node() || step.GrantAt == 0 {
			t.Errorf("step %d, after %d sends: %+v", n, seen.sent[n], step)
		}
		if step.Lock != pipes.LockTaken || (step.LockAt == 0) != (n == 0) {
			t.Errorf("step %d: lock %v at %d", n, step.Lock, step.LockAt)
		}
	}
	if left := standing(t, s); left.Attempt.Record != nil || left.Lock.Revision != 0 {
		t.Errorf("the refresh landed and left %+v", left)
	}
}

// Whose replies are all lost leaves the attempt, without a lock and idle. Another replica goes on from
// there with the same token, knows what an invalid_grant means then, and a reconnect begins anew.
func TestAmbiguityOutlivesItsProcess(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Clock.Advance(time.Hour)
	s.Provider.Next(connectorstest.LostReply())
	lost := connectorstest.Fault{Drop: true}
	s.Provider.Next(lost, lost, lost)
	if v, err := token(t, s); err == nil {
		t.Fatalf("vended %+v", v)
	}
	left := standing(t, s)
	if a := left.Attempt.Record; a == nil || !a.Ambiguous || !a.Idle || a.Sends != 4 || left.Lock.Revision != 0 {
		t.Fatalf("left %+v", left)
	}
	replica := s.Replica(t)
	pipes.Impatient(replica.Broker)
	if v, err := token(t, replica); err != nil || v.Reason != pipes.ReasonRotationLost || replica.Counts.Of(pipes.CountRotationLost) != 1 {
		t.Errorf("the other replica: %+v, %v", v, err)
	}
	// Case: what was lost of one generation says nothing of the next.
	s.MustConnect(t, "user_1")
	if left := standing(t, s); left.Attempt.Record != nil || left.Lock.Revision != 0 {
		t.Errorf("a reconnect left %+v", left)
	}
	s.Clock.Advance(time.Hour)
	s.Provider.RevokeAll()
	if v, err := token(t, replica); err != nil || v.Reason != pipes.ReasonRevoked || replica.Counts.Of(pipes.CountRevoked) != 1 {
		t.Errorf("revoked: %+v, %v", v, err)
	}
}

// A process that finds that it was stopped between the announcement and the send begins again, and sends
// nothing if that never ends.
func TestStoppedBeforeTheSend(t *testing.T) {
	s, seen := withAnnouncing(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true})
	pipes.StoppedBeforeSending(s.Broker, 100)
	if _, err := token(t, s); outage.Of(err) == nil || s.Provider.Refreshes() != 0 {
		t.Errorf("after %d sends: %v", s.Provider.Refreshes(), err)
	}
	if left := standing(t, s); left.Attempt.Record != nil || left.Lock.Revision != 0 {
		t.Errorf("nothing was sent, and left is %+v", left)
	}
	before := len(seen.steps)
	pipes.StoppedBeforeSending(s.Broker, 2)
	s.MustToken(t, "user_1")
	if len(seen.steps) != before+2 || s.Provider.Refreshes() != 1 {
		t.Errorf("%d steps, %d sends", len(seen.steps)-before, s.Provider.Refreshes())
	}
}

// Who was stopped for longer than his lease has the lock again before he sends: else a successor would take him
// for gone, and send the same token.
func TestLockIsTakenAgain(t *testing.T) {
	s, seen := withAnnouncing(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true})
	seen.unlocked = true
	pipes.StoppedBeforeSending(s.Broker, 2)
	s.Provider.Hold()
	go func() { _, _ = token(t, s) }()
	eventually(t, "a refresh", func() bool { return s.Provider.Refreshes() == 1 })
	if found := standing(t, s); found.Lock.Holder.Node != s.Audit.Node() || found.Attempt.Record.Sends != 2 {
		t.Errorf("sent with %+v", found)
	}
	s.Provider.Release()
	s.MustToken(t, "user_1")
}

// A token that is stored after a successor took over, or judged, may be dead already.
func TestDoubts(t *testing.T) {
	me, other := pipes.Holder{Node: "me"}, "other"
	for name, row := range map[string]struct {
		attempt *pipes.Attempt
		grant   pipes.Grant
		want    bool
	}{
		"its own attempt":              {attempt: &pipes.Attempt{Owner: "me", Generation: 3}},
		"no attempt":                   {},
		"a successor's":                {attempt: &pipes.Attempt{Owner: other, Generation: 3}, want: true},
		"a judgement":                  {grant: pipes.Grant{Dead: true}, want: true},
		"another of the tokens":        {attempt: &pipes.Attempt{Owner: other, Generation: 3, Name: "user"}},
		"a token that is not there":    {attempt: &pipes.Attempt{Owner: other, Generation: 2}},
		"another of them was judged":   {grant: pipes.Grant{Named: map[string]pipes.NamedToken{"user": {Dead: true}}}},
		"a successor's, of long ago":   {attempt: &pipes.Attempt{Owner: other, Generation: 2}, grant: pipes.Grant{Since: 2}, want: true},
		"… at a token refreshed since": {attempt: &pipes.Attempt{Owner: other, Generation: 2}, grant: pipes.Grant{Since: 3}},
	} {
		row.grant.Generation = 3
		if got := pipes.Doubts(pipes.Standing{Attempt: pipes.At[pipes.Attempt]{Record: row.attempt}}, &row.grant, "", me); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whoever comes while another replica refreshes waits for its result, and sends nothing.
func TestLoserWaits(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true})
	replica := s.Replica(t)
	pipes.Impatient(replica.Broker)
	s.Clock.Advance(time.Hour)
	s.Provider.Hold()
	var group sync.WaitGroup
	for _, stack := range []*pipestest.Stack{s, replica} {
		group.Go(func() {
			v, err := stack.Broker.Token(t.Context(), stack.Call(), pipestest.Request("user_1"))
			if err != nil || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
				t.Errorf("%+v, %v", v, err)
			}
		})
		eventually(t, "the first refresh", func() bool { return s.Provider.Refreshes() == 1 })
	}
	s.Provider.Release()
	group.Wait()
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// The attempt of a node that is gone is left alone until none of its requests can be under way. Where re-use
// ends the grant, that is until the node comes back, which says so, or the access token ends.
func TestDeadOwner(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Clock.Advance(time.Hour)
	s.Provider.Hold()
	go func() { _, _ = s.Broker.Token(t.Context(), s.Call(), pipestest.Request("user_1")) }()
	eventually(t, "a refresh", func() bool { return s.Provider.Refreshes() == 1 })
	left := standing(t, s)
	must(t, errOf(s.Store.PutAttempt(t.Context(), pipes.Step{ // as the end of its lease
		Environment: s.Environment.ID(), Attempt: *left.Attempt.Record, Revision: left.Attempt.Revision, Lock: pipes.LockReleased,
	})))
	replica := s.Replica(t)
	pipes.Impatient(replica.Broker)
	pipes.Hasty(replica.Broker)
	if _, err := token(t, replica); !errors.Is(err, pipes.ErrProvider) || s.Provider.Refreshes() != 1 {
		t.Errorf("a successor that does not wait: %d sends, %v", s.Provider.Refreshes(), err)
	}
	for _, row := range []struct {
		family bool
		lives  time.Duration
		want   time.Duration
	}{
		{false, time.Hour, 25 * time.Second}, {true, -time.Hour, 25 * time.Second},
		{true, 5 * time.Minute, 5 * time.Minute}, {true, time.Hour, 10 * time.Minute},
	} {
		if got := pipes.SuccessorWait(25*time.Second, row.family, row.lives); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	s.Provider.Release()
}

// A node that comes back without an entry for what it left says that nothing is under way.
func TestNodeComesHome(t *testing.T) {
	s := withAccount(t, connectorstest.Config{})
	left := pipes.Attempt{Grant: s.MustAccount(t, "user_1").Grant, Generation: 1, ID: "a", Owner: s.Audit.Node(), Process: "killed", Sends: 1}
	must(t, errOf(s.Store.PutAttempt(t.Context(), pipes.Step{Environment: s.Environment.ID(), Attempt: left, Lock: pipes.LockTaken})))
	s.Restart(t)
	eventually(t, "the release", func() bool {
		found := standing(t, s)
		return found.Attempt.Record != nil && found.Attempt.Record.Idle && found.Attempt.Record.Ambiguous && found.Lock.Revision == 0
	})
}

// A journal that cannot be written is found out before a token is sent, and named; what needs no refresh
// is vended on.
func TestNoJournalNoRefresh(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	must(t, s.Journal.Close())
	s.MustToken(t, "user_1")
	s.Clock.Advance(time.Hour)
	_, err := token(t, s)
	if o := outage.Of(err); o == nil || o.Dependency != outage.Journal || s.Provider.Refreshes() != 0 {
		t.Errorf("%d sends, %v", s.Provider.Refreshes(), err)
	}
	if left := standing(t, s); left.Attempt.Record != nil {
		t.Errorf("left %+v", left)
	}
}
