package vaulttest

import (
	"log/slog"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// MustRunner begins to run jobs, which it looks for much more often than a server would. It is closed after
// the test, at the latest.
func (s *Stack) MustRunner(t testing.TB, changes ...func(*keys.RunnerConfig)) *keys.Runner {
	t.Helper()
	c := keys.RunnerConfig{
		Keys: s.Keys, Store: s.Store, Audit: s.Audit, Logger: slog.New(slog.DiscardHandler), Node: s.Node,
		Poll: 10 * time.Millisecond, Save: 20 * time.Millisecond, Takeover: time.Second,
	}
	for _, change := range changes {
		change(&c)
	}
	r, err := keys.NewRunner(c)
	must(t, "runner", err)
	t.Cleanup(r.Close)
	return r
}

// MustEndJob waits until a job has ended.
func (s *Stack) MustEndJob(t testing.TB, job keys.JobID) keys.Job {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		j, err := s.Operations.Job(t.Context(), s.Call(), job)
		must(t, "job", err)
		if !j.EndedAt.IsZero() {
			return j
		}
	}
	t.Fatalf("job %s does not end", job)
	return keys.Job{}
}

// MustJob makes a job.
func (s *Stack) MustJob(t testing.TB, r keys.JobRequest) keys.Job {
	t.Helper()
	j, err := s.Operations.CreateJob(t.Context(), s.Call(), r)
	must(t, "create a job", err)
	return j
}

// MustPermit is the administrator's permit, completed for a key context.
func (s *Stack) MustPermit(t testing.TB, c keys.Context) access.Permit {
	t.Helper()
	p, err := s.Gate.Authorize(s.admin, access.DataRead)
	must(t, "permit", err)
	p, err = p.Complete(access.Resource{Context: c.Canonical(), Items: c.Items()})
	must(t, "permit", err)
	return p
}
