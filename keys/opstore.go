package keys

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// OperationsStore keeps what [Operations] and their jobs work on. internal/etcd implements it; it sees only
// sealed bytes. What stands at [Store] holds here too.
type OperationsStore interface {
	Fence(ctx context.Context) error
	// KEK is as of [Store].
	KEK(ctx context.Context, env access.EnvironmentID, id ID) (*KEKRecord, int64, error)
	// KEKs are up to limit records with ids behind after, tombstones included, in order of their ids. With
	// an item they are those whose context has it.
	KEKs(ctx context.Context, env access.EnvironmentID, item Item, after ID, limit int) ([]KEKAt, error)
	CountKEKs(ctx context.Context, env access.EnvironmentID, item Item) (uint64, error)
	// ReplaceKEK stores a record in place of the one of that generation, with its event. [ErrConflict].
	ReplaceKEK(ctx context.Context, r KEKRecord, generation int64, e events.Event) error

	// EnvironmentRecord is the record of an environment's own keysets, with its revision.
	EnvironmentRecord(ctx context.Context, env access.EnvironmentID) (*EnvironmentRecord, int64, error)
	// ReplaceEnvironment stores it in place of the one of that revision. [ErrConflict] if it was not there, or if
	// it is not certain whether it was stored, and can not be any more.
	ReplaceEnvironment(ctx context.Context, r EnvironmentRecord, revision int64) error

	// Shredding is as of [Store].
	Shredding(ctx context.Context, env access.EnvironmentID, items map[string]string) (bool, error)
	// BeginShred stores a new job and the marker of its item. [ErrShredding] if the marker of another job
	// stands that has not ended; [ErrConflict] if it changed meanwhile.
	BeginShred(ctx context.Context, j Job, e events.Event) error
	// Shred is ReplaceKEK for a tombstone: the pointer that leads to the KEK goes with it.
	Shred(ctx context.Context, tombstone KEKRecord, generation int64, e events.Event) error
	// EndShred is PutJob for the end of a shred: its marker goes with it.
	EndShred(ctx context.Context, j Job, revision int64, e events.Event) (int64, error)
	// Compact forgets what was overwritten or deleted before the call: nobody reads it from the store any more.
	// What files and backups hold of it is another matter.
	Compact(ctx context.Context) error

	trail.Requests
	HolderStore
	JobStore
	ScheduleStore
	EvidenceStore
	CMKStore
}

// CMKStore keeps the map of CMKs.
type CMKStore interface {
	// CMKMap is as of [Store].
	CMKMap(ctx context.Context, env access.EnvironmentID) (*CMKMap, int64, error)
	// ChangeCMKs stores what is in a change, and returns the new revision of its job. [ErrConflict] as of PutJob.
	ChangeCMKs(ctx context.Context, c CMKChange) (int64, error)
	// ResealKEK is ReplaceKEK if the map is at a revision.
	ResealKEK(ctx context.Context, r KEKRecord, generation, mapRevision int64, e events.Event) error
	// Tell stores an event of what changed nothing here.
	Tell(ctx context.Context, env access.EnvironmentID, e events.Event) error
}

// HolderStore walks the records that hold wrapped DEKs. It reads a value only where it is asked for one.
type HolderStore interface {
	// Holders are up to limit records whose keys are behind after, in the order of the walk; none at its
	// end. A record that fails its integrity check is among them, with Err.
	Holders(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]Holder, error)
	CountHolders(ctx context.Context, env access.EnvironmentID) (uint64, error)
	// EachHolder is the whole walk at once, for a number of records that fits into the time of an answer: by few
	// reads, which become slower the more there are.
	EachHolder(ctx context.Context, env access.EnvironmentID, each func(Holder)) error
	// Holder reads one of them again. Without DEKs if it is gone.
	Holder(ctx context.Context, env access.EnvironmentID, key string) (Holder, error)
	// Rewrap puts other DEKs into a record, in the order of its own, if it is at its revision and the
	// conditions hold. [ErrConflict].
	Rewrap(ctx context.Context, env access.EnvironmentID, h Holder, deks [][]byte, conditions []Conditions) error
	// HeldCiphertext is what the DEK at a place of the record's list seals, if the record is at its revision.
	// [ErrConflict]; [ErrTampered] if there is nothing.
	HeldCiphertext(ctx context.Context, env access.EnvironmentID, h Holder, at int) ([]byte, error)
	// Reencrypt puts another DEK and what it seals into their place, in one transaction, with the time of the job,
	// if the record is at its revision and the condition holds. [ErrConflict].
	Reencrypt(ctx context.Context, env access.EnvironmentID, h Holder, at int, s Sealed, job time.Time, condition Conditions) error
}

// JobStore keeps jobs.
type JobStore interface {
	// Jobs are all of an environment, in order of their ids. They are few. With [ErrTampered] come those
	// whose records were right.
	Jobs(ctx context.Context, env access.EnvironmentID) ([]JobAt, error)
	// Job finds one. [ErrNoJob].
	Job(ctx context.Context, env access.EnvironmentID, id JobID) (JobAt, error)
	// PutJob stores a job in place of the one at a revision (0: there must be none), with an event unless it
	// is nil, and returns its new revision. [ErrConflict] if it was not there; without an event also if it
	// is not certain whether it was stored, and can not be any more.
	PutJob(ctx context.Context, j Job, revision int64, e *events.Event) (int64, error)
	// RemoveJob removes one. [ErrConflict].
	RemoveJob(ctx context.Context, j JobAt) error
}

// ScheduleStore keeps the schedules of rotations.
type ScheduleStore interface {
	// Schedule is that of an environment with its revision, which comes also with [ErrTampered]. [ErrNoSchedule].
	// It is shared and must not be changed.
	Schedule(ctx context.Context, env access.EnvironmentID) (*Schedule, int64, error)
	// ChangeSchedule stores what is in a change. [ErrConflict] if the schedule is not at its revision.
	ChangeSchedule(ctx context.Context, c ScheduleChange) error
}

// KEKAt is a KEK record with its generation. The record is shared and must not be changed.
type KEKAt struct {
	ID         ID
	Record     *KEKRecord
	Generation int64
	// Err is set instead of the record for one that failed its integrity check.
	Err error
}
