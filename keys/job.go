package keys

import (
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
)

// JobID is a UUIDv7 as text.
type JobID string

// JobKind is what a job does.
type JobKind string

// The kinds of job.
const (
	// RewrapJob wraps DEKs again under the current version of their KEK.
	RewrapJob JobKind = "rewrap"
	// ReencryptJob seals values again under fresh DEKs.
	ReencryptJob JobKind = "reencrypt"
	// RewrapRootJob brings KEKs under another root key.
	RewrapRootJob JobKind = "rewrap_root"
	// RotateJob gives KEKs a new version.
	RotateJob JobKind = "rotate"
	// ShredJob destroys KEKs.
	ShredJob JobKind = "shred"
	// AttachJob brings KEKs under a CMK, DetachJob takes them from one.
	AttachJob JobKind = "attach_cmk"
	DetachJob JobKind = "detach_cmk"
	// VerifyJob looks at every record and opens what is sealed in it.
	VerifyJob JobKind = "verify"
)

// known reports a kind of this version. One of a later version is left to nodes that have that.
func (k JobKind) known() bool { return k.asked() || k == AttachJob || k == DetachJob }

// asked reports a kind that [Operations.CreateJob] makes.
func (k JobKind) asked() bool {
	return k == RewrapJob || k == ReencryptJob || k == RewrapRootJob || k == RotateJob || k == ShredJob || k == VerifyJob
}

// JobState is where a job stands. The last three are final.
type JobState string

// The states of a job.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Job is an operation on many records, as stored. The store adds a MAC. It carries its progress, so that
// any node can go on with it; every step it takes is a compare-and-swap, and is one that was not taken yet
// only if the record says so. So two nodes that run one job at once do no harm, and who owns it is no more
// than a way not to do things twice.
type Job struct {
	ID          JobID                `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Kind        JobKind              `cbor:"3,keyasint"`
	Scope       Scope                `cbor:"4,keyasint"`
	// Before keeps KEKs whose primary is older, for a rotation. It is never later than the job itself, so
	// that a KEK is rotated once by it.
	Before time.Time `cbor:"5,keyasint,omitzero"`
	// DryRun counts and changes nothing.
	DryRun bool `cbor:"6,keyasint,omitempty"`
	// Rate is how many records a second it looks at; 0 is as many as it can.
	Rate int `cbor:"7,keyasint,omitempty"`
	// Actor asked for it; Node and Index name the audit record of the intent, for every event of the job.
	Actor JobActor `cbor:"8,keyasint"`
	Node  string   `cbor:"9,keyasint"`
	Index uint64   `cbor:"10,keyasint"`

	CreatedAt time.Time `cbor:"11,keyasint"`
	StartedAt time.Time `cbor:"12,keyasint,omitzero"`
	EndedAt   time.Time `cbor:"13,keyasint,omitzero"`
	State     JobState  `cbor:"14,keyasint"`
	// Reason is a word for why a job failed.
	Reason string `cbor:"15,keyasint,omitempty"`
	// Owner is the node that runs it. Beat rises with every save: an owner that saves nothing is taken for
	// dead by the others, each by its own clock.
	Owner string `cbor:"16,keyasint,omitempty"`
	Beat  uint64 `cbor:"17,keyasint,omitempty"`
	// Cursor is the last record that was looked at.
	Cursor string `cbor:"18,keyasint,omitempty"`
	Counts Counts `cbor:"19,keyasint"`
	// CachesUntil is until when memory may hold a KEK that was shredded. Nothing uses it there.
	CachesUntil time.Time `cbor:"20,keyasint,omitzero"`
	// RootKey is the URI of the root key that a [RewrapRootJob] moves KEKs to: the one that was current where the
	// job was made, so that a node that has another one for current does not undo it.
	RootKey string `cbor:"21,keyasint,omitempty"`
	// CMK is what it attaches or detaches, and KeyURI that customer's key. A dry run has the key alone.
	CMK    CMKID  `cbor:"30,keyasint,omitempty"`
	KeyURI string `cbor:"31,keyasint,omitempty"`
	// HistoryUntil is when the store was made to forget its history, in which KEKs that were shredded, attached
	// or moved to another root key were as before.
	HistoryUntil time.Time `cbor:"40,keyasint,omitzero"`
	// Findings are the first [MaxFindings] records that a verification found fault with.
	Findings []Finding `cbor:"45,keyasint,omitempty"`
	// Restarted says that it was taken up again after it had begun: more may have been done than is counted.
	Restarted bool `cbor:"46,keyasint,omitempty"`
}

// BackupsBefore is from when on a backup holds nothing that opens without the CMK that the job has attached, or
// nothing of what it has shredded: one from before opens with the root key alone. Zero for other jobs.
func (j *Job) BackupsBefore() time.Time {
	if (j.Kind == AttachJob || j.Kind == ShredJob) && j.State == JobSucceeded && !j.DryRun {
		return j.EndedAt
	}
	return time.Time{}
}

// Counts are how far a job has come, in records (of a rotation: in KEKs).
type Counts struct {
	// Total is how many there were when it began.
	Total uint64 `cbor:"1,keyasint,omitempty"`
	Done  uint64 `cbor:"2,keyasint,omitempty"`
	// Changed is how many of them were changed, or would be by a job that is no dry run. What a node did
	// after its last save is not counted if another one takes over.
	Changed uint64 `cbor:"3,keyasint,omitempty"`
	// Failed is how many could not be looked at or changed: they are as they were.
	Failed uint64 `cbor:"4,keyasint,omitempty"`
	// Unreadable is how many records a shred took the key of.
	Unreadable uint64 `cbor:"5,keyasint,omitempty"`
	// Opened is how many values and keysets a verification opened, Shredded how many records it found whose key
	// was destroyed on purpose, and Refused how many of the failed ones a root key or CMK kept it from opening.
	Opened   uint64 `cbor:"6,keyasint,omitempty"`
	Shredded uint64 `cbor:"7,keyasint,omitempty"`
	Refused  uint64 `cbor:"8,keyasint,omitempty"`
}

// JobActor is [events.Actor] as stored.
type JobActor struct {
	ID     string `cbor:"1,keyasint"`
	Source string `cbor:"2,keyasint"`
	Name   string `cbor:"3,keyasint,omitempty"`
}

// Scope says which KEKs a job is about: one, those whose context has an item, or with neither all.
type Scope struct {
	KeyID ID   `cbor:"1,keyasint,omitempty"`
	Item  Item `cbor:"2,keyasint,omitzero"`
}

// covers reports whether a KEK is in the scope.
func (s Scope) covers(r *KEKRecord) bool {
	return (s.KeyID == "" || s.KeyID == r.KeyID) && s.Item.In(r)
}

// ended reports a state that is final.
func (j *Job) ended() bool {
	return j.State == JobSucceeded || j.State == JobFailed || j.State == JobCancelled
}

func (j *Job) cause() SealMeta {
	return SealMeta{Node: j.Node, Index: j.Index, Actor: events.Actor{ID: j.Actor.ID, Source: j.Actor.Source, Name: j.Actor.Name}}
}

// jobChanged is the data object of a job's events.
type jobChanged struct {
	events.Actor
	JobID   JobID    `json:"job_id"`
	Kind    JobKind  `json:"kind"`
	KeyID   ID       `json:"key_id,omitzero"`
	DryRun  bool     `json:"dry_run"`
	State   JobState `json:"state"`
	Total   uint64   `json:"total"`
	Done    uint64   `json:"done"`
	Changed uint64   `json:"changed"`
	Failed  uint64   `json:"failed"`
	// Unreadable is of a shred.
	Unreadable uint64 `json:"unreadable,omitzero"`
}

// event tells of the job as it is. A context item is left out, as in the events of KEKs.
func (j *Job) event(t events.Type, at time.Time) (events.Event, error) {
	meta := j.cause()
	return newEvent(t, jobChanged{
		Actor: meta.Actor, JobID: j.ID, Kind: j.Kind, KeyID: j.Scope.KeyID, DryRun: j.DryRun, State: j.State,
		Total: j.Counts.Total, Done: j.Counts.Done, Changed: j.Counts.Changed, Failed: j.Counts.Failed, Unreadable: j.Counts.Unreadable,
	}, at, meta)
}

// JobAt is a job with the revision it was read at. The job is shared and must not be changed.
type JobAt struct {
	Job      *Job
	Revision int64
}

// Errors of jobs.
var (
	// ErrNoJob means that the caller named a job that is not there.
	ErrNoJob = errors.New("keys: no such job")
	// ErrJobEnded means that a job cannot be cancelled any more.
	ErrJobEnded = errors.New("keys: job has ended")
	// ErrNotCancellable means that a shred cannot be undone by halves.
	ErrNotCancellable = errors.New("keys: a shred cannot be cancelled")
	// ErrTooManyJobs means that as many jobs as an environment may have wait or run.
	ErrTooManyJobs = errors.New("keys: too many jobs")
)
