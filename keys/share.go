package keys

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/access"
	"culvert/internal/secret"
)

const (
	// ShareSize is that of the key the shares make: one share alone is as strong as all.
	ShareSize = 32
	// maxShares is the root key's and one for each item of a context: a record with more was not
	// made here, and must not make this server call a KMS for each.
	maxShares = 1 + MaxContextItems
)

// purpose tells apart the keysets that the same shares may seal.
type purpose string

const (
	purposeKEK    purpose = "kek"
	purposeMAC    purpose = "mac"
	purposeIndex  purpose = "index"
	purposePepper purpose = "pepper"
)

// scope is what a set of shares belongs to: a KEK, or an environment (then id is environmentScope and
// context is empty).
type scope struct {
	env     access.EnvironmentID
	id      string
	context string
}

// environmentScope stands where a KEK's scope has its key id. It is no UUID, so the two never meet.
const environmentScope = "environment"

// binding is what a share is bound to in its slot. A CMK is told its item in clear, so that its policy can
// ask for it.
func (s scope) binding(slot string) Binding {
	b := Binding{Environment: s.env, KEK: s.id, ContextDigest: contextDigest(s.context), Slot: slot}
	if item, ok := slotItem(slot); ok && slot != RootSlot {
		b.Items = map[string]string{item.Name: item.Value}
	}
	return b
}

// has reports that a slot can be one of this scope: the root key's, or that of an item of the context.
func (s scope) has(slot string) bool {
	if slot == RootSlot {
		return true
	}
	item, ok := slotItem(slot)
	for name, value := range (Context{canonical: s.context}).All() {
		if ok && item == (Item{Name: name, Value: value}) {
			return true
		}
	}
	return false
}

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

// unwrap asks the key that a share is under.
func (rs *RootKeys) unwrap(ctx context.Context, s scope, share *Share) (secret.Bytes, error) {
	root, err := rs.Key(ctx, share.KeyURI)
	if err != nil {
		return secret.Bytes{}, err
	}
	opened, err := root.Unwrap(ctx, share.Wrapped, s.binding(share.Slot))
	if err != nil {
		return secret.Bytes{}, rootError(root, err)
	}
	if opened.Len() != ShareSize {
		return secret.Bytes{}, ErrTampered
	}
	return opened, nil
}

// forget wipes the material. What Tink and the runtime copied of it stays until it is collected, or see [erased].
func (b *bundle) forget() { clear(b.material) }

// checkSlots holds the slot order, which HKDF goes by: bytewise, no slot twice.
func checkSlots(s scope, shares []Share) error {
	if len(shares) == 0 || len(shares) > maxShares {
		return ErrTampered
	}
	hasRoot := false
	for i := range shares {
		if i > 0 && shares[i-1].Slot >= shares[i].Slot || !s.has(shares[i].Slot) {
			return ErrTampered
		}
		hasRoot = hasRoot || shares[i].Slot == RootSlot
	}
	if !hasRoot {
		return ErrTampered
	}
	return nil
}

// rootURI is the root key that the share of slot root is under; empty if there is none.
func rootURI(shares []Share) string {
	if i := slices.IndexFunc(shares, isRoot); i >= 0 {
		return shares[i].KeyURI
	}
	return ""
}

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
