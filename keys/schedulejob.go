package keys

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
)

// scheduleRetry is how long a node waits with a schedule that it could not follow: every try leaves a line in
// the log, and may leave an audit record.
const scheduleRetry = time.Minute

// scheduler is the actor of what a schedule begins.
func scheduler() JobActor { return JobActor{ID: "system", Source: "system", Name: "rotation schedule"} }

// follow begins what the schedule of an environment says is due.
func (r *Runner) follow(ctx context.Context, env access.EnvironmentID) {
	if last, ok := r.stuck[env]; ok && time.Since(last) < scheduleRetry {
		return
	}
	delete(r.stuck, env)
	err := r.beginDue(ctx, env)
	if err == nil || errors.Is(err, ErrConflict) || ctx.Err() != nil {
		return // of a conflict the next look tells: another node has begun it
	}
	r.stuck[env] = time.Now()
	r.log.LogAttrs(ctx, slog.LevelWarn, "rotation schedule is not followed here for now", slog.String("environment", string(env)), slog.Any("error", err))
}

func (r *Runner) beginDue(ctx context.Context, env access.EnvironmentID) error {
	if c, err := r.due(ctx, env); err != nil || c == nil {
		return err
	}
	// Memory shows a schedule and its job one after the other: what has just begun could look as if it were over.
	if err := r.store.Fence(ctx); err != nil {
		return err
	}
	c, err := r.due(ctx, env)
	if err != nil || c == nil {
		return err
	}
	if err := makeRoom(ctx, r.store, env); err != nil {
		return err
	}
	return r.begin(ctx, *c)
}

// due is the change that begins what is due; nil if nothing is.
func (r *Runner) due(ctx context.Context, env access.EnvironmentID) (*ScheduleChange, error) {
	s, revision, err := r.store.Schedule(ctx, env)
	if errors.Is(err, ErrNoSchedule) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rotation, err := lastJob(ctx, r.store, env, s.Rotation)
	if err != nil {
		return nil, err
	}
	rewrapping, err := lastJob(ctx, r.store, env, s.Rewrapping)
	if err != nil {
		return nil, err
	}
	kind := s.due(r.keys.now(), rotation, rewrapping)
	if kind == "" {
		return nil, nil
	}
	job := r.keys.newJob(env, scheduler(), s.request(kind))
	next := s.begun(&job)
	return &ScheduleChange{Environment: env, Schedule: &next, Revision: revision, Job: &job}, nil
}

// begin stores a job with the schedule that has begun it, unless another node did. Without its audit record
// nothing begins.
func (r *Runner) begin(ctx context.Context, c ScheduleChange) error {
	actor := c.Job.Actor
	index, err := r.audit.Append(ctx, audit.Record{
		EnvironmentID: c.Environment, ActorID: actor.ID, ActorName: actor.Name, ActorSource: actor.Source,
		Action: access.JobCreate, Phase: audit.Internal, Result: audit.Allowed, ObjectID: string(c.Job.ID), Revision: c.Revision,
	})
	if err != nil {
		return err
	}
	c.Job.Node, c.Job.Index = r.audit.Node(), index
	if c.Event, err = c.Job.event(events.JobCreated, c.Job.CreatedAt); err != nil {
		return err
	}
	if err := r.store.ChangeSchedule(ctx, c); err != nil {
		return err
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "rotation schedule began a job", slog.String("job", string(c.Job.ID)), slog.String("kind", string(c.Job.Kind)))
	return nil
}
