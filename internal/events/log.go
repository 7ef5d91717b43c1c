package events

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/internal/outage"
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
	gate  *access.Gate
	audit *audit.Log
}

// New checks the config.
func New(c Config) (*Log, error) {
	if c.Store == nil || c.Gate == nil || c.Audit == nil {
		return nil, errors.New("events: log needs Store, Gate and Audit")
	}
	return &Log{store: c.Store, gate: c.Gate, audit: c.Audit}, nil
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
	permit, err := l.gate.Authorize(call.Actor, access.EventsList)
	var page Page
	if err == nil {
		page, err = l.list(ctx, permit, q)
	}
	record := audit.For(call, access.EventsList)
	record.Phase = audit.Access
	record.Result, record.Status, record.Code = outcome(err)
	if _, auditErr := l.audit.Append(ctx, record); auditErr != nil {
		return Page{}, fmt.Errorf("record call: %w", auditErr)
	}
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func (l *Log) list(ctx context.Context, permit access.Permit, q Query) (Page, error) {
	q, err := q.checked()
	if err != nil {
		return Page{}, err
	}
	if err := l.store.Fence(ctx); err != nil {
		return Page{}, fmt.Errorf("fence: %w", err)
	}
	if err := l.gate.Recheck(ctx, permit); err != nil {
		return Page{}, err
	}
	return l.store.Page(ctx, permit.Environment(), q)
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

// outcome is what the audit record says of an error: the status and code of the answer, which
// server/errors.go makes. No error's text enters the trail.
func outcome(err error) (audit.Result, int, string) {
	var invalid *InvalidError
	switch {
	case err == nil:
		return audit.Allowed, 200, ""
	case outage.Of(err) != nil: // first, because it wraps its cause, often a deadline
		return audit.Failed, 503, outage.Of(err).Code()
	case errors.As(err, &invalid):
		if invalid.Malformed {
			return audit.Failed, 400, "invalid_query"
		}
		return audit.Failed, 422, invalid.Code
	case errors.Is(err, access.ErrDenied):
		return audit.Denied, 403, "forbidden"
	case errors.Is(err, access.ErrUnauthenticated):
		return audit.Denied, 401, "unauthorized"
	case errors.Is(err, ErrUnknownCursor):
		return audit.Failed, 400, "invalid_cursor"
	case errors.Is(err, ErrTampered):
		return audit.Failed, 500, "integrity_failure"
	case errors.Is(err, context.Canceled):
		return audit.Failed, 499, "client_closed_request"
	case errors.Is(err, context.DeadlineExceeded):
		return audit.Failed, 503, "timeout"
	}
	return audit.Failed, 500, "internal_error"
}
