package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// mustObjects stores n objects of two versions each under a context, and returns what they hold.
func mustObjects(t testing.TB, s *vaulttest.Stack, n int, pairs ...string) map[vault.ObjectID]string {
	t.Helper()
	stored := map[vault.ObjectID]string{}
	for i := range n {
		m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
			Name: fmt.Sprint(pairs, i), Value: vaulttest.Value("first"), Context: vaulttest.MustContext(t, pairs...),
		})
		must(t, err)
		s.MustUpdate(t, m.ID, fmt.Sprint("value ", i))
		stored[m.ID] = fmt.Sprint("value ", i)
	}
	return stored
}

// mustCountStale is how many versions of objects are wrapped under an older key, and proves that all open.
func mustCountStale(t testing.TB, s *vaulttest.Stack, stored map[vault.ObjectID]string) int {
	t.Helper()
	must(t, s.Store.Fence(t.Context()))
	stale := 0
	for id, want := range stored {
		h, err := s.Store.Header(t.Context(), s.Environment.ID(), id)
		must(t, err)
		r, _, err := s.Store.KEK(t.Context(), s.Environment.ID(), h.KeyID)
		must(t, err)
		for i := range h.Versions {
			if r.Stale(h.Versions[i].WrappedDEK) {
				stale++
			}
		}
		if got := s.MustGet(t, id); !got.Value.Equal(vaulttest.Value(want)) {
			t.Errorf("%s does not open to what it was", id)
		}
	}
	return stale
}

func mustRotate(t testing.TB, s *vaulttest.Stack, id keys.ID) {
	t.Helper()
	_, err := s.Operations.RotateKEK(t.Context(), s.Call(), id)
	must(t, err)
}

// kekOf is the KEK of an object.
func kekOf(t testing.TB, s *vaulttest.Stack, stored map[vault.ObjectID]string) keys.ID {
	t.Helper()
	for id := range stored {
		h, err := s.Store.Header(t.Context(), s.Environment.ID(), id)
		must(t, err)
		return h.KeyID
	}
	t.Fatal("no objects")
	return ""
}

// A rewrap brings every version of every object in its scope under the current key, and touches nothing
// else; a dry run says the same and does nothing.
func TestRewrap(t *testing.T) {
	s := vaulttest.New(t)
	s.MustRunner(t)
	one, other := mustObjects(t, s, 12, "organization_id", "org_1", "n", "1"), mustObjects(t, s, 5, "organization_id", "org_2")
	mustRotate(t, s, kekOf(t, s, one))
	mustRotate(t, s, kekOf(t, s, other))
	scope := keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_1"}}

	dry := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, Scope: scope, DryRun: true}).ID)
	if want := (keys.Counts{Total: 17, Done: 17, Changed: 12}); dry.State != keys.JobSucceeded || dry.Counts != want {
		t.Errorf("dry run: %s %+v, want %+v", dry.State, dry.Counts, want)
	}
	if a, b := mustCountStale(t, s, one), mustCountStale(t, s, other); a != 24 || b != 10 {
		t.Errorf("after a dry run %d and %d versions are stale, want 24 and 10", a, b)
	}
	done := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, Scope: scope}).ID)
	if done.State != keys.JobSucceeded || done.Counts != dry.Counts || done.Reason != "" {
		t.Errorf("rewrap: %+v, want %+v", done, dry.Counts)
	}
	if a, b := mustCountStale(t, s, one), mustCountStale(t, s, other); a != 0 || b != 10 {
		t.Errorf("after a rewrap %d and %d versions are stale, want 0 and 10", a, b)
	}
	// Of one KEK, and once more of all: there is nothing left to do.
	s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, Scope: keys.Scope{KeyID: kekOf(t, s, other)}}).ID)
	if b := mustCountStale(t, s, other); b != 0 {
		t.Errorf("after a rewrap of one KEK %d versions are stale", b)
	}
	again := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID)
	if want := (keys.Counts{Total: 17, Done: 17}); again.Counts != want {
		t.Errorf("once more: %+v, want %+v", again.Counts, want)
	}
	// The older versions of an object are values too.
	for id := range one {
		versions, err := s.Vault.Versions(t.Context(), s.Call(), id)
		if err != nil || len(versions) != 2 {
			t.Errorf("versions of %s: %d, %v", id, len(versions), err)
		}
	}
	if told := mustEventsOf(t, s, events.JobCreated, events.JobEnded); len(told) != 8 {
		t.Errorf("%d events of four jobs, want 8", len(told))
	}
}

// A rotation by a job happens once to each KEK, whatever the number of runners, and not to young ones.
func TestRotateJob(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	for i := range 6 {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
	}
	lone := mustStoredKEK(t, s, "organization_id", "org_2")
	versions := func() (all []int) {
		page, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Limit: 100})
		must(t, err)
		for _, i := range page.Data {
			all = append(all, i.Versions)
		}
		return all
	}
	for _, r := range []*vaulttest.Stack{s, other} {
		r.MustRunner(t, impatient)
	}
	org := keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_1"}}
	for _, row := range []struct {
		request keys.JobRequest
		want    string
	}{
		{keys.JobRequest{Kind: keys.RotateJob, Scope: org, DryRun: true}, "[1 1 1 1 1 1 1]"},
		{keys.JobRequest{Kind: keys.RotateJob, Scope: org}, "[2 2 2 2 2 2 1]"},
		{keys.JobRequest{Kind: keys.RotateJob, Scope: org, OlderThan: time.Hour}, "[2 2 2 2 2 2 1]"},
		{keys.JobRequest{Kind: keys.RotateJob, Scope: keys.Scope{KeyID: lone}}, "[2 2 2 2 2 2 2]"},
		{keys.JobRequest{Kind: keys.RotateJob, All: true}, "[3 3 3 3 3 3 3]"},
	} {
		j := s.MustEndJob(t, s.MustJob(t, row.request).ID)
		if got := fmt.Sprint(versions()); j.State != keys.JobSucceeded || got != row.want {
			t.Errorf("after %+v: %s, versions %s, want %s", row.request, j.State, got, row.want)
		}
	}
	if told := mustEventsOf(t, s, events.KEKRotated); len(told) != 14 {
		t.Errorf("%d events of 14 rotations", len(told))
	}
	if told := mustEventsOf(t, s, events.JobEnded); len(told) != 5 {
		t.Errorf("%d events of the ends of five jobs", len(told))
	}
}

// dying is the store of a node that is killed: after some rewraps nothing of it gets through any more.
type dying struct {
	keys.OperationsStore
	left atomic.Int64
	dead chan struct{}
}

func (d *dying) gone() error {
	select {
	case <-d.dead:
		return &outage.Error{Dependency: outage.Etcd}
	default:
		return nil
	}
}

func (d *dying) Rewrap(ctx context.Context, env access.EnvironmentID, h keys.Holder, deks [][]byte, c []keys.Conditions) error {
	if d.left.Add(-1) == 0 {
		close(d.dead)
	}
	if err := d.gone(); err != nil {
		return err
	}
	return d.OperationsStore.Rewrap(ctx, env, h, deks, c)
}

func (d *dying) PutJob(ctx context.Context, j keys.Job, revision int64, e *events.Event) (int64, error) {
	if err := d.gone(); err != nil {
		return 0, err
	}
	return d.OperationsStore.PutJob(ctx, j, revision, e)
}

// A node that dies in the middle of a job leaves it to another one, which finishes it; what the first one
// did and could not save is found done.
func TestJobOutlivesItsNode(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	stored := mustObjects(t, s, 40, "organization_id", "org_1")
	mustRotate(t, s, kekOf(t, s, stored))
	first := &dying{OperationsStore: s.Store, dead: make(chan struct{})}
	first.left.Store(25)
	s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = first })
	job := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true})
	select {
	case <-first.dead:
	case <-time.After(time.Minute):
		t.Fatal("the first node did not get as far as to die")
	}
	if stale := mustCountStale(t, other, stored); stale == 0 {
		t.Fatal("the first node did everything: the test tries nothing")
	}
	other.MustRunner(t)
	ended := other.MustEndJob(t, job.ID)
	if ended.State != keys.JobSucceeded || ended.Counts.Done != 40 || ended.Counts.Total != 40 || ended.Counts.Changed > 40 || ended.Owner != other.Node {
		t.Errorf("the job ended as %+v", ended)
	}
	if stale := mustCountStale(t, other, stored); stale != 0 {
		t.Errorf("%d versions are still stale", stale)
	}
	if told := mustEventsOf(t, s, events.JobEnded); len(told) != 1 {
		t.Errorf("%d events of the end", len(told))
	}
}

// held is a store whose rewraps wait after some of them, until the runner is closed.
type held struct {
	keys.OperationsStore
	left  atomic.Int64
	full  chan struct{}
	close sync.Once
}

func (h *held) Rewrap(ctx context.Context, env access.EnvironmentID, r keys.Holder, deks [][]byte, c []keys.Conditions) error {
	if h.left.Add(-1) >= 0 {
		return h.OperationsStore.Rewrap(ctx, env, r, deks, c)
	}
	h.close.Do(func() { close(h.full) })
	<-ctx.Done()
	return ctx.Err()
}

// A runner that is closed lets go of its jobs, and another goes on where it stood. Two that run one job at
// once, each taking the other for dead, come to the same result.
func TestJobPassedOn(t *testing.T) {
	s := vaulttest.New(t)
	stored := mustObjects(t, s, 30, "organization_id", "org_1")
	mustRotate(t, s, kekOf(t, s, stored))
	first := &held{OperationsStore: s.Store, full: make(chan struct{})}
	first.left.Store(11)
	runner := s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = first })
	job := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true, Rate: 100})
	select {
	case <-first.full:
	case <-time.After(time.Minute):
		t.Fatal("the job does not get as far as to wait")
	}
	runner.Close()
	j, err := s.Operations.Job(t.Context(), s.Call(), job.ID)
	must(t, err)
	if j.State != keys.JobRunning || j.Owner != "" || j.Counts.Done != 11 {
		t.Fatalf("after its runner was closed: %+v", j)
	}
	for _, r := range []*vaulttest.Stack{s.Replica(t), s.Replica(t)} {
		r.MustRunner(t, impatient)
	}
	ended := s.MustEndJob(t, job.ID)
	if ended.State != keys.JobSucceeded || ended.Counts.Done != 30 || ended.Counts.Failed != 0 {
		t.Errorf("the job ended as %+v", ended)
	}
	if stale := mustCountStale(t, s, stored); stale != 0 {
		t.Errorf("%d versions are still stale", stale)
	}
	if told := mustEventsOf(t, s, events.JobEnded); len(told) != 1 {
		t.Errorf("%d events of the end", len(told))
	}
}

// impatient makes a runner take the others for dead before they have saved anything.
func impatient(c *keys.RunnerConfig) { c.Takeover, c.Save = 30*time.Millisecond, 200*time.Millisecond }

func TestCancelJob(t *testing.T) {
	s := vaulttest.New(t)
	stored := mustObjects(t, s, 20, "organization_id", "org_1")
	mustRotate(t, s, kekOf(t, s, stored))
	s.MustRunner(t)
	job := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true, Rate: 1})
	cancelled, err := s.Replica(t).Operations.CancelJob(t.Context(), s.Call(), job.ID)
	if err != nil || cancelled.State != keys.JobCancelled {
		t.Fatalf("cancelled: %+v, %v", cancelled, err)
	}
	if again, err := s.Operations.CancelJob(t.Context(), s.Call(), job.ID); err != nil || again.State != keys.JobCancelled {
		t.Errorf("cancelled again: %+v, %v", again, err)
	}
	// Nothing runs it any more: the next job comes to its end, and this one stays as it was.
	next := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID)
	if _, err := s.Operations.CancelJob(t.Context(), s.Call(), next.ID); !errors.Is(err, keys.ErrJobEnded) {
		t.Errorf("cancel of a job that has ended: %v, want %v", err, keys.ErrJobEnded)
	}
	if j := s.MustEndJob(t, job.ID); j.State != keys.JobCancelled || j.Counts.Done == 20 {
		t.Errorf("the cancelled job: %+v", j)
	}
	for _, unknown := range []keys.JobID{"", "x", "../kek", keys.JobID(s.IDs.UUID())} {
		if _, err := s.Operations.CancelJob(t.Context(), s.Call(), unknown); !errors.Is(err, keys.ErrNoJob) {
			t.Errorf("cancel %q: %v, want %v", unknown, err, keys.ErrNoJob)
		}
	}
}

func TestRefusedJobs(t *testing.T) {
	s := vaulttest.New(t)
	id := mustStoredKEK(t, s, "a", "b")
	var invalid *keys.InvalidError
	for _, r := range []keys.JobRequest{
		{}, {Kind: "nonesuch", All: true}, {Kind: keys.VerifyJob}, {Kind: keys.VerifyJob, All: true, DryRun: true}, {Kind: keys.RewrapJob}, {Kind: keys.RewrapJob, All: true, Scope: keys.Scope{KeyID: id}},
		{Kind: keys.RewrapJob, Scope: keys.Scope{KeyID: id, Item: keys.Item{Name: "a", Value: "b"}}},
		{Kind: keys.RewrapJob, Scope: keys.Scope{Item: keys.Item{Name: "a\x00"}}}, {Kind: keys.RewrapJob, Scope: keys.Scope{Item: keys.Item{Value: "b"}}},
		{Kind: keys.RewrapJob, All: true, OlderThan: time.Hour}, {Kind: keys.RotateJob, All: true, OlderThan: -1},
		{Kind: keys.RewrapJob, All: true, Rate: -1}, {Kind: keys.RewrapJob, All: true, Rate: keys.MaxRate + 1},
	} {
		if _, err := s.Operations.CreateJob(t.Context(), s.Call(), r); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an InvalidError", r, err)
		}
	}
	unknown := keys.JobRequest{Kind: keys.RewrapJob, Scope: keys.Scope{KeyID: keys.ID(s.IDs.UUID())}}
	if _, err := s.Operations.CreateJob(t.Context(), s.Call(), unknown); !errors.Is(err, keys.ErrNoKEK) {
		t.Errorf("a job for no KEK: %v, want %v", err, keys.ErrNoKEK)
	}
	good := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, Scope: keys.Scope{KeyID: id}, Rate: keys.MaxRate})
	if _, err := s.Operations.Jobs(t.Context(), s.Call(), keys.JobQuery{Limit: 1, After: "x"}); !errors.Is(err, keys.ErrUnknownCursor) {
		t.Errorf("a cursor that is none: %v", err)
	}
	second := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true})
	page, err := s.Operations.Jobs(t.Context(), s.Call(), keys.JobQuery{Limit: 1})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != second.ID || page.After != second.ID {
		t.Errorf("first page: %+v, %v", page, err)
	}
	page, err = s.Operations.Jobs(t.Context(), s.Call(), keys.JobQuery{Limit: 1, After: page.After})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != good.ID || page.After != "" {
		t.Errorf("second page: %+v, %v", page, err)
	}
}

// Jobs that ended make room for new ones; those that did not end stay.
func TestTooManyJobs(t *testing.T) {
	s := vaulttest.New(t)
	request := keys.JobRequest{Kind: keys.RewrapJob, All: true}
	first := s.MustJob(t, request)
	for range keys.MaxJobs - 1 {
		s.MustJob(t, request)
	}
	if _, err := s.Operations.CreateJob(t.Context(), s.Call(), request); !errors.Is(err, keys.ErrTooManyJobs) {
		t.Fatalf("one job too many: %v, want %v", err, keys.ErrTooManyJobs)
	}
	_, err := s.Operations.CancelJob(t.Context(), s.Call(), first.ID)
	must(t, err)
	s.MustJob(t, request)
	if _, err := s.Operations.Job(t.Context(), s.Call(), first.ID); !errors.Is(err, keys.ErrNoJob) {
		t.Errorf("the oldest job that had ended: %v, want %v", err, keys.ErrNoJob)
	}
}
