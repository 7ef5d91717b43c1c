package webhooks

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/events"
)

// ErrNoEndpoint means that there is no such endpoint (404).
var ErrNoEndpoint = errors.New("webhooks: endpoint not found")

// Change makes, changes or removes one endpoint, in one transaction with its event.
type Change struct {
	Environment access.EnvironmentID
	// Revision is that of the list that the change was decided on (0: there was none): a change of any endpoint
	// makes it another.
	Revision int64
	// Endpoint is made, or takes the place of the one with its id; nil if one is removed.
	Endpoint *Endpoint
	// Progress is that of an endpoint that is made or changed, in place of the one at ProgressAt (0: there is
	// none); nil to leave all as they are.
	Progress   *Progress
	ProgressAt int64
	// Removed is an endpoint that goes, with all there is of it.
	Removed EndpointID
	Event   events.Event
}

// Step is what one or several attempts made of an endpoint's progress.
type Step struct {
	// Progress takes the place of the one at Revision.
	Progress Progress
	Revision int64
	// Deliveries and Letters are new. The dead letter of an event that was accepted leaves the list.
	Deliveries []Delivery
	Letters    []Letter
	// Event tells that the cursor was moved by a caller; nil of every other step.
	Event *events.Event
}

// Store keeps endpoints and their progress, and reads the event log. internal/etcd implements it.
//
// All methods are safe for concurrent use, block for some seconds at most and may return an outage.Error, or
// keys.ErrTampered for a record that is not what was stored.
type Store interface {
	// Fence waits until this replica has seen every write acknowledged before the call.
	Fence(ctx context.Context) error
	// Endpoints are those of an environment with the revision of the list, 0 and an empty list if there never was
	// any. What they hold is shared, and not to be changed.
	Endpoints(ctx context.Context, env access.EnvironmentID) (*Endpoints, int64, error)
	// Endpoint is one of them. [ErrNoEndpoint]; keys.ErrTampered for a damaged one.
	Endpoint(ctx context.Context, env access.EnvironmentID, id EndpointID) (*Endpoint, error)
	// Change stores a change. keys.ErrConflict if what was read has changed since, as of Step.
	Change(ctx context.Context, c Change) error
	// Progress is that of an endpoint, linearizably. [ErrNoEndpoint]. With keys.ErrTampered comes the revision of
	// what stands there, so that it can be replaced.
	Progress(ctx context.Context, env access.EnvironmentID, id EndpointID) (Progress, int64, error)
	// Step stores a step and returns the new revision of the progress. keys.ErrConflict.
	Step(ctx context.Context, s Step) (int64, error)

	// Deliveries are the attempts in the log of an endpoint, the newest first.
	Deliveries(ctx context.Context, env access.EnvironmentID, id EndpointID) ([]Delivery, error)
	// Letters are up to limit dead letters behind an event's, in the order of the log by epochs.
	Letters(ctx context.Context, env access.EnvironmentID, id EndpointID, after string, limit int) ([]Letter, error)
	CountLetters(ctx context.Context, env access.EnvironmentID, id EndpointID) (uint64, error)

	// Tail is up to limit events of the log behind a cursor, of all types, in order; from the beginning if the
	// cursor is empty. A cursor whose event is gone stands for the beginning of its epoch.
	Tail(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]events.Stored, error)
	// Page is as of events.Store.
	Page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error)

	// LockEndpoint takes the lock of an endpoint for a holder and tells whether it has it now. It outlives
	// the process for some seconds.
	LockEndpoint(ctx context.Context, env access.EnvironmentID, id EndpointID, holder string) (bool, error)
	// UnlockEndpoint gives it back.
	UnlockEndpoint(ctx context.Context, env access.EnvironmentID, id EndpointID, holder string) error
	// WatchLog signals that the environment has events, or that endpoints or their progress have changed,
	// until stop is called. Signals that nobody has taken become one.
	WatchLog(env access.EnvironmentID) (changed <-chan struct{}, stop func())
}
