package keys

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// ErrNotCancelled means that a job has ended for good: what it left, another job does.
var ErrNotCancelled = errors.New("keys: job was not cancelled")

// ResumeJob lets a job that was cancelled go on where it was. What was done after its last save is looked at
// again, which changes nothing. A job that waits or runs is returned as it is. One that attaches or detaches a
// CMK does not go on: another may have taken its place in the map of CMKs. Nor does one that moves KEKs to a root key
// which is not the current one by now: it would bring them back under a key that somebody has moved them away from.
//
// Errors: [ErrNoJob], [ErrNotCancelled], [*InvalidError], [ErrConflict].
func (ops *Operations) ResumeJob(ctx context.Context, call access.Call, id JobID) (Job, error) {
	o, err := ops.begin(ctx, call, access.JobCreate)
	if err != nil {
		return Job{}, err
	}
	var resumed Job
	err = o.retry(ctx, func() error {
		found, err := o.job(ctx, id)
		if err != nil {
			return err
		}
		resumed = *found.Job
		if err := ops.guard.Gate.Everywhere(o.Permit.Actor(), resumed.Kind.action()); err != nil {
			return err
		}
		switch {
		case !resumed.ended():
			return nil
		case resumed.State != JobCancelled || !resumed.Kind.asked():
			return ErrNotCancelled
		case resumed.Kind == RewrapRootJob && resumed.RootKey != ops.keys.roots.Current().URI():
			return &InvalidError{Field: "id", Rule: "must not be that of a job which moves KEKs to a root key that is not the current one any more"}
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		resumed.State, resumed.EndedAt, resumed.Owner = JobQueued, time.Time{}, ""
		resumed.Beat++
		e, err := resumed.event(events.JobResumed, ops.keys.now().UTC())
		if err != nil {
			return err
		}
		_, err = ops.store.PutJob(ctx, resumed, found.Revision, &e)
		return err
	})
	return trail.Committed(ctx, o.Operation, resumed, err)
}
