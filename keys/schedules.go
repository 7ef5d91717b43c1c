package keys

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// ScheduleView is a schedule with the jobs that it began last; nil where there is none, or it was removed.
type ScheduleView struct {
	Schedule
	RotationJob, RewrapJob *Job
}

// Schedule returns the schedule of the environment's rotations.
//
// Errors: [ErrNoSchedule].
func (ops *Operations) Schedule(ctx context.Context, call access.Call) (ScheduleView, error) {
	o, err := ops.begin(ctx, call, access.ScheduleRead)
	if err != nil {
		return ScheduleView{}, err
	}
	view, err := o.schedule(ctx)
	return trail.Answer(ctx, o.Operation, view, err)
}

func (o *operation) schedule(ctx context.Context) (ScheduleView, error) {
	s, revision, err := o.ops.store.Schedule(ctx, o.Environment())
	if err != nil {
		return ScheduleView{}, err
	}
	o.Record.Revision = revision
	return o.ops.view(ctx, s)
}

// view adds the jobs.
func (ops *Operations) view(ctx context.Context, s *Schedule) (ScheduleView, error) {
	rotation, err := lastJob(ctx, ops.store, s.Environment, s.Rotation)
	if err != nil {
		return ScheduleView{}, err
	}
	rewrapping, err := lastJob(ctx, ops.store, s.Environment, s.Rewrapping)
	return ScheduleView{Schedule: *s, RotationJob: rotation, RewrapJob: rewrapping}, err
}

// lastJob is a job that a schedule began; nil if it began none, or the job was removed.
func lastJob(ctx context.Context, store JobStore, env access.EnvironmentID, id JobID) (*Job, error) {
	if id == "" {
		return nil, nil
	}
	found, err := store.Job(ctx, env, id)
	if errors.Is(err, ErrNoJob) {
		return nil, nil
	}
	return found.Job, err
}

// SetSchedule sets when KEKs are rotated without being asked for: all of the environment whose primary is at least
// as old as the request says, looked for at once and every so often from then on, by a job whose actor is the
// system. Who sets it has to be allowed what its jobs do; it stands when that permission ends.
//
// Errors: [*InvalidError], [ErrConflict].
func (ops *Operations) SetSchedule(ctx context.Context, call access.Call, r ScheduleRequest) (ScheduleView, error) {
	o, err := ops.begin(ctx, call, access.ScheduleManage)
	if err != nil {
		return ScheduleView{}, err
	}
	view, err := o.setSchedule(ctx, r)
	return trail.Committed(ctx, o.Operation, view, err)
}

func (o *operation) setSchedule(ctx context.Context, r ScheduleRequest) (ScheduleView, error) {
	if err := r.check(); err != nil {
		return ScheduleView{}, err
	}
	if err := o.mayBegin(r); err != nil {
		return ScheduleView{}, err
	}
	var view ScheduleView
	err := o.retry(ctx, func() error {
		s, revision, err := o.ops.store.Schedule(ctx, o.Environment())
		if errors.Is(err, ErrNoSchedule) {
			s, err = &Schedule{Environment: o.Environment()}, nil
		}
		if err != nil {
			return err
		}
		next := s.set(r, o.actor(), o.ops.keys.now().UTC())
		// Before the change: what is committed is not answered with the error of a look at its jobs.
		if view, err = o.ops.view(ctx, &next); err != nil {
			return err
		}
		return o.changeSchedule(ctx, &next, ScheduleChange{Schedule: &next, Revision: revision}, events.ScheduleUpdated)
	})
	return view, err
}

// mayBegin asks for the permissions of the jobs that a schedule begins.
func (o *operation) mayBegin(r ScheduleRequest) error {
	actions := []access.Action{RotateJob.action()}
	if r.Rewrap {
		actions = append(actions, RewrapJob.action())
	}
	for _, action := range actions {
		if err := o.ops.guard.Gate.Everywhere(o.Permit.Actor(), action); err != nil {
			return err
		}
	}
	return nil
}

// changeSchedule stores a change with its intent and its event, which tells of a schedule.
func (o *operation) changeSchedule(ctx context.Context, told *Schedule, c ScheduleChange, t events.Type) error {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	e, err := told.event(t, o.ops.keys.now(), o.cause())
	if err != nil {
		return err
	}
	c.Environment, c.Event = o.Environment(), e
	return o.ops.store.ChangeSchedule(ctx, c)
}

// RemoveSchedule ends the schedule. Jobs that it began go on. One that is not what was stored is removed, too:
// there is no other way back from it.
//
// Errors: [ErrNoSchedule], [ErrConflict].
func (ops *Operations) RemoveSchedule(ctx context.Context, call access.Call) error {
	o, err := ops.begin(ctx, call, access.ScheduleManage)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error {
		s, revision, err := ops.store.Schedule(ctx, o.Environment())
		if errors.Is(err, ErrTampered) {
			s, err = &Schedule{}, nil
		}
		if err != nil {
			return err
		}
		o.Record.Revision = revision
		return o.changeSchedule(ctx, s, ScheduleChange{Revision: revision}, events.ScheduleDeleted)
	})
	_, err = trail.Committed(ctx, o.Operation, struct{}{}, err)
	return err
}
