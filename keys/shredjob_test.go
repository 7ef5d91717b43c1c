package keys_test

import (
	"context"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// countingShred is a store that gets no further than to count.
type countingShred struct {
	keys.OperationsStore
	counted chan struct{}
}

func (c *countingShred) KEKs(ctx context.Context, _ access.EnvironmentID, _ keys.Item, _ keys.ID, _ int) ([]keys.KEKAt, error) {
	close(c.counted)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A shred that is passed on before its first step counts what there is once.
func TestShredPassedOn(t *testing.T) {
	s := vaulttest.New(t)
	mustObjects(t, s, 3, "organization_id", "org_1")
	first := &countingShred{s.Store, make(chan struct{})}
	runner := s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = first })
	job := s.MustJob(t, shredOf("org_1"))
	select {
	case <-first.counted:
	case <-time.After(time.Minute):
		t.Fatal("the shred does not begin")
	}
	runner.Close()
	s.Replica(t).MustRunner(t)
	if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded || ended.Counts.Done != 4 || ended.Counts.Total != 4 {
		t.Errorf("the job ended as %+v", ended)
	}
}

// waitingShred is a store in which no KEK is destroyed: a shred that has begun does not get further.
type waitingShred struct{ keys.OperationsStore }

func (waitingShred) Shred(context.Context, keys.KEKRecord, int64, events.Event) error {
	return &outage.Error{Dependency: outage.Etcd}
}

// A rewrap beside a shred leaves alone what is about to be destroyed, and is none the less complete.
func TestRewrapBesideAShred(t *testing.T) {
	s := vaulttest.New(t)
	doomed, others := mustObjects(t, s, 3, "organization_id", "org_1"), mustObjects(t, s, 4, "organization_id", "org_2")
	mustRotate(t, s, kekOf(t, s, doomed))
	mustRotate(t, s, kekOf(t, s, others))
	s.MustJob(t, shredOf("org_1"))
	s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = waitingShred{s.Store} })
	ended := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID)
	if want := (keys.Counts{Total: 7, Done: 7, Changed: 4}); ended.State != keys.JobSucceeded || ended.Counts != want {
		t.Errorf("the rewrap ended as %s %+v, want %+v", ended.State, ended.Counts, want)
	}
	if stale := mustCountStale(t, s, others); stale != 0 {
		t.Errorf("%d versions of another item are stale", stale)
	}
}
