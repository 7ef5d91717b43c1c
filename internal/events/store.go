package events

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
)

// Order is the order of a page.
type Order string

// The orders of contract section 4. Normal, the default, is that of a consumer who follows the log:
// oldest first, after = newer, so that the last id of a page is the next cursor. A [Store] is only
// ever asked for Ascending or Descending.
const (
	Ascending  Order = "asc"
	Descending Order = "desc"
	Normal     Order = "normal"
)

// Limits of a page.
const (
	DefaultLimit = 10
	MaxLimit     = 100
)

// ErrUnknownCursor means that a cursor is no id of an event of this environment (400).
var ErrUnknownCursor = errors.New("events: unknown cursor")

// ErrTampered means that an event on the way to the page is not what was stored (500 integrity_failure).
// The page fails as a whole: one with a hole would pass for the truth.
var ErrTampered = errors.New("events: integrity failure")

// Query asks for a page of events.
type Query struct {
	// Types to show; at least one from a caller, and none for all from readers inside. A type that never
	// happens here matches nothing.
	Types []Type
	// After and Before are event ids, exclusive, in the order of the page: in Descending order After
	// leads to older events. Only one of them is set.
	After, Before string
	// Limit is 1 to MaxLimit; 0 stands for DefaultLimit.
	Limit int
	// Order may be empty for Normal.
	Order Order
	// RangeStart (inclusive) and RangeEnd (exclusive) bound the time of events; zero means open. Events bear the
	// millisecond that they happened in, so what is finer of a bound is cut off: ranges that follow each other
	// have every event once, and one that begins where somebody looked at a clock has all that came after.
	RangeStart, RangeEnd time.Time
	// OrganizationID keeps events whose key context or data names this organization; empty keeps all.
	OrganizationID string
}

// Page is a page of events. Before and After are the cursors of the previous and next page in the
// page's own order, empty at the ends.
type Page struct {
	Data          []Stored
	Before, After string
	// Forgotten is the time of the last event that the log has lost to its bounds; zero if it is whole.
	Forgotten time.Time
}

// Store reads the event log. internal/etcd implements it.
//
// Both methods are safe for concurrent use, block for at most five seconds and may return an
// outage.Error.
type Store interface {
	// Fence waits until this replica has seen every write acknowledged before the call.
	Fence(ctx context.Context) error
	// Page returns events in the order of their commits: whoever pages with After set to the last id
	// he saw misses none, with any number of replicas and skewed clocks. [ErrUnknownCursor].
	// [ErrTampered] for an event whose MAC does not verify; it wraps keys.ErrTampered too.
	Page(ctx context.Context, env access.EnvironmentID, q Query) (Page, error)
}
