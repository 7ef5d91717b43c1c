package vault

import "errors"

// Sentinels of this package; server/errors.go maps them to statuses. Key problems keep the sentinels
// of package keys, denials that of package access.
var (
	// ErrNotFound means that no live object has that id or name.
	ErrNotFound = errors.New("vault: object not found")
	// ErrExists means that a live object has that name already.
	ErrExists = errors.New("vault: object exists")
	// ErrVersion means that version_check is not the current version.
	ErrVersion = errors.New("vault: version check failed")
	// ErrConflict means that the object changed between read and write; internal to a retry loop, and
	// the answer when its bound is reached.
	ErrConflict = errors.New("vault: object changed meanwhile")
	// ErrTooManyObjects and ErrTooManyBytes mean that the environment would hold more than its [Quota].
	ErrTooManyObjects = errors.New("vault: quota of objects reached")
	ErrTooManyBytes   = errors.New("vault: quota of bytes reached")
	// ErrIdempotency means that an Idempotency-Key came back with another body.
	ErrIdempotency = errors.New("vault: idempotency key reused with another body")
	// ErrUnknownCursor means that a cursor was never given out by this environment's list.
	ErrUnknownCursor = errors.New("vault: unknown cursor")
	// ErrSearchUnavailable means that the store is larger than the list index (422).
	ErrSearchUnavailable = errors.New("vault: search unavailable above the index bound")
)

// InvalidError is a refused value (422). Field is the wire's field name; Rule says what is allowed
// and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "vault: " + e.Field + " " + e.Rule }
