package keys_test

import (
	"errors"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/vault/vaulttest"
)

// A job that was cancelled goes on where it was, on another node than before, and does the rest.
func TestResumeJob(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	stored := mustObjects(t, s, 12, "organization_id", "org_1")
	mustRotate(t, s, kekOf(t, s, stored))
	often := func(c *keys.RunnerConfig) { c.Poll, c.Save = time.Millisecond, time.Millisecond }
	s.MustRunner(t, often)
	request := keys.JobRequest{Kind: keys.RewrapJob, All: true, Rate: 10}
	id := s.MustJob(t, request).ID
	job := func() keys.Job {
		t.Helper()
		found, err := other.Operations.Job(t.Context(), other.Call(), id)
		must(t, err)
		return found
	}
	for deadline := time.Now().Add(time.Minute); job().Counts.Done < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the job does not begin")
		}
	}
	resumed, err := s.Operations.ResumeJob(t.Context(), s.Call(), id)
	if err != nil || resumed.State != keys.JobRunning {
		t.Errorf("resumed while it runs: %+v, %v", resumed, err)
	}
	cancelled, err := s.Operations.CancelJob(t.Context(), s.Call(), id)
	must(t, err)
	if cancelled.Cursor == "" || cancelled.Counts.Done >= cancelled.Counts.Total {
		t.Fatalf("cancelled as %+v", cancelled)
	}
	if resumed, err = other.Operations.ResumeJob(t.Context(), other.Call(), id); err != nil || resumed.State != keys.JobQueued || !resumed.EndedAt.IsZero() ||
		resumed.Cursor != cancelled.Cursor || resumed.Counts != cancelled.Counts {
		t.Errorf("resumed: %+v, %v; want what was cancelled, %+v", resumed, err, cancelled)
	}
	other.MustRunner(t, often)
	ended := s.MustEndJob(t, id)
	if ended.State != keys.JobSucceeded || ended.Counts.Done != 12 || ended.Counts.Total != 12 || ended.Counts.Failed != 0 || !ended.StartedAt.Equal(cancelled.StartedAt) {
		t.Errorf("the job ended as %+v", ended)
	}
	if n := mustCountStale(t, s, stored); n != 0 {
		t.Errorf("%d versions are stale", n)
	}
	for kind, want := range map[events.Type]int{events.JobCreated: 1, events.JobResumed: 1, events.JobEnded: 2} {
		if told := mustEventsOf(t, s, kind); len(told) != want {
			t.Errorf("%d events %s, want %d", len(told), kind, want)
		}
	}
	if _, err := s.Operations.ResumeJob(t.Context(), s.Call(), id); !errors.Is(err, keys.ErrNotCancelled) {
		t.Errorf("resumed after its end: %v, want %v", err, keys.ErrNotCancelled)
	}
	attach := keys.Job{ID: keys.JobID(s.IDs.UUID()), Environment: s.Environment.ID(), Kind: keys.AttachJob, State: keys.JobCancelled, EndedAt: time.Now().UTC()}
	_, err = s.Store.PutJob(t.Context(), attach, 0, nil)
	must(t, err)
	if _, err := s.Operations.ResumeJob(t.Context(), s.Call(), attach.ID); !errors.Is(err, keys.ErrNotCancelled) {
		t.Errorf("resumed what attaches a CMK: %v, want %v", err, keys.ErrNotCancelled)
	}
	if _, err := s.Operations.ResumeJob(t.Context(), s.Call(), keys.JobID(s.IDs.UUID())); !errors.Is(err, keys.ErrNoJob) {
		t.Errorf("resumed what is not there: %v, want %v", err, keys.ErrNoJob)
	}
}

// A move that was cancelled goes on only while the root key that it moves to is the current one.
func TestResumeMoveToAnOldRootKey(t *testing.T) {
	s, next := vaulttest.New(t), keystest.NewRoot(t)
	mustStoredKEK(t, s, "a", "b")
	moved := with(t, s, next, s.Root)
	id := moved.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true}).ID
	_, err := moved.Operations.CancelJob(t.Context(), moved.Call(), id)
	must(t, err)
	back := with(t, s, s.Root, next)
	var invalid *keys.InvalidError
	if _, err := back.Operations.ResumeJob(t.Context(), back.Call(), id); !errors.As(err, &invalid) {
		t.Errorf("where another root key is the current one: %v, want an InvalidError", err)
	}
	resumed, err := moved.Operations.ResumeJob(t.Context(), moved.Call(), id)
	if err != nil || resumed.State != keys.JobQueued {
		t.Errorf("where it is the current one: %+v, %v", resumed, err)
	}
}
