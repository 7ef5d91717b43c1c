package keys

import "time"

// Description is what a provider tells of a root key. It is for people: nothing is decided on it, and
// what a provider does not tell stays zero.
type Description struct {
	// Provider is the name of the package: "local", "awskms", "pkcs11".
	Provider string
	// URI is [RootKey.URI].
	URI       string
	State     KeyState
	CreatedAt time.Time
	// DeletedFrom is the time from which a key in [KeyPendingDeletion] no longer exists.
	DeletedFrom time.Time
	// Rotation is nil where the provider has none or does not let us know.
	Rotation *Rotation
}

// KeyState tells what a key can be used for at the moment.
type KeyState string

// The states. A provider's own that is none of them is [KeyUnavailable]: the key exists, and cannot be
// used now.
const (
	KeyEnabled         KeyState = "enabled"
	KeyDisabled        KeyState = "disabled"
	KeyPendingDeletion KeyState = "pending_deletion"
	KeyUnavailable     KeyState = "unavailable"
)

// Rotation is how a provider exchanges the material behind a key. What was wrapped before opens all the
// same, and stays under the old material until it is rewrapped.
type Rotation struct {
	// Every is the period of automatic rotation; 0 if there is none.
	Every time.Duration
	// NextAt is when it is due.
	NextAt time.Time
}
