package keys

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/events"
)

// Errors of this package. A caller that shows them to a client needs no more detail: which of key,
// tag, AAD or format was wrong is one error on purpose.
var (
	// ErrTampered means that what the store returned is not what was put there, or that the keys do
	// not fit: one error for every decryption failure once all keys are at hand.
	ErrTampered = errors.New("keys: integrity failure")
	// ErrKEKNotFound means that no KEK record stands at that key id or pointer.
	ErrKEKNotFound = errors.New("keys: KEK not found")
	// ErrRefused means that a root key says no for good (disabled, destroyed, access denied), or that a
	// record needs another one than is configured; of a CMK it is [ErrCMKRefused]. It is no outage: waiting does not help.
	ErrRefused = errors.New("keys: root key refuses")
	// ErrNoEnvironment means that this process holds no keys of that environment.
	ErrNoEnvironment = errors.New("keys: unknown environment")
	// ErrShredded means that the KEK was destroyed on purpose; nothing under it can ever be opened.
	ErrShredded = errors.New("keys: shredded")
	// ErrShredding means that a shred of one of the context's items is under way; new KEKs wait.
	ErrShredding = errors.New("keys: shred in progress")
	// ErrConflict means that a condition of a transaction no longer held: seal again and retry.
	ErrConflict = errors.New("keys: KEK changed meanwhile")
	// ErrCreateRate means that an environment creates KEKs faster than its limit (429).
	ErrCreateRate = errors.New("keys: too many new key contexts")
	// ErrNotOurs means that a blob handed in by a client is none that Culvert made for this
	// environment (400): wrong magic, format or length, a KEK that is not here, or edited. It is never
	// [ErrTampered]: a client who sends rubbish is no reason for an alarm.
	ErrNotOurs = errors.New("keys: not a data key of this environment")
)

// Store keeps KEK records. internal/etcd implements it; it sees only sealed bytes.
//
// Reads reflect at least every write acknowledged anywhere before the caller's last read fence.
// All methods are safe for concurrent use, block for at most five seconds, return [ErrTampered] for a
// record whose MAC does not verify, and an outage.Error when etcd does not answer.
type Store interface {
	// KEK returns the record at a key id and its KEK generation. [ErrKEKNotFound] if there is none.
	// The returned record is shared and must not be changed.
	KEK(ctx context.Context, env access.EnvironmentID, id ID) (*KEKRecord, int64, error)
	// KEKOf follows the pointer of a key context. [ErrKEKNotFound] if the context has no KEK yet.
	KEKOf(ctx context.Context, env access.EnvironmentID, c Context) (ID, error)
	// CMKMap returns an environment's map of CMKs and its revision, which the creation of a KEK compares
	// (see [Creation]); an empty one and 0 if there is none. It is shared and must not be changed.
	CMKMap(ctx context.Context, env access.EnvironmentID) (*CMKMap, int64, error)
	// Shredding reports whether the marker of a shred stands for one of a context's items. It costs next to
	// nothing while there is none in the environment.
	Shredding(ctx context.Context, env access.EnvironmentID, items map[string]string) (bool, error)
	// CreateKEK commits a creation by itself, for a client data key in a new context. [ErrConflict]
	// if another caller was first or a guard changed.
	CreateKEK(ctx context.Context, c Conditions) error
}

// Conditions are what must still hold in the transaction that stores something sealed: they make a
// shred, a rotation or another replica's creation of the same KEK a conflict instead of a lost value.
// Stores turn them into compares; nothing else looks inside.
type Conditions struct {
	Environment access.EnvironmentID
	KeyID       ID
	// Generation is the KEK generation the value was sealed under; 0 if Create is set.
	Generation int64
	// Create is set if the KEK does not exist yet: the transaction creates it too.
	Create *Creation
}

// Creation is a KEK that comes into being with its first record. The record and the pointer from its
// context are put-if-absent, and no shred marker may stand for any of the context's items.
type Creation struct {
	Record KEKRecord
	// CMKMapRevision must still be that of the environment's CMK map (0: no map), so that no new KEK
	// escapes a customer's key.
	CMKMapRevision int64
	// Event is vault.kek.created.
	Event events.Event
}
