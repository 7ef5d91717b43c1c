package keys

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"culvert/internal/events"
)

// A CMK is a customer's own key: it wraps a share of every KEK whose context has its item, beside the root
// key's. The map says which items have one. Every KEK that is made compares the map's revision in the
// transaction that stores it, and every change of a KEK's slots does too, so that none is under other keys
// than the map said at that moment.

// CMKID is a UUIDv7 as text.
type CMKID string

// CMKState is where a CMK stands. KEKs that are made are under it in every state but the last.
type CMKState string

// The states of a CMK. A job that was cancelled or failed leaves it as it is: attaching or detaching it
// again goes on.
const (
	// CMKAttaching: KEKs that were there before may not be under it yet.
	CMKAttaching CMKState = "attaching"
	// CMKAttached: every KEK whose context has the item is under it.
	CMKAttached CMKState = "attached"
	// CMKDetaching: KEKs that were there before may not be under it any more.
	CMKDetaching CMKState = "detaching"
	// CMKReleased: nothing new is under it, and its job looks for what was made before it knew.
	CMKReleased CMKState = "released"
)

// CMK is a customer's key and the context item that it applies to.
type CMK struct {
	ID   CMKID `cbor:"1,keyasint"`
	Item Item  `cbor:"2,keyasint"`
	// KeyURI names the key, as [RootKey.URI].
	KeyURI string   `cbor:"3,keyasint"`
	State  CMKState `cbor:"4,keyasint"`
	// Job attaches or detaches it, or did last.
	Job       JobID     `cbor:"5,keyasint"`
	CreatedAt time.Time `cbor:"6,keyasint"`
	// AttachedAt is when every KEK was under it: what a backup from before holds may open without it.
	AttachedAt time.Time `cbor:"7,keyasint,omitzero"`
}

// slot is that of the shares the key wraps.
func (c *CMK) slot() string { return c.Item.slot() }

// ref is what the shares of the key say of it.
func (c *CMK) ref() RootKeyRef { return RootKeyRef{Slot: c.slot(), URI: c.KeyURI} }

// Provider names what has the key, as events say it.
func (c *CMK) Provider() string {
	switch scheme, _, _ := strings.Cut(c.KeyURI, ":"); scheme {
	case "awskms":
		return "AWS_KMS"
	case "pkcs11":
		return "PKCS11"
	}
	return "LOCAL"
}

// CMKMap is the CMKs of one environment, as stored. The store adds a MAC. It is immutable but for what its
// owner is about to store.
type CMKMap struct {
	// CMKs are in order of their ids; no two have one item.
	CMKs []CMK `cbor:"1,keyasint"`
	// byItem is worked out once for all who read the map.
	byItem map[Item]int
}

const (
	// MaxCMKs bounds the CMKs of an environment.
	MaxCMKs = 1000
	// maxCMKBytes bounds the map, which is one record.
	maxCMKBytes = 1 << 20
)

// Prepare makes the map ready to be looked up in; the store calls it once it has read one.
func (m *CMKMap) Prepare() {
	m.byItem = make(map[Item]int, len(m.CMKs))
	for i := range m.CMKs {
		m.byItem[m.CMKs[i].Item] = i
	}
}

// of finds the CMK of an item; nil if it has none.
func (m *CMKMap) of(item Item) *CMK {
	if i, ok := m.byItem[item]; ok {
		return &m.CMKs[i]
	}
	return nil
}

// find is by id; nil if there is none.
func (m *CMKMap) find(id CMKID) *CMK {
	for i := range m.CMKs {
		if m.CMKs[i].ID == id {
			return &m.CMKs[i]
		}
	}
	return nil
}

// with is the map with a CMK put in, in place of the one of that id.
func (m *CMKMap) with(c CMK) CMKMap {
	next := m.without(c.ID)
	next.CMKs = append(next.CMKs, c)
	slices.SortFunc(next.CMKs, func(a, b CMK) int { return cmp.Compare(a.ID, b.ID) })
	return next
}

func (m *CMKMap) without(id CMKID) CMKMap {
	return CMKMap{CMKs: slices.DeleteFunc(slices.Clone(m.CMKs), func(c CMK) bool { return c.ID == id })}
}

// full reports that nothing more fits in.
func (m *CMKMap) full() bool {
	const each = 200 // ids, times and framing
	size := 0
	for _, c := range m.CMKs {
		size += each + len(c.Item.Name) + len(c.Item.Value) + len(c.KeyURI)
	}
	return len(m.CMKs) > MaxCMKs || size > maxCMKBytes
}

// slots are those of a KEK that is made for a context, in slot order, but for the root key's: the CMKs of
// its items.
func (m *CMKMap) slots(c Context) []RootKeyRef {
	if len(m.CMKs) == 0 {
		return nil
	}
	var refs []RootKeyRef
	for name, value := range c.All() {
		if found := m.of(Item{Name: name, Value: value}); found != nil && found.State != CMKReleased {
			refs = append(refs, found.ref())
		}
	}
	slices.SortFunc(refs, bySlot)
	return refs
}

// cmkSlots are the slots of a record but for the root key's.
func (r *KEKRecord) cmkSlots() []RootKeyRef { return r.slotsWithout(RootSlot) }

// under reports that the record needs that key in that slot.
func (r *KEKRecord) under(ref RootKeyRef) bool {
	return slices.ContainsFunc(r.Shares, func(s Share) bool { return s.Slot == ref.Slot && s.KeyURI == ref.URI })
}

// slotsWith are the slots of CMKs with one more, which takes the place of another key's.
func (r *KEKRecord) slotsWith(ref RootKeyRef) []RootKeyRef {
	refs := append(r.slotsWithout(ref.Slot), ref)
	slices.SortFunc(refs, bySlot)
	return refs
}

// slotsWithout are the slots of CMKs but for one.
func (r *KEKRecord) slotsWithout(slot string) []RootKeyRef {
	var refs []RootKeyRef
	for i := range r.Shares {
		if s := &r.Shares[i]; s.Slot != RootSlot && s.Slot != slot {
			refs = append(refs, s.ref())
		}
	}
	return refs
}

// Fits reports whether a living KEK is under the CMKs that the map says, as each is at every moment: under those
// that are attached, and under none that is not in the map. A job may be about to change the others.
func (m *CMKMap) Fits(r *KEKRecord) bool {
	for name, value := range r.Items {
		if c := m.of(Item{Name: name, Value: value}); c != nil && c.State == CMKAttached && !r.under(c.ref()) {
			return false
		}
	}
	return !slices.ContainsFunc(r.cmkSlots(), func(ref RootKeyRef) bool {
		item, ok := slotItem(ref.Slot)
		return !ok || m.of(item) == nil
	})
}

// CMKChange is a change of the map with that of the job that is about it, in one transaction.
type CMKChange struct {
	// Map takes the place of the one at MapRevision (0: there must be none); nil leaves the map alone.
	Map         *CMKMap
	MapRevision int64
	// Job takes the place of the one at JobRevision (0: there must be none).
	Job         *Job
	JobRevision int64
	Events      []events.Event
}

// byokVerified and byokDeleted are the data objects of the contract's events (section 3). cmk_id is our own:
// an item that is not an organization has no place in the contract's.
type byokVerified struct {
	OrganizationID string `json:"organization_id"`
	KeyProvider    string `json:"key_provider"`
	Verified       bool   `json:"verified"`
	CMKID          CMKID  `json:"cmk_id"`
}

type byokDeleted struct {
	OrganizationID string `json:"organization_id"`
	KeyProvider    string `json:"key_provider"`
	CMKID          CMKID  `json:"cmk_id"`
}

// organizationItem is the name of the item that tells whose key it is.
const organizationItem = "organization_id"

func (c *CMK) organization() string {
	if c.Item.Name == organizationItem {
		return c.Item.Value
	}
	return ""
}

func (c *CMK) verified(ok bool, at time.Time, meta SealMeta) (events.Event, error) {
	return newEvent(events.BYOKVerified, byokVerified{c.organization(), c.Provider(), ok, c.ID}, at, meta)
}

func (c *CMK) deleted(at time.Time, meta SealMeta) (events.Event, error) {
	return newEvent(events.BYOKDeleted, byokDeleted{c.organization(), c.Provider(), c.ID}, at, meta)
}

// Errors of CMKs.
var (
	// ErrNoCMK means that the caller named a CMK that is not there.
	ErrNoCMK = errors.New("keys: no such CMK")
	// ErrCMKExists means that the item has a CMK.
	ErrCMKExists = errors.New("keys: the context item has a CMK")
	// ErrCMKBusy means that a job of this CMK waits or runs.
	ErrCMKBusy = errors.New("keys: a job of this CMK has not ended")
	// ErrTooManyCMKs means that an environment has as many as it may have.
	ErrTooManyCMKs = errors.New("keys: too many CMKs")
)
