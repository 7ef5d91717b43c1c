package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/internal/secret"
)

// RootKey wraps shares: a key in a KMS or HSM which never leaves it, or a local key file for
// development. Each provider is a package below this one.
//
// All methods are safe for concurrent use and honour the deadline of their context. Their errors are
//   - one that wraps [ErrRefused], if the key says no for good: disabled, destroyed, access denied;
//   - one that wraps [ErrTampered], if the key is there and what is to be unwrapped is not its own, or
//     was wrapped under another [Binding];
//   - an outage.Error of dependency root_key otherwise.
//
// No error repeats what a KMS answered: its messages may echo the plaintext.
type RootKey interface {
	// URI names the key for as long as it exists; [Share] records it.
	URI() string
	// Wrap encrypts a share of 32 bytes under the binding.
	Wrap(ctx context.Context, share secret.Bytes, b Binding) ([]byte, error)
	// Unwrap is the reverse, under the same binding only.
	Unwrap(ctx context.Context, wrapped []byte, b Binding) (secret.Bytes, error)
	// Check tells whether the key could be used now; readiness asks it.
	Check(ctx context.Context) error
}

// Binding says what a share is for. It is the encryption context of a KMS, which logs it, or the AAD
// of a key that has no such thing ([Binding.AssociatedData]).
type Binding struct {
	Environment access.EnvironmentID
	// KEK is the key id, or "environment" for the keysets of an environment itself.
	KEK string
	// ContextDigest is hex SHA-256 over the domain and the canonical key context: contexts may hold
	// ids of people and do not belong into a KMS's log.
	ContextDigest string
	// Slot is that of the [Share].
	Slot string
}

// rootTimeout bounds one call of a root key. It is shorter than a client's patience, and longer than
// a KMS takes when it is well.
const rootTimeout = 5 * time.Second

// rootError brings whatever a provider returned into the three forms that [RootKey] promises. An
// error of any other form keeps only its type: the text might hold what it must not.
func rootError(root RootKey, err error) error {
	switch {
	case errors.Is(err, ErrRefused), errors.Is(err, ErrTampered), outage.Of(err) != nil:
		return fmt.Errorf("root key %s: %w", root.URI(), err)
	}
	return &outage.Error{
		Dependency: outage.RootKey,
		Cause:      fmt.Errorf("root key %s: %T", root.URI(), err),
	}
}
