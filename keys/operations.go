package keys

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// Operations is what the people who look after the keys may do: the use cases on KEKs themselves. It is
// immutable and safe for concurrent use.
//
// Every method takes the call of an authenticated actor first and returns access.ErrDenied if the actor
// may not, access.ErrUnauthenticated if its key was revoked meanwhile, [ErrTampered] for a record that is
// not what was stored, [ErrRefused], and an outage.Error if a dependency does not answer. The other errors
// stand at the methods.
type Operations struct {
	keys  *Keys
	store OperationsStore
	guard *trail.Guard
	// tallying holds whoever counts records; capacity 1. tallyTime is that of the constant, but in tests.
	tallying  chan struct{}
	tallyTime time.Duration
}

// OperationsConfig is what [Operations] are made of. All fields are required.
type OperationsConfig struct {
	Keys  *Keys
	Store OperationsStore
	Gate  *access.Gate
	Audit *audit.Log
}

// NewOperations checks the config.
func NewOperations(c OperationsConfig) (*Operations, error) {
	if c.Keys == nil || c.Store == nil || c.Gate == nil || c.Audit == nil {
		return nil, errors.New("keys: operations need Keys, Store, Gate and Audit")
	}
	return &Operations{
		keys: c.Keys, store: c.Store, tallying: make(chan struct{}, 1), tallyTime: tallyTime,
		guard: &trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge, Requests: c.Store},
	}, nil
}

// operation is one call on its way through a use case. It belongs to the call's goroutine.
type operation struct {
	*trail.Operation
	ops *Operations
}

// begin is the first statement of every exported method. The error has been recorded and is the caller's
// answer.
func (ops *Operations) begin(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := ops.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	return &operation{Operation: o, ops: ops}, nil
}

// kek reads the record at a key id that a caller named, and completes the permit with its context.
func (o *operation) kek(ctx context.Context, id ID) (KEKAt, error) {
	r, generation, err := o.ops.store.KEK(ctx, o.Environment(), id)
	if errors.Is(err, ErrKEKNotFound) {
		return KEKAt{}, ErrNoKEK
	}
	if err != nil {
		return KEKAt{}, err
	}
	if err := r.check(o.Environment(), id); err != nil && !errors.Is(err, ErrShredded) {
		return KEKAt{}, err
	}
	o.Record.KeyID, o.Record.Revision = string(id), generation
	err = o.Complete(access.Resource{Context: r.Context().Canonical(), Items: r.Items})
	return KEKAt{ID: id, Record: r, Generation: generation}, err
}

// cause names the intent and the actor, for events.
func (o *operation) cause() SealMeta {
	node, index := o.Intent()
	return SealMeta{Node: node, Index: index, Actor: events.ActorOf(o.Permit.Actor())}
}

// changeAttempts bounds the read-compare-write rounds of one change. Every lost round means that another
// change of the same record was committed.
const changeAttempts = 16

// retry runs a round of a change until it does not conflict. Before each but the first the reads are made
// current again.
func (o *operation) retry(ctx context.Context, round func() error) error {
	for attempt := range changeAttempts {
		if attempt > 0 {
			if err := o.Refresh(ctx); err != nil {
				return err
			}
		}
		if err := round(); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		if action == access.JobCreate || action == access.CMKAttach {
			return trail.Allow(201)
		}
		return trail.Allow(200)
	}
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return trail.Fail(CodeInvalid, 422)
	}
	return trail.Among(err, []trail.Case{
		{ErrNoKEK, trail.Fail("entity_not_found", 404)},
		{ErrNoJob, trail.Fail("entity_not_found", 404)},
		{ErrShredding, trail.Fail("shred_in_progress", 409)},
		{ErrNoSchedule, trail.Fail("entity_not_found", 404)},
		{ErrNotCancellable, trail.Fail("job_not_cancellable", 409)},
		{ErrJobEnded, trail.Fail("job_ended", 409)},
		{ErrNotCancelled, trail.Fail("job_not_cancelled", 409)},
		{ErrTooManyJobs, trail.Fail("too_many_jobs", 429)},
		{ErrUnknownCursor, trail.Fail("invalid_cursor", 400)},
		{ErrVersions, trail.Fail("too_many_versions", 409)},
		{ErrConflict, trail.Fail("concurrent_request", 503)},
		{ErrTampered, trail.Fail("integrity_failure", 500)},
		{ErrShredded, trail.Fail("key_shredded", 403)},
		{ErrNoCMK, trail.Fail("entity_not_found", 404)},
		{ErrCMKExists, trail.Fail("cmk_exists", 409)},
		{ErrCMKBusy, trail.Fail("cmk_busy", 409)},
		{ErrTooManyCMKs, trail.Fail("too_many_cmks", 409)},
		{ErrCMKRefused, trail.Fail("cmk_refused", 403)}, // before ErrRefused, which it is too
		{ErrRefused, trail.Fail("root_key_refused", 403)},
	})
}

// InvalidError is a refused value of a request (422). Field is the wire's name; Rule says what is allowed
// and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "keys: " + e.Field + " " + e.Rule }

// CodeInvalid is the code of an [InvalidError].
const CodeInvalid = "invalid_value"

// Errors of [Operations] alone.
var (
	// ErrNoKEK means that the caller named a KEK that is not there.
	ErrNoKEK = errors.New("keys: no such KEK")
	// ErrUnknownCursor means that a cursor was never given out by this list.
	ErrUnknownCursor = errors.New("keys: unknown cursor")
	// ErrVersions means that a KEK has [MaxVersions] keys.
	ErrVersions = errors.New("keys: too many versions of a KEK")
)
