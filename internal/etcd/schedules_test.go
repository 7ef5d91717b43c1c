package etcd_test

import (
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
)

// testSchedules: a schedule is at one revision at a time, and begins a job in one transaction or not at all.
func testSchedules(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	_, _, err := s.Schedule(ctx, p.env)
	mustBe(t, "no schedule", err, keys.ErrNoSchedule)
	first := keys.Schedule{Environment: p.env, OlderThan: 48 * time.Hour, Every: time.Hour, NextAt: p.ids.Now().UTC()}
	set := keys.ScheduleChange{Environment: p.env, Schedule: &first, Event: p.event(events.ScheduleUpdated, "set")}
	if err := s.ChangeSchedule(ctx, set); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "the same change again", other.ChangeSchedule(ctx, set), keys.ErrConflict)
	mustFence(t, other)
	got, revision, err := other.Schedule(ctx, p.env)
	if err != nil || *got != first {
		t.Fatalf("the schedule: %+v, %v", got, err)
	}

	job, late := p.newJob(keys.RotateJob, keys.Scope{}), p.newJob(keys.RotateJob, keys.Scope{})
	next := first
	next.Rotation = job.ID
	begin := keys.ScheduleChange{Environment: p.env, Schedule: &next, Revision: revision, Job: &job, Event: p.event(events.JobCreated, "begun")}
	if err := other.ChangeSchedule(ctx, begin); err != nil {
		t.Fatal(err)
	}
	// Both nodes saw the schedule that is due: the second one begins nothing.
	begin.Job = &late
	mustBe(t, "a second beginning", s.ChangeSchedule(ctx, begin), keys.ErrConflict)
	mustFence(t, s)
	if found, err := s.Job(ctx, p.env, job.ID); err != nil || found.Job.Kind != keys.RotateJob {
		t.Errorf("the job that was begun: %+v, %v", found.Job, err)
	}
	_, err = s.Job(ctx, p.env, late.ID)
	mustBe(t, "the job that was not", err, keys.ErrNoJob)
	got, revision, err = s.Schedule(ctx, p.env)
	if err != nil || *got != next {
		t.Fatalf("the schedule that has begun a job: %+v, %v", got, err)
	}
	begin.Revision = revision
	begin.Job = &job
	mustBe(t, "a job that is there", s.ChangeSchedule(ctx, begin), keys.ErrConflict)

	// One that is not what was stored is told with its revision, so that it can be removed.
	p.rawPut(t, etcd.KeySchedule(p.env), append(p.rawGet(t, etcd.KeySchedule(p.env)), 0))
	mustFence(t, s)
	_, revision, err = s.Schedule(ctx, p.env)
	mustBe(t, "a forged schedule", err, keys.ErrTampered)
	if err := s.ChangeSchedule(ctx, keys.ScheduleChange{Environment: p.env, Revision: revision, Event: p.event(events.ScheduleDeleted, "removed")}); err != nil {
		t.Fatal(err)
	}
	mustFence(t, other)
	_, _, err = other.Schedule(ctx, p.env)
	mustBe(t, "a schedule that was removed", err, keys.ErrNoSchedule)
}
