package events

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

// Config is what a [Log] needs; all fields are required.
type Config struct {
	Store Store
	Gate  *access.Gate
	Audit *audit.Log
}

// Log is the use case of reading the event log. It is safe for concurrent use.
type Log struct {
	store Store
	guard trail.Guard
}

// New checks the config.
func New(c Config) (*Log, error) {
	if c.Store == nil || c.Gate == nil || c.Audit == nil {
		return nil, errors.New("events: log needs Store, Gate and Audit")
	}
	return &Log{
		store: c.Store,
		guard: trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge},
	}, nil
}

// InvalidError is a refused query. Field is the wire's parameter; Code is machine-readable; Rule says
// what is allowed and never repeats what was sent.
type InvalidError struct {
	Field, Code, Rule string
	// Malformed tells a query that means nothing (400) from one that is refused (422).
	Malformed bool
}

func (e *InvalidError) Error() string { return "events: " + e.Field + " " + e.Rule }

// List returns a page. The errors are [*InvalidError], [ErrUnknownCursor], access.ErrDenied,
// access.ErrUnauthenticated, [ErrTampered] and outages. Whatever comes of it, the call has its
// audit record before List returns; a record that cannot be written is the error.
func (l *Log) List(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := l.guard.Begin(ctx, call, access.EventsList)
	if err != nil {
		return Page{}, err
	}
	page, err := l.list(ctx, o.Environment(), q)
	return trail.Answer(ctx, o, page, err)
}

// list needs no completed permit: EventsList is of a whole environment.
func (l *Log) list(ctx context.Context, env access.EnvironmentID, q Query) (Page, error) {
	q, err := q.checked()
	if err != nil {
		return Page{}, err
	}
	return l.store.Page(ctx, env, q)
}

// checked fills in the defaults and refuses what contradicts itself.
func (q Query) checked() (Query, error) {
	switch q.Order {
	case "", Normal:
		q.Order = Ascending
	case Ascending, Descending:
	default:
		return q, &InvalidError{Field: "order", Code: "invalid", Rule: "must be asc, desc or normal", Malformed: true}
	}
	switch {
	case q.Limit < 0:
		return q, &InvalidError{Field: "limit", Code: "invalid", Rule: "must be 1 to 100", Malformed: true}
	case q.Limit == 0:
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	switch {
	case len(q.Types) == 0 || slices.Contains(q.Types, ""):
		return q, &InvalidError{Field: "events", Code: "required", Rule: "must name at least one event"}
	case q.After != "" && q.Before != "":
		return q, &InvalidError{Field: "before", Code: "invalid", Rule: "excludes after"}
	case q.After != "" && !q.RangeStart.IsZero():
		return q, &InvalidError{Field: "range_start", Code: "invalid", Rule: "excludes after"}
	case !q.RangeStart.IsZero() && !q.RangeEnd.IsZero() && q.RangeEnd.Before(q.RangeStart):
		return q, &InvalidError{Field: "range_end", Code: "invalid", Rule: "must not lie before range_start"}
	}
	for _, cursor := range []string{q.After, q.Before} {
		if _, ok := id.EventEpoch(cursor); cursor != "" && !ok {
			return q, ErrUnknownCursor
		}
	}
	return q, nil
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
	case errors.As(err, &invalid) && invalid.Malformed:
		return trail.Fail("invalid_query", 400)
	case invalid != nil:
		return trail.Fail(invalid.Code, 422)
	case errors.Is(err, ErrUnknownCursor):
		return trail.Fail("invalid_cursor", 400)
	case errors.Is(err, ErrTampered):
		return trail.Fail("integrity_failure", 500)
	}
	return trail.Known(err)
}
