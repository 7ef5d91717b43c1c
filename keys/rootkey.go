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
// development. Each provider is a package below this one, and passes keystest.RunRootKeyTests.
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
	// Unwrap is the reverse, under the same binding only. What unwraps to anything but 32 bytes was not
	// wrapped here: [ErrTampered]. The caller wipes it: no implementation keeps it.
	Unwrap(ctx context.Context, wrapped []byte, b Binding) (secret.Bytes, error)
	// Check tells whether the key could be used now; readiness asks it.
	Check(ctx context.Context) error
	// Describe asks the provider about the key, for people. A key that cannot be used is described
	// too, where the provider still tells of it.
	Describe(ctx context.Context) (Description, error)
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
	// Items are those of the key context that the KMS is told in clear, beside the digest, so that a key
	// policy can name them; none unless a CMK or a setting says so. They are bound like the rest: who
	// unwraps must say the same, so they have to follow from what stands in the record.
	Items map[string]string
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
