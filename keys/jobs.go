package keys

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

const (
	// MaxJobs bounds the jobs of an environment that are kept: the oldest that have ended make room.
	MaxJobs = 500
	// MaxRate bounds the rate of a job that has one.
	MaxRate = 1_000_000
)

// JobRequest asks for a job.
type JobRequest struct {
	Kind  JobKind
	Scope Scope
	// All says that the scope is meant to have neither KEK nor item.
	All bool
	// OlderThan keeps KEKs whose primary is at least as old, for a rotation.
	OlderThan time.Duration
	DryRun    bool
	Rate      int
	// Confirm repeats the item of a shred, as name=value, as somebody typed it.
	Confirm string
}

// check refuses what contradicts itself.
func (r *JobRequest) check() error {
	if err := r.Scope.Item.check(); err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{r.All, r.Scope.KeyID != "", r.Scope.Item != (Item{})} {
		if is {
			given++
		}
	}
	switch {
	case !r.Kind.asked():
		return &InvalidError{Field: "kind", Rule: "must be rewrap, rewrap_root, reencrypt, rotate, shred or verify"}
	case r.Kind == ShredJob && r.Scope.Item == (Item{}):
		return &InvalidError{Field: "context_name", Rule: "and context_value are what a shred is about"}
	case r.Kind == ShredJob && !r.DryRun && r.Confirm != r.Scope.Item.Name+"="+r.Scope.Item.Value:
		return &InvalidError{Field: "confirm", Rule: "must repeat the context item as name=value"}
	case given != 1:
		return &InvalidError{Field: "key_id", Rule: "or context_name with context_value or all: exactly one of them must say what the job is about"}
	case r.Kind == VerifyJob && (!r.All || r.DryRun):
		return &InvalidError{Field: "all", Rule: "is what a verify is about, which changes nothing and has no dry run"}
	case r.OlderThan < 0 || r.OlderThan > 0 && r.Kind != RotateJob:
		return &InvalidError{Field: "older_than", Rule: "must be a positive duration, and is for rotations alone"}
	}
	return checkRate(r.Rate)
}

// checkRate refuses a rate that is neither 0, which is as fast as can be, nor one that a job can have.
func checkRate(rate int) error {
	if rate < 0 || rate > MaxRate {
		return &InvalidError{Field: "rate", Rule: "must be 1 to 1,000,000 records a second"}
	}
	return nil
}

// action is what a job of this kind needs permission for, beside that for jobs.
func (k JobKind) action() access.Action {
	switch k {
	case RotateJob:
		return access.KEKRotate
	case ReencryptJob:
		return access.Reencrypt
	case ShredJob:
		return access.KEKShred
	case VerifyJob:
		return access.RecordsVerify
	}
	return access.KEKRewrap
}

// CreateJob stores a job, which some node begins within a second or two.
//
// Errors: [*InvalidError], [ErrNoKEK], [ErrShredded], [ErrTooManyJobs]; [ErrShredding] for a shred of an item
// that another one is under way for. A repetition under one Idempotency-Key makes no second job.
func (ops *Operations) CreateJob(ctx context.Context, call access.Call, r JobRequest) (Job, error) {
	o, err := ops.begin(ctx, call, access.JobCreate)
	if err != nil {
		return Job{}, err
	}
	job, err := trail.Once(ctx, o.Operation, func(ctx context.Context) (Job, error) { return o.createJob(ctx, r) }, o.jobAgain)
	return trail.Committed(ctx, o.Operation, job, err)
}

func (o *operation) createJob(ctx context.Context, r JobRequest) (Job, error) {
	if err := r.check(); err != nil {
		return Job{}, err
	}
	if err := o.ops.guard.Gate.Everywhere(o.Permit.Actor(), r.Kind.action()); err != nil {
		return Job{}, err
	}
	if r.Scope.KeyID != "" {
		found, err := o.kek(ctx, r.Scope.KeyID)
		if err != nil {
			return Job{}, err
		}
		if err := found.Record.check(o.Environment(), r.Scope.KeyID); err != nil {
			return Job{}, err
		}
	} else if r.Scope.Item != (Item{}) {
		o.Record.KeyContext = map[string]string{r.Scope.Item.Name: r.Scope.Item.Value}
	}
	job := o.newJob(r)
	o.Record.ObjectID = string(job.ID)
	if err := o.Intend(ctx); err != nil {
		return Job{}, err
	}
	if err := makeRoom(ctx, o.ops.store, o.Environment()); err != nil {
		return Job{}, err
	}
	job.Node, job.Index = o.Intent()
	e, err := job.event(events.JobCreated, job.CreatedAt)
	if err != nil {
		return Job{}, err
	}
	o.Makes(string(job.ID))
	if job.Kind == ShredJob && !job.DryRun {
		return job, o.retry(ctx, func() error { return o.ops.store.BeginShred(ctx, job, e) })
	}
	_, err = o.ops.store.PutJob(ctx, job, 0, &e)
	return job, err
}

// jobAgain is the job that an earlier request under the same Idempotency-Key has made.
func (o *operation) jobAgain(ctx context.Context, ids []string) (Job, error) {
	o.Record.ObjectID = ids[0]
	found, err := o.ops.store.Job(ctx, o.Environment(), JobID(ids[0]))
	if err != nil {
		return Job{}, err
	}
	return *found.Job, nil
}

func (o *operation) newJob(r JobRequest) Job {
	return o.ops.keys.newJob(o.Environment(), o.actor(), r)
}

// actor is the caller, as stored.
func (o *operation) actor() JobActor {
	actor := events.ActorOf(o.Permit.Actor())
	return JobActor{ID: actor.ID, Source: actor.Source, Name: actor.Name}
}

func (k *Keys) newJob(env access.EnvironmentID, by JobActor, r JobRequest) Job {
	now := k.now().UTC()
	job := Job{
		ID: JobID(k.newID()), Environment: env, Kind: r.Kind, Scope: r.Scope, DryRun: r.DryRun, Rate: r.Rate,
		Actor: by, CreatedAt: now, State: JobQueued,
	}
	switch r.Kind {
	case RewrapRootJob:
		job.RootKey = k.roots.Current().URI()
	case RotateJob:
		job.Before = now.Add(-r.OlderThan)
	}
	return job
}

// makeRoom removes the oldest jobs that have ended, as far as there are too many.
func makeRoom(ctx context.Context, store JobStore, env access.EnvironmentID) error {
	all, err := store.Jobs(ctx, env)
	if err != nil && !errors.Is(err, ErrTampered) { // a broken one must not keep a verification from finding it
		return err
	}
	excess := len(all) - MaxJobs + 1
	for _, j := range all {
		if excess > 0 && j.Job.ended() {
			if err := store.RemoveJob(ctx, j); err != nil && !errors.Is(err, ErrConflict) {
				return err
			}
			excess--
		}
	}
	if excess > 0 {
		return ErrTooManyJobs
	}
	return nil
}

// JobPage is a page of jobs, newest first. After is the cursor of the next one.
type JobPage struct {
	Data  []Job
	After JobID
}

// JobQuery asks for a page of jobs.
type JobQuery struct {
	Limit int
	// After is the id of a job, exclusive.
	After JobID
}

// Jobs returns a page of jobs, newest first. A limit above 100 means 100.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (ops *Operations) Jobs(ctx context.Context, call access.Call, q JobQuery) (JobPage, error) {
	o, err := ops.begin(ctx, call, access.JobRead)
	if err != nil {
		return JobPage{}, err
	}
	page, err := o.jobs(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (o *operation) jobs(ctx context.Context, q JobQuery) (JobPage, error) {
	if q.Limit < 1 {
		return JobPage{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if _, err := parseUUID(string(q.After)); q.After != "" && err != nil {
		return JobPage{}, ErrUnknownCursor
	}
	all, err := o.ops.store.Jobs(ctx, o.Environment())
	if err != nil {
		return JobPage{}, err
	}
	slices.SortFunc(all, func(a, b JobAt) int { return cmp.Compare(b.Job.ID, a.Job.ID) })
	page := JobPage{Data: []Job{}}
	for _, j := range all {
		if q.After != "" && j.Job.ID >= q.After {
			continue
		}
		if len(page.Data) == min(q.Limit, maxPage) {
			page.After = page.Data[len(page.Data)-1].ID
			break
		}
		page.Data = append(page.Data, *j.Job)
	}
	return page, nil
}

// Job returns one job.
//
// Errors: [ErrNoJob].
func (ops *Operations) Job(ctx context.Context, call access.Call, id JobID) (Job, error) {
	o, err := ops.begin(ctx, call, access.JobRead)
	if err != nil {
		return Job{}, err
	}
	found, err := o.job(ctx, id)
	if err != nil {
		return trail.Answer(ctx, o.Operation, Job{}, err)
	}
	return trail.Answer(ctx, o.Operation, *found.Job, nil)
}

func (o *operation) job(ctx context.Context, id JobID) (JobAt, error) {
	found, err := o.ops.store.Job(ctx, o.Environment(), id)
	if err != nil {
		return JobAt{}, err
	}
	if found.Job.Environment != o.Environment() || found.Job.ID != id {
		return JobAt{}, ErrTampered
	}
	o.Record.ObjectID, o.Record.KeyID, o.Record.Revision = string(id), string(found.Job.Scope.KeyID), found.Revision
	return found, nil
}

// CancelJob ends a job. Its owner notices with its next save, at the latest; what was done stays done. A
// job that was cancelled already is returned as it is.
//
// Errors: [ErrNoJob], [ErrJobEnded], [ErrNotCancellable], [ErrConflict].
func (ops *Operations) CancelJob(ctx context.Context, call access.Call, id JobID) (Job, error) {
	o, err := ops.begin(ctx, call, access.JobCancel)
	if err != nil {
		return Job{}, err
	}
	var cancelled Job
	err = o.retry(ctx, func() error {
		found, err := o.job(ctx, id)
		if err != nil {
			return err
		}
		cancelled = *found.Job
		switch {
		case cancelled.State == JobCancelled:
			return nil
		case cancelled.ended():
			return ErrJobEnded
		case cancelled.Kind == ShredJob && !cancelled.DryRun:
			return ErrNotCancellable
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		cancelled.State, cancelled.EndedAt = JobCancelled, ops.keys.now().UTC()
		e, err := cancelled.event(events.JobEnded, cancelled.EndedAt)
		if err != nil {
			return err
		}
		_, err = ops.store.PutJob(ctx, cancelled, found.Revision, &e)
		return err
	})
	return trail.Committed(ctx, o.Operation, cancelled, err)
}
