package reads

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/events"
)

// Place is how far the log of a node has become events in an environment, as stored. The store adds a MAC.
type Place struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	Node        string               `cbor:"2,keyasint"`
	// Next is the index of the first record that is not done with.
	Next uint64 `cbor:"3,keyasint"`
}

// Store keeps places, and takes events. internal/etcd implements it. Its methods are safe for concurrent use, block for
// some seconds at most and may return an outage.Error.
type Store interface {
	// ReadsPlace is that of a node in an environment with its revision, 0 if there is none. With keys.ErrTampered comes
	// the revision of what stands there, so that it can be replaced.
	ReadsPlace(ctx context.Context, env access.EnvironmentID, node string) (Place, int64, error)
	// TellReads appends events to the log of the environment of a place and stores the place, in one transaction, if the
	// one before it is at the revision still (0: there is none). It returns the new revision; keys.ErrConflict.
	TellReads(ctx context.Context, p Place, revision int64, told []events.Event) (int64, error)
	// ForgetReads removes a place.
	ForgetReads(ctx context.Context, env access.EnvironmentID, node string) error
}
