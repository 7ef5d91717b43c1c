package etcd_test

import (
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/pipes"
)

// testAttempts: one refresh of a grant is under way at a time, whoever puts it; others hear of every change,
// and a lock goes with the process that holds it.
func testAttempts(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	grant := pipes.Grant{ID: "grant_01JD8Z6Q5RN5T4M0A1B2C3D4EX", Environment: p.env, Generation: 1, Accounts: []pipes.AccountID{"a"}}
	apply := func(change pipes.Change) error {
		change.Environment, change.Events = p.env, []events.Event{p.event(events.AccountUpdated, "a")}
		return s.Apply(ctx, change)
	}
	if err := apply(pipes.Change{Grant: &pipes.Put[pipes.Grant]{Record: grant}}); err != nil {
		t.Fatal(err)
	}
	mustFence(t, s)
	at, err := s.Grant(ctx, p.env, grant.ID)
	if err != nil {
		t.Fatal(err)
	}
	changed, done := other.Watch(p.env, grant.ID)
	defer done()
	hear := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody was told of %s", what)
		}
	}
	attempt := pipes.Attempt{Grant: grant.ID, Generation: 1, ID: "one", Owner: "node-1", Process: "x", Sends: 1}
	step := pipes.Step{Environment: p.env, Attempt: attempt, GrantAt: at.Revision, Lock: pipes.LockTaken}
	stale := step
	stale.GrantAt--
	mustBe(t, "an attempt at another revision of the grant", errOf(s.PutAttempt(ctx, stale)), pipes.ErrConflict)
	revision, err := s.PutAttempt(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	hear("an attempt")
	second := step
	second.Attempt.ID, second.Attempt.Owner = "two", "node-2"
	mustBe(t, "a second attempt", errOf(other.PutAttempt(ctx, second)), pipes.ErrConflict)
	second.Revision = revision
	mustBe(t, "a second attempt under the lock", errOf(other.PutAttempt(ctx, second)), pipes.ErrConflict)
	found, err := other.Standing(ctx, p.env, grant.ID)
	if err != nil || found.Attempt.Revision != revision || found.Attempt.Record.ID != "one" || found.Lock.Holder != (pipes.Holder{Node: "node-1", Process: "x"}) {
		t.Fatalf("standing %+v, %v", found, err)
	}

	// A lease that is gone takes the lock with it, not the attempt; the next lock has another one.
	if err := s.RevokeLocks(ctx); err != nil {
		t.Fatal(err)
	}
	hear("the end of a lock")
	second.LockAt = 0
	if revision, err = other.PutAttempt(ctx, second); err != nil {
		t.Fatalf("a successor: %v", err)
	}
	hear("a successor")
	third := step
	third.Revision, third.Attempt.ID = revision, "three"
	if found, err = s.Standing(ctx, p.env, grant.ID); err != nil || found.Lock.Holder.Node != "node-2" {
		t.Fatalf("standing %+v, %v", found, err)
	}
	third.LockAt = found.Lock.Revision
	if revision, err = s.PutAttempt(ctx, third); err != nil {
		t.Fatalf("a lock under another lease: %v", err)
	}
	if all, err := other.Attempts(ctx, p.env); err != nil || len(all) != 1 || all[0].Record.ID != "three" || all[0].Revision != revision {
		t.Errorf("attempts %+v, %v", all, err)
	}

	// A change of the grant ends the refresh, if it is where the change says.
	grant.Generation++
	put := &pipes.Put[pipes.Grant]{Record: grant, Revision: at.Revision}
	mustBe(t, "a judgement over a successor", apply(pipes.Change{Grant: put, Concludes: true, AttemptAt: revision - 1}), pipes.ErrConflict)
	if err := apply(pipes.Change{Grant: put, Concludes: true, AttemptAt: revision}); err != nil {
		t.Fatal(err)
	}
	hear("another generation")
	if found, err = s.Standing(ctx, p.env, grant.ID); err != nil || found.Attempt.Record != nil || found.Lock.Revision != 0 {
		t.Errorf("standing %+v, %v", found, err)
	}

	// What a process holds goes when it ends in order.
	leaving := p.mustStore(t)
	last := pipes.Step{Environment: p.env, Attempt: attempt, Lock: pipes.LockTaken}
	if _, err := leaving.PutAttempt(ctx, last); err != nil {
		t.Fatal(err)
	}
	leaving.Close()
	if found, err = s.Standing(ctx, p.env, grant.ID); err != nil || found.Attempt.Record == nil || found.Lock.Revision != 0 {
		t.Errorf("after an end in order: %+v, %v", found, err)
	}
}

func errOf[T any](_ T, err error) error { return err }
