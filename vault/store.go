package vault

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// Store keeps objects. internal/etcd implements it; it sees only sealed bytes.
//
// Every read reflects at least what was acknowledged anywhere before the last Fence of the same
// request. Mutations are one transaction with their event: either all of it is durable when the
// method returns nil, or none of it happened, except for an outage of kind Unknown. All methods are
// safe for concurrent use and block for at most five seconds. Any method may return an outage.Error;
// reads return keys.ErrTampered for a record whose MAC does not verify.
type Store interface {
	Fence(ctx context.Context) error
	Reader
	Writer
}

// Reader is the reading half of [Store]. Returned records are shared and must not be changed.
type Reader interface {
	// Header finds an object by id. [ErrNotFound].
	Header(ctx context.Context, env access.EnvironmentID, id ObjectID) (Stored, error)
	// HeaderByName finds a live object by its exact name: both reads at one revision. [ErrNotFound].
	HeaderByName(ctx context.Context, env access.EnvironmentID, name string) (Stored, error)
	// Ciphertext returns the sealed value of one version. [ErrNotFound] if it was pruned or deleted
	// meanwhile: read the header again.
	Ciphertext(ctx context.Context, env access.EnvironmentID, id ObjectID, sequence uint64) ([]byte, error)
	// List returns a page in order of creation. [ErrUnknownCursor], [ErrSearchUnavailable].
	List(ctx context.Context, env access.EnvironmentID, q Query) (Page, error)
	// Usage is what an environment holds.
	Usage(ctx context.Context, env access.EnvironmentID) (Usage, error)
}

// Writer is the mutating half of [Store]. The event is committed in the same transaction.
// keys.ErrConflict means that the KEK changed: seal again. [ErrConflict] means that the header
// changed: read again. [ErrTooManyObjects] and [ErrTooManyBytes] mean that a create or update would pass a quota:
// deletes, and updates that shrink an object, never do.
type Writer interface {
	// Create stores a new object. [ErrExists] if the name is taken. With idem, a request record is
	// stored too; if there is one already (looked up on yesterday, today and tomorrow) nothing is
	// stored and it is returned: replayed is then not nil.
	Create(ctx context.Context, w Write, idem *IdempotencyRecord) (replayed *Request, err error)
	// Update replaces the header found at revision and adds its current version; sequences up to and
	// including pruneTo are removed (0: none).
	Update(ctx context.Context, w Write, revision int64, pruneTo uint64) error
	// Delete removes the header found at revision, its name and all its versions.
	Delete(ctx context.Context, h Header, revision int64, e events.Event) error
}

// Stored is a header with the revision it was read at.
type Stored struct {
	*Header
	Revision int64
}

// Write is a header and the ciphertext of its current version, on their way into the store.
type Write struct {
	Header     Header
	Ciphertext []byte
	Conditions keys.Conditions
	Event      events.Event
	// Pruned is how many sequences an update removes, counted down from its pruneTo. A range without an
	// end would have etcd pass over every version that was ever pruned, until it compacts.
	Pruned uint64
}

// IdempotencyRecord is a [Request] and where it goes.
type IdempotencyRecord struct {
	// Method, Path and Key place the record; the store keeps only a keyed hash of them.
	Method, Path, Key string
	Request           Request
}

// Query asks for a page of [Summary]. A [Store] is asked with one of After and Before at most;
// [Vault.List] takes both and shows what lies between.
type Query struct {
	Limit      int
	Descending bool
	// After and Before are ids of objects, exclusive, in the order of the page.
	After, Before ObjectID
	// Search keeps names that contain it; UpdatedAfter keeps objects updated strictly later.
	Search       string
	UpdatedAfter time.Time
	// Viewer keeps objects by what the actor may see; nil keeps all. It is the use case's, never the caller's.
	Viewer Viewer
}

// Viewer says which objects somebody may see.
type Viewer interface {
	// Shows is asked for many objects in a row. items are those of the key context, and are read only.
	Shows(name string, items map[string]string) bool
	// Within is where all of them lie, so that nobody looks elsewhere; nil is anywhere, and none nowhere.
	Within() []access.Bound
}

// Page is a page of a list. After and Before are the cursors of the next and the previous page,
// empty at the ends: never an empty page with a cursor.
type Page struct {
	Data          []Summary
	Before, After ObjectID
}
