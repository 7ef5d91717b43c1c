package keys

import (
	"cmp"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
)

// Bounds of a schedule. A KEK has [MaxVersions] keys for its whole life: at most one a day, they last years.
const (
	MinScheduleAge, MaxScheduleAge     = 24 * time.Hour, 10 * 365 * 24 * time.Hour
	MinScheduleEvery, MaxScheduleEvery = time.Minute, 365 * 24 * time.Hour
	defaultScheduleEvery               = 24 * time.Hour
)

// Schedule is when the KEKs of an environment are rotated without somebody who asks, as stored. The store adds
// a MAC. It carries what it began last: a node begins a job by a compare-and-swap of the schedule in the
// transaction that stores the job, so any number of nodes begin one.
type Schedule struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	// OlderThan keeps KEKs whose primary is at least as old; Every is how often they are looked for.
	OlderThan time.Duration `cbor:"2,keyasint"`
	Every     time.Duration `cbor:"3,keyasint"`
	// Rewrap brings DEKs under the new versions afterwards. Rate is that of the jobs.
	Rewrap bool `cbor:"4,keyasint,omitempty"`
	Rate   int  `cbor:"5,keyasint,omitempty"`
	// Actor set it, at UpdatedAt.
	Actor     JobActor  `cbor:"6,keyasint"`
	UpdatedAt time.Time `cbor:"7,keyasint"`
	// NextAt is when a rotation is due. LastAt is when the last one was begun, zero before the first.
	NextAt time.Time `cbor:"8,keyasint"`
	LastAt time.Time `cbor:"9,keyasint,omitzero"`
	// Rotation and Rewrapping are the jobs that were begun last.
	Rotation   JobID `cbor:"10,keyasint,omitempty"`
	Rewrapping JobID `cbor:"11,keyasint,omitempty"`
	// Owed says that the rewrap that follows Rotation was not begun.
	Owed bool `cbor:"12,keyasint,omitempty"`
}

// ScheduleRequest asks for a schedule, in place of the one there may be.
type ScheduleRequest struct {
	OlderThan time.Duration
	// Every defaults to a day.
	Every  time.Duration
	Rewrap bool
	// Rate is that of the jobs; 0 is as many as they can.
	Rate int
}

func (r *ScheduleRequest) check() error {
	switch r.Every = cmp.Or(r.Every, defaultScheduleEvery); {
	case r.OlderThan < MinScheduleAge || r.OlderThan > MaxScheduleAge:
		return &InvalidError{Field: "older_than", Rule: "must be 24h to 87600h: a KEK can be rotated a thousand times in all"}
	case r.Every < MinScheduleEvery || r.Every > MaxScheduleEvery:
		return &InvalidError{Field: "every", Rule: "must be 1m to 8760h"}
	}
	return checkRate(r.Rate)
}

// set is the schedule with what was asked for. What it did last stays known, and the time of the next rotation
// follows from it: who sets the same every hour, as tools do, rotates no more often.
func (s Schedule) set(r ScheduleRequest, by JobActor, at time.Time) Schedule {
	s.OlderThan, s.Every, s.Rewrap, s.Rate, s.Actor, s.UpdatedAt = r.OlderThan, r.Every, r.Rewrap, r.Rate, by, at
	s.Owed = s.Owed && r.Rewrap
	s.NextAt = at
	if !s.LastAt.IsZero() {
		s.NextAt = s.LastAt.Add(s.Every)
	}
	return s
}

// due is the kind of job to begin now; empty if none is. The jobs are those that the schedule began last, nil for
// one that was removed, as only those are that have ended. While one of them goes on nothing is due.
func (s *Schedule) due(now time.Time, rotation, rewrapping *Job) JobKind {
	switch {
	case rotation != nil && !rotation.ended(), rewrapping != nil && !rewrapping.ended():
		return ""
	case s.Owed && (rotation == nil || rotation.leftStale()):
		return RewrapJob
	case !now.Before(s.NextAt):
		return RotateJob
	}
	return ""
}

// leftStale reports that DEKs may be under an older version than they were before this rotation. What a node did
// in its last moment is not in the counts; and who cancels a rotation wants nothing to follow it.
func (j *Job) leftStale() bool {
	return j.State != JobCancelled && (j.Counts.Changed > 0 || j.Restarted)
}

// begun is the schedule once it has begun a job. However many times were missed, the next one is to come, in step
// with those before.
func (s Schedule) begun(job *Job) Schedule {
	if job.Kind == RewrapJob {
		s.Rewrapping, s.Owed = job.ID, false
		return s
	}
	missed := job.CreatedAt.Sub(s.NextAt) / s.Every
	s.NextAt = s.NextAt.Add((missed + 1) * s.Every)
	s.Rotation, s.LastAt, s.Owed = job.ID, job.CreatedAt, s.Rewrap
	return s
}

// request is what a schedule asks of its job.
func (s *Schedule) request(kind JobKind) JobRequest {
	r := JobRequest{Kind: kind, All: true, Rate: s.Rate}
	if kind == RotateJob {
		r.OlderThan = s.OlderThan
	}
	return r
}

// ScheduleChange is what one transaction stores: a schedule, with the job that it begins.
type ScheduleChange struct {
	Environment access.EnvironmentID
	// Schedule takes the place of the one at Revision (0: there must be none); nil removes that.
	Schedule *Schedule
	Revision int64
	// Job is new; nil if none begins.
	Job   *Job
	Event events.Event
}

// scheduleChanged is the data object of a schedule's events.
type scheduleChanged struct {
	events.Actor
	OlderThan string `json:"older_than"`
	Every     string `json:"every"`
	Rewrap    bool   `json:"rewrap"`
}

func (s *Schedule) event(t events.Type, at time.Time, meta SealMeta) (events.Event, error) {
	return newEvent(t, scheduleChanged{meta.Actor, s.OlderThan.String(), s.Every.String(), s.Rewrap}, at, meta)
}

// ErrNoSchedule means that the environment has no schedule.
var ErrNoSchedule = errors.New("keys: no rotation schedule")
