package keys

import (
	"cmp"
	"slices"
	"strings"

	"culvert/internal/access"
)

const (
	// ShareSize is that of the key the shares make: one share alone is as strong as all.
	ShareSize = 32
	// maxShares is the root key's and one for each item of a context: a record with more was not
	// made here, and must not make this server call a KMS for each.
	maxShares = 1 + MaxContextItems
)

// RootSlot is the slot of the share that the root key wraps; a CMK's slot is its context item.
const RootSlot = "root"

// Share is one random 32-byte share, wrapped by one root key or CMK. All shares of a record are
// needed to open what they seal. A record keeps them in bytewise order of their slots, no slot twice.
type Share struct {
	// Slot is [RootSlot], or the context item whose CMK wraps this share.
	Slot string `cbor:"1,keyasint"`
	// KeyURI names the wrapping key, as [RootKey.URI].
	KeyURI string `cbor:"2,keyasint"`
	// Wrapped is what the root key made of the share.
	Wrapped []byte `cbor:"3,keyasint"`
}

// RootKeyRef names a root key or CMK, and the slot of the share that it wraps.
type RootKeyRef struct{ Slot, URI string }

func (s *Share) ref() RootKeyRef { return RootKeyRef{Slot: s.Slot, URI: s.KeyURI} }

func bySlot(a, b RootKeyRef) int { return cmp.Compare(a.Slot, b.Slot) }

// slot is that of the CMK of an item. A name has no equals sign, so no two items have one slot, and none is
// [RootSlot].
func (i Item) slot() string { return i.Name + "=" + i.Value }

// slotItem is the item that a slot is of.
func slotItem(slot string) (Item, bool) {
	name, value, ok := strings.Cut(slot, "=")
	return Item{Name: name, Value: value}, ok && name != ""
}

func isRoot(s Share) bool { return s.Slot == RootSlot }

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
