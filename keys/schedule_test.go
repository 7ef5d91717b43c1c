package keys_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

const (
	day     = 24 * time.Hour
	quarter = 90 * day
)

func mustSchedule(t testing.TB, s *vaulttest.Stack, r keys.ScheduleRequest) keys.ScheduleView {
	t.Helper()
	view, err := s.Operations.SetSchedule(t.Context(), s.Call(), r)
	must(t, err)
	return view
}

// mustFollowed waits until a schedule has begun another rotation than one from before, and that and the rewrap
// which may follow it have ended.
func mustFollowed(t testing.TB, s *vaulttest.Stack, before keys.ScheduleView) keys.ScheduleView {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		v, err := s.Operations.Schedule(t.Context(), s.Call())
		must(t, err)
		ended := func(j *keys.Job) bool { return j != nil && !j.EndedAt.IsZero() }
		rewraps := v.RewrapJob != nil && (before.RewrapJob == nil || v.RewrapJob.ID != before.RewrapJob.ID)
		if v.Rotation != before.Rotation && ended(v.RotationJob) && (v.RotationJob.Counts.Changed == 0 || rewraps && ended(v.RewrapJob)) {
			return v
		}
	}
	t.Fatal("the schedule is not followed")
	return keys.ScheduleView{}
}

// meeting is a store whose schedule is changed for a job only once the runners of two nodes want to: both have
// seen the same one then.
type meeting struct {
	keys.OperationsStore
	at chan struct{}
}

func (m meeting) ChangeSchedule(ctx context.Context, c keys.ScheduleChange) error {
	select {
	case m.at <- struct{}{}:
	case <-m.at:
	case <-ctx.Done():
		return ctx.Err()
	}
	return m.OperationsStore.ChangeSchedule(ctx, c)
}

// A schedule is followed by one job each time, whatever the number of nodes and of times that were missed; a
// rewrap follows a rotation that has changed something.
func TestScheduleIsFollowed(t *testing.T) {
	clock := newHandClock()
	s := vaulttest.WithConfig(t, vaulttest.Config{Now: clock.Now})
	other := s.Replica(t)
	stored := mustObjects(t, s, 3, "organization_id", "org_1")
	set := mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter, Rewrap: true})
	at := make(chan struct{})
	for _, r := range []*vaulttest.Stack{s, other} {
		r.MustRunner(t, func(c *keys.RunnerConfig) {
			// However slow a node is, no other takes its job: what was taken over has a rewrap, changed or not.
			c.Store, c.Takeover = meeting{r.Store, at}, time.Hour
		})
	}

	young := mustFollowed(t, s, set)
	if young.RotationJob.Counts != (keys.Counts{Total: 1, Done: 1}) || young.RewrapJob != nil || !young.NextAt.Equal(young.LastAt.Add(day)) {
		t.Errorf("of a young KEK: %+v, rotation %+v, rewrap %+v", young.Schedule, young.RotationJob, young.RewrapJob)
	}
	clock.advance(quarter + time.Hour)
	old := mustFollowed(t, s, young)
	if old.RotationJob.Counts != (keys.Counts{Total: 1, Done: 1, Changed: 1}) || old.RewrapJob == nil {
		t.Fatalf("of an old KEK: rotation %+v, rewrap %+v", old.RotationJob, old.RewrapJob)
	}
	if until := old.NextAt.Sub(clock.Now()); until <= 0 || until > day || old.NextAt.Sub(young.NextAt)%day != 0 {
		t.Errorf("due at %s, now %s: want the next in step with %s", old.NextAt, clock.Now(), young.NextAt)
	}
	if stale := mustCountStale(t, s, stored); stale != 0 || old.RewrapJob.Counts.Changed == 0 {
		t.Errorf("%d stale after %+v", stale, old.RewrapJob)
	}
	clock.advance(day)
	mustFollowed(t, s, old)

	kinds := map[keys.JobKind]int{}
	page, err := s.Operations.Jobs(t.Context(), s.Call(), keys.JobQuery{Limit: 100})
	must(t, err)
	for _, j := range page.Data {
		kinds[j.Kind]++
	}
	if diff := cmp.Diff(map[keys.JobKind]int{keys.RotateJob: 3, keys.RewrapJob: 1}, kinds); diff != "" {
		t.Errorf("jobs of three times on two nodes (-want +got):\n%s", diff)
	}
	mustBeTraced(t, []*vaulttest.Stack{s, other}, *old.RotationJob)
}

// mustBeTraced: a job of a schedule has the system for its actor, and its events name the audit record of its
// beginning.
func mustBeTraced(t *testing.T, nodes []*vaulttest.Stack, job keys.Job) {
	t.Helper()
	if job.Actor.ID != "system" || job.Actor.Source != "system" || job.Scope != (keys.Scope{}) {
		t.Errorf("the job: %+v", job)
	}
	for _, s := range nodes {
		for _, r := range s.MustAuditRecords(t) {
			if s.Node == job.Node && r.Index == job.Index && r.Phase == audit.Internal && r.Action == access.JobCreate &&
				r.ObjectID == string(job.ID) && r.ActorID == "system" && r.EnvironmentID == job.Environment {
				return
			}
		}
	}
	t.Errorf("no audit record %d of %s tells of job %s", job.Index, job.Node, job.ID)
}

// What is due follows from the schedule, the time, and what the last jobs have come to.
func TestScheduleDue(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	job := func(state keys.JobState, changed uint64) *keys.Job {
		return &keys.Job{State: state, Counts: keys.Counts{Changed: changed}}
	}
	restarted := job(keys.JobSucceeded, 0)
	restarted.Restarted = true
	waits := keys.Schedule{Every: day, NextAt: start.Add(day), LastAt: start}
	owes := waits
	owes.Owed = true
	for what, row := range map[string]struct {
		s                    keys.Schedule
		after                time.Duration
		rotation, rewrapping *keys.Job
		want                 keys.JobKind
	}{
		"not yet":                               {waits, day - 1, nil, nil, ""},
		"on time":                               {waits, day, job(keys.JobSucceeded, 1), nil, keys.RotateJob},
		"late":                                  {waits, 99 * day, nil, nil, keys.RotateJob},
		"the last one runs":                     {waits, 99 * day, job(keys.JobRunning, 1), nil, ""},
		"the last one waits":                    {waits, 99 * day, job(keys.JobQueued, 0), nil, ""},
		"its rewrap runs":                       {waits, 99 * day, job(keys.JobSucceeded, 1), job(keys.JobRunning, 1), ""},
		"its rewrap has ended":                  {waits, day, job(keys.JobSucceeded, 1), job(keys.JobFailed, 1), keys.RotateJob},
		"a rewrap, while the rotation runs":     {owes, 1, job(keys.JobRunning, 1), nil, ""},
		"a rewrap, of what was rotated":         {owes, 1, job(keys.JobSucceeded, 1), nil, keys.RewrapJob},
		"a rewrap, before the next rotation":    {owes, day, job(keys.JobFailed, 1), nil, keys.RewrapJob},
		"a rewrap, of nothing":                  {owes, 1, job(keys.JobSucceeded, 0), nil, ""},
		"the next rotation after such a rewrap": {owes, day, job(keys.JobSucceeded, 0), nil, keys.RotateJob},
		"a rewrap, of more than was counted":    {owes, 1, restarted, nil, keys.RewrapJob},
		"a rewrap, of what was cancelled":       {owes, 1, job(keys.JobCancelled, 1), nil, ""},
		"a rewrap, of a job that is gone":       {owes, 1, nil, nil, keys.RewrapJob},
	} {
		if got := row.s.Due(start.Add(row.after), row.rotation, row.rewrapping); got != row.want {
			t.Errorf("%s: %q, want %q", what, got, row.want)
		}
	}
}

// Setting a schedule again moves its next time no further than its own period says.
func TestScheduleIsReplaced(t *testing.T) {
	clock := newHandClock()
	s := vaulttest.WithConfig(t, vaulttest.Config{Now: clock.Now})
	set := mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter})
	if set.Every != day || !set.NextAt.Equal(set.UpdatedAt) || !set.LastAt.IsZero() {
		t.Errorf("a new schedule: %+v", set.Schedule)
	}
	runner := s.MustRunner(t)
	first := mustFollowed(t, s, set)
	runner.Close()
	clock.advance(time.Hour)
	again := mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter, Every: 7 * day})
	if again.Rotation != first.Rotation || !again.NextAt.Equal(first.LastAt.Add(7*day)) {
		t.Errorf("again: %+v, after %+v", again.Schedule, first.Schedule)
	}
	must(t, s.Operations.RemoveSchedule(t.Context(), s.Call()))
	if _, err := s.Operations.Schedule(t.Context(), s.Call()); !errors.Is(err, keys.ErrNoSchedule) {
		t.Errorf("a schedule that was removed: %v", err)
	}
	if err := s.Operations.RemoveSchedule(t.Context(), s.Call()); !errors.Is(err, keys.ErrNoSchedule) {
		t.Errorf("removed once more: %v", err)
	}
	for kind, want := range map[events.Type]int{events.ScheduleUpdated: 2, events.ScheduleDeleted: 1} {
		if told := mustEventsOf(t, s, kind); len(told) != want || told[0].Node != s.Node {
			t.Errorf("%d events %s, want %d of this node", len(told), kind, want)
		}
	}
}

// forged is a store whose schedule is not what was stored.
type forged struct{ keys.OperationsStore }

func (f forged) Schedule(ctx context.Context, env access.EnvironmentID) (*keys.Schedule, int64, error) {
	_, revision, err := f.OperationsStore.Schedule(ctx, env)
	return nil, revision, errors.Join(err, keys.ErrTampered)
}

// A schedule that somebody has forged is neither shown nor taken for what the next one follows from; it can be
// removed.
func TestForgedSchedule(t *testing.T) {
	s := vaulttest.New(t)
	mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter})
	ops, err := keys.NewOperations(keys.OperationsConfig{Keys: s.Keys, Store: forged{s.Store}, Gate: s.Gate, Audit: s.Audit})
	must(t, err)
	if _, err := ops.Schedule(t.Context(), s.Call()); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("shown: %v", err)
	}
	if _, err := ops.SetSchedule(t.Context(), s.Call(), keys.ScheduleRequest{OlderThan: quarter}); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("set: %v", err)
	}
	must(t, ops.RemoveSchedule(t.Context(), s.Call()))
	mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter})
}

// jobless is a store that has jobs which nobody can read.
type jobless struct{ keys.OperationsStore }

func (jobless) Job(context.Context, access.EnvironmentID, keys.JobID) (keys.JobAt, error) {
	return keys.JobAt{}, keys.ErrTampered
}

// A schedule whose jobs cannot be shown is not set, rather than set with an error for an answer.
func TestScheduleIsNotSetWithAnError(t *testing.T) {
	s := vaulttest.New(t)
	set := mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter})
	runner := s.MustRunner(t)
	first := mustFollowed(t, s, set)
	runner.Close()
	ops, err := keys.NewOperations(keys.OperationsConfig{Keys: s.Keys, Store: jobless{s.Store}, Gate: s.Gate, Audit: s.Audit})
	must(t, err)
	r := keys.ScheduleRequest{OlderThan: 2 * quarter}
	if _, err := ops.SetSchedule(t.Context(), s.Call(), r); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("set: %v", err)
	}
	if now, err := s.Operations.Schedule(t.Context(), s.Call()); err != nil || now.OlderThan != first.OlderThan {
		t.Errorf("after the error: older than %v, %v", now.OlderThan, err)
	}
	if again := mustSchedule(t, s, r); again.OlderThan != r.OlderThan || again.RotationJob == nil {
		t.Errorf("with jobs: %+v", again)
	}
}

func TestVectorOfSchedule(t *testing.T) {
	var v struct {
		Record hexBytes `json:"record"`
	}
	mustReadJSON(t, "schedule.json", &v)
	in, codec := goldenInput(t), mustCodec(t)
	want := keys.Schedule{
		Environment: in.Environment, OlderThan: quarter, Every: day, Rewrap: true, Rate: 500, Actor: keys.JobActor{ID: "key_01JQ", Source: "api", Name: "bäck end"},
		UpdatedAt: in.At, NextAt: in.At.Add(day), LastAt: in.At.Add(time.Second), Rotation: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a64",
		Rewrapping: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a65", Owed: true,
	}
	if again, err := codec.Encode(&want); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("a schedule is encoded in another way now: %v, %x", err, again)
	}
	var got keys.Schedule
	must(t, codec.Decode(v.Record, &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a schedule does not come back (-want +got):\n%s", diff)
	}
}
