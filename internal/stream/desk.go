package stream

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

// DeskConfig is what a [Desk] needs; all fields are required.
type DeskConfig struct {
	Streams *Streams
	Gate    *access.Gate
	Audit   *audit.Log
	// Fence returns once reads show everything that was acknowledged anywhere before.
	Fence func(context.Context) error
	Now   func() time.Time
}

// Desk is what callers may ask of the streams of the node that answers. Its methods return access.ErrDenied,
// access.ErrUnauthenticated, [ErrNoStream], [*InvalidError] and outages, and leave a record of every call.
type Desk struct {
	config DeskConfig
	guard  trail.Guard
}

// NewDesk checks the config.
func NewDesk(c DeskConfig) (*Desk, error) {
	if c.Streams == nil || c.Gate == nil || c.Audit == nil || c.Fence == nil || c.Now == nil {
		return nil, errors.New("stream: desk needs Streams, Gate, Audit, Fence and Now")
	}
	return &Desk{config: c, guard: trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Fence, Verdict: judge}}, nil
}

// ErrNoStream means that the node has no stream of that name (404).
var ErrNoStream = errors.New("stream: no such stream")

// InvalidError is a refused value (422). Rule says what is allowed and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "stream: " + e.Field + " " + e.Rule }

// The codes of refusals.
const (
	CodeNoStream = "entity_not_found"
	CodeInvalid  = "invalid_value"
)

// List is the streams of a node.
type List struct {
	Node    string
	Streams []Status
}

// List returns how the streams do.
func (d *Desk) List(ctx context.Context, call access.Call) (List, error) {
	o, err := d.guard.Begin(ctx, call, access.AuditStreamsRead)
	if err != nil {
		return List{}, err
	}
	return trail.Answer(ctx, o, List{Node: d.config.Audit.Node(), Streams: d.config.Streams.Statuses(d.config.Now())}, nil)
}

// RewindRequest sets a stream back. Exactly one of Index and Since is given.
type RewindRequest struct {
	Name string
	// Index is the first record that is sent again; Since is its time.
	Index *uint64
	Since time.Time
}

// Rewind has records sent again. A place that is not behind the one that there is changes nothing: a stream cannot be
// moved ahead.
func (d *Desk) Rewind(ctx context.Context, call access.Call, r RewindRequest) (Status, error) {
	o, err := d.guard.Begin(ctx, call, access.AuditStreamsRewind)
	if err != nil {
		return Status{}, err
	}
	status, err := d.rewind(ctx, o, r)
	return trail.Committed(ctx, o, status, err)
}

func (d *Desk) rewind(ctx context.Context, o *trail.Operation, r RewindRequest) (Status, error) {
	var of *worker
	for _, w := range d.config.Streams.workers {
		if w.spec.Name == r.Name {
			of = w
		}
	}
	if of == nil {
		return Status{}, ErrNoStream
	}
	o.Record.Subject = of.spec.Name
	if (r.Index == nil) == r.Since.IsZero() {
		return Status{}, &InvalidError{Field: "since", Rule: "or index is given, and not both"}
	}
	next := uint64(0)
	if r.Index != nil {
		next = *r.Index
	} else {
		var err error
		if next, err = audit.FirstSince(d.config.Audit.Dir(), r.Since); err != nil {
			return Status{}, &outage.Error{Dependency: outage.Audit, Cause: err}
		}
	}
	if err := o.Intend(ctx); err != nil {
		return Status{}, err
	}
	if err := of.rewind(next, d.config.Now().UTC()); err != nil {
		return Status{}, &outage.Error{Dependency: outage.Audit, Cause: err}
	}
	return of.status(d.config.Now()), nil
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(_ access.Action, err error) trail.Verdict {
	if err == nil {
		return trail.Allow(200)
	}
	if outage.Of(err) != nil { // first: an outage wraps its cause
		return trail.Known(err)
	}
	var invalid *InvalidError
	switch {
	case errors.Is(err, ErrNoStream):
		return trail.Fail(CodeNoStream, 404)
	case errors.As(err, &invalid):
		return trail.Fail(CodeInvalid, 422)
	}
	return trail.Known(err)
}
