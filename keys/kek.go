package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/access"
	"culvert/internal/record"
)

// ID is a KEK's random key id (a UUIDv7 as text). It stays the same through rotations until the KEK is
// shredded.
type ID string

// KEKRecord is a KEK as stored: the Tink keyset sealed under HKDF of all shares, or a tombstone.
// Its fields in clear are bound by the seal's AAD; the store adds a MAC over its key and bytes.
//
// A tombstone keeps environment, key id, items and the time of creation, so that what was under it can
// still be told from what was tampered with and a permit can be completed; it has ShreddedAt, and
// neither shares nor keyset. No other mixture is a record.
type KEKRecord struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	KeyID       ID                   `cbor:"2,keyasint"`
	Items       map[string]string    `cbor:"3,keyasint"`
	CreatedAt   time.Time            `cbor:"4,keyasint"`
	Shares      []Share              `cbor:"5,keyasint,omitempty"`
	// Sealed is the keyset; empty in a tombstone.
	Sealed []byte `cbor:"6,keyasint,omitempty"`
	// ShreddedAt is set in a tombstone: it tells shredded from tampered.
	ShreddedAt time.Time `cbor:"7,keyasint,omitzero"`
	// Versions is how many keys the keyset has, RotatedAt when the newest of them was added, and Primary
	// its Tink key id, with which everything begins that was wrapped under it. All three are zero in a
	// KEK that was never rotated, and in a tombstone.
	Versions  int       `cbor:"8,keyasint,omitempty"`
	RotatedAt time.Time `cbor:"9,keyasint,omitzero"`
	Primary   uint32    `cbor:"10,keyasint,omitempty"`
}

// Context is the full key context the KEK is bound to.
func (r *KEKRecord) Context() Context { return newContext(r.Items) }

// check tells whether this is a record of that KEK, and a living one: [ErrTampered], [ErrShredded].
// It is cheap: every use of a KEK passes it, cached or not.
func (r *KEKRecord) check(env access.EnvironmentID, id ID) error {
	tombstone, rotated := !r.ShreddedAt.IsZero(), r.rotated()
	switch {
	case r.Environment != env, r.KeyID != id, tombstone != (len(r.Sealed) == 0), tombstone != (len(r.Shares) == 0),
		rotated && (tombstone || r.Versions < 2 || r.RotatedAt.IsZero() || r.Primary == 0):
		return ErrTampered
	case tombstone:
		return ErrShredded
	}
	return nil
}

// rotated reports that the keyset has more than the key it was made with.
func (r *KEKRecord) rotated() bool { return r.Versions != 0 || !r.RotatedAt.IsZero() || r.Primary != 0 }

// extendable reports that only the root key wraps the KEK. With a customer's key beside it the customer can
// take the KEK back, and an outage must not keep it from him.
func (r *KEKRecord) extendable() bool { return len(r.Shares) == 1 && r.Shares[0].Slot == RootSlot }

func (r *KEKRecord) scope() scope {
	return scope{env: r.Environment, id: string(r.KeyID), context: r.Context().Canonical()}
}

// kek is an unwrapped KEK, ready to wrap and unwrap. It is immutable.
type kek struct {
	env access.EnvironmentID
	id  ID
	// context is the canonical key context that the seal proved, not what anyone asked for.
	context string
	aead    tink.AEAD
	// cmks are the customers' keys that it takes to unwrap it, with their slots. A cache may hold on to it no
	// longer than they allow, whatever it does for others while a KMS is away.
	cmks []RootKeyRef
}

// newKEK makes a KEK and its record. Its keyset has one key: XAES-256-GCM, because a KEK wraps many
// keys for years and 96 random bits of nonce would not do.
//
// The KEK that is returned was opened from the record's stored form. A record that did not survive its
// own encoding would lose everything sealed under it, and nobody would know before the first read.
func newKEK(ctx context.Context, w wrappers, codec *record.Codec, r KEKRecord, cmks []RootKeyRef) (KEKRecord, *kek, error) {
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return KEKRecord{}, nil, fmt.Errorf("generate KEK: %w", err)
	}
	b, err := newBundle(ctx, w, r.scope(), cmks)
	if err != nil {
		return KEKRecord{}, nil, fmt.Errorf("wrap KEK %s: %w", r.KeyID, err)
	}
	defer b.forget()
	return b.settle(ctx, codec, r, h)
}

// settle seals a keyset into its record, and opens it again from the record's stored form.
func (b *bundle) settle(ctx context.Context, codec *record.Codec, r KEKRecord, h *keyset.Handle) (KEKRecord, *kek, error) {
	var err error
	r.Shares = b.shares
	if r.Sealed, err = b.seal(ctx, purposeKEK, h, r.aad()); err != nil {
		return KEKRecord{}, nil, fmt.Errorf("seal KEK %s: %w", r.KeyID, err)
	}
	back, err := asStored(codec, r)
	if err != nil {
		return KEKRecord{}, nil, fmt.Errorf("KEK %s: %w", r.KeyID, err)
	}
	opened, err := b.kek(ctx, &back)
	if err != nil {
		return KEKRecord{}, nil, fmt.Errorf("read back: %w", err)
	}
	return back, opened, nil
}

func (r *KEKRecord) aad() aad {
	c := r.Context().Canonical()
	if r.rotated() {
		return rotatedKEKAAD(r.Environment, r.KeyID, c, r.CreatedAt, r.Versions, r.RotatedAt, r.Primary)
	}
	return kekAAD(r.Environment, r.KeyID, c, r.CreatedAt)
}

// openKEK unwraps a record that passed its check: [ErrTampered], [ErrRefused], outage.Error.
func openKEK(ctx context.Context, w wrappers, r *KEKRecord) (*kek, error) {
	b, err := openBundle(ctx, w, r.scope(), r.Shares)
	if err != nil {
		return nil, fmt.Errorf("unwrap KEK %s: %w", r.KeyID, err)
	}
	defer b.forget()
	return b.kek(ctx, r)
}

// kek opens the keyset of a record under the shares at hand.
func (b *bundle) kek(ctx context.Context, r *KEKRecord) (*kek, error) {
	h, err := b.keyset(ctx, r)
	if err != nil {
		return nil, err
	}
	var opened tink.AEAD
	erased(func() { opened, err = aead.New(h) })
	if err != nil {
		return nil, ErrTampered
	}
	return &kek{env: r.Environment, id: r.KeyID, context: b.scope.context, aead: opened, cmks: r.cmkSlots()}, nil
}

// keyset opens the keyset of a record, and compares it with what the record says of it.
func (b *bundle) keyset(ctx context.Context, r *KEKRecord) (*keyset.Handle, error) {
	h, err := b.open(ctx, purposeKEK, r.Sealed, r.aad())
	if err != nil {
		return nil, fmt.Errorf("open KEK %s: %w", r.KeyID, err)
	}
	primary, err := h.Primary()
	if err != nil || h.Len() != max(r.Versions, 1) || r.rotated() && primary.KeyID() != r.Primary {
		return nil, fmt.Errorf("KEK %s: %w", r.KeyID, ErrTampered)
	}
	return h, nil
}

// asStored is a record as it comes back from its stored form.
func asStored[T any](codec *record.Codec, r T) (back T, err error) {
	stored, err := codec.Encode(&r)
	if err != nil {
		return back, err
	}
	return back, codec.Decode(stored, &back)
}
