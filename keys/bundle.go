package keys

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/secret"
)

// purpose tells apart the keysets that the same shares may seal.
type purpose string

const (
	purposeKEK     purpose = "kek"
	purposeMAC     purpose = "mac"
	purposeIndex   purpose = "index"
	purposePepper  purpose = "pepper"
	purposeSigning purpose = "signing"
)

// bundle is a set of shares, unwrapped: what seals and opens keysets. It lives for one operation.
type bundle struct {
	scope  scope
	shares []Share
	// material is all shares one behind the other, in slot order.
	material []byte
}

// newBundle makes fresh shares, one per slot, each wrapped by its key: that of slot root by the current root
// key, the others by those CMKs.
func newBundle(ctx context.Context, w wrappers, s scope, cmks []RootKeyRef) (*bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	refs := w.slots(cmks)
	made, wrapped := make([][]byte, len(refs)), make([]Share, len(refs))
	if err := sideBySide(len(refs), func(i int) (err error) {
		wrapped[i] = Share{Slot: refs[i].Slot, KeyURI: refs[i].URI}
		wrapped[i].Wrapped, made[i], err = w.wrap(ctx, s, refs[i])
		return err
	}); err != nil {
		return nil, err
	}
	if err := checkSlots(s, wrapped); err != nil {
		return nil, errors.New("keys: a CMK of another context")
	}
	b := &bundle{scope: s, shares: wrapped, material: bytes.Join(made, nil)}
	for _, share := range made {
		clear(share)
	}
	return b, nil
}

// openBundle unwraps all shares of a record. What the record says is not believed before the keyset
// has opened, so its shape is checked first: slots in strictly rising order, the root's among them, and no
// others than the context has items. The root's may be under any root key at hand.
func openBundle(ctx context.Context, w wrappers, s scope, shares []Share) (*bundle, error) {
	if err := checkSlots(s, shares); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	opened := make([]secret.Bytes, len(shares))
	if err := sideBySide(len(shares), func(i int) (err error) {
		opened[i], err = w.unwrap(ctx, s, &shares[i])
		return err
	}); err != nil {
		return nil, err
	}
	b := &bundle{scope: s, shares: shares, material: make([]byte, 0, ShareSize*len(shares))}
	for _, share := range opened {
		b.material = append(b.material, share.Reveal()...)
		share.Wipe()
	}
	return b, nil
}

// forget wipes the material. What Tink and the runtime copied of it stays until it is collected, or see [erased].
func (b *bundle) forget() { clear(b.material) }

// key is the AEAD that all shares together make for one purpose. The shares are uniformly random, so
// HKDF needs no salt; the info keeps purposes, places and sets of slots apart.
func (b *bundle) key(p purpose) (tink.AEADWithContext, error) {
	derived, err := hkdf.Key(sha256.New, b.material, nil, string(shareInfo(p, b.scope, b.shares)), ShareSize)
	if err != nil {
		return nil, fmt.Errorf("derive keyset key: %w", err)
	}
	defer clear(derived)
	key, err := newAEAD(derived)
	if err != nil {
		return nil, err
	}
	return localAEAD{key}, nil
}

// seal is the stored form of a keyset.
func (b *bundle) seal(ctx context.Context, p purpose, h *keyset.Handle, a aad) ([]byte, error) {
	key, err := b.key(p)
	if err != nil {
		return nil, err
	}
	var out sealedKeyset
	erased(func() { err = h.WriteWithContext(ctx, &out, key, a) })
	if err != nil {
		return nil, fmt.Errorf("seal %s keyset: %w", p, err)
	}
	return out, nil
}

// open is the reverse. The error is [ErrTampered].
func (b *bundle) open(ctx context.Context, p purpose, sealed []byte, a aad) (*keyset.Handle, error) {
	key, err := b.key(p)
	if err != nil {
		return nil, err
	}
	in := sealedKeyset(sealed)
	var h *keyset.Handle
	erased(func() { h, err = keyset.ReadWithContext(ctx, &in, key, a) })
	if err != nil {
		return nil, ErrTampered
	}
	return h, nil
}

// localAEAD adapts a key in memory to the interface of keysets: nothing in it can block.
type localAEAD struct{ tink.AEAD }

func (l localAEAD) EncryptWithContext(_ context.Context, plaintext, associated []byte) ([]byte, error) {
	return l.Encrypt(plaintext, associated)
}

func (l localAEAD) DecryptWithContext(_ context.Context, ciphertext, associated []byte) ([]byte, error) {
	return l.Decrypt(ciphertext, associated)
}

// sealedKeyset is the bare ciphertext of a keyset, as keyset.Reader and keyset.Writer. Tink's own
// containers put a description of the keys beside it, in clear and under no tag: a place that a writer
// of etcd could edit without being noticed.
type sealedKeyset []byte

var (
	_ keyset.Writer = (*sealedKeyset)(nil)
	_ keyset.Reader = (*sealedKeyset)(nil)

	errCleartext = errors.New("keys: a keyset is never stored in clear")
)

// WriteEncrypted implements [keyset.Writer].
func (s *sealedKeyset) WriteEncrypted(k *tinkpb.EncryptedKeyset) error {
	*s = k.GetEncryptedKeyset()
	return nil
}

// ReadEncrypted implements [keyset.Reader].
func (s *sealedKeyset) ReadEncrypted() (*tinkpb.EncryptedKeyset, error) {
	return &tinkpb.EncryptedKeyset{EncryptedKeyset: *s}, nil
}

// Write implements [keyset.Writer] by refusing.
func (s *sealedKeyset) Write(*tinkpb.Keyset) error { return errCleartext }

// Read implements [keyset.Reader] by refusing.
func (s *sealedKeyset) Read() (*tinkpb.Keyset, error) { return nil, errCleartext }
