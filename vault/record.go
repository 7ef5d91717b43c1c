package vault

import (
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// Header is an object as stored, but for its ciphertexts, which stand once each at version keys of
// their own, so that lists and rewraps never load values. The store adds a MAC over its key and bytes.
type Header struct {
	ID          ObjectID             `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Name        string               `cbor:"3,keyasint"`
	Items       map[string]string    `cbor:"4,keyasint"`
	KeyID       keys.ID              `cbor:"5,keyasint"`
	CreatedAt   time.Time            `cbor:"6,keyasint"`
	// Versions are the kept ones, newest first; the first is the current one.
	Versions []VersionHeader `cbor:"7,keyasint"`
	// context is that of the items once [Header.Prepare] has made it; it is immutable.
	context *keys.Context
}

// VersionHeader is what the header knows of one version.
type VersionHeader struct {
	ID VersionID `cbor:"1,keyasint"`
	// Sequence counts the versions of an object from 1; it places the version's key.
	Sequence  uint64    `cbor:"2,keyasint"`
	CreatedAt time.Time `cbor:"3,keyasint"`
	Author    Author    `cbor:"4,keyasint"`
	// WrappedDEK is the version's data key under the KEK: rewrap changes only this, re-encrypt all three.
	WrappedDEK []byte `cbor:"5,keyasint"`
	ETag       string `cbor:"6,keyasint"`
	Size       int    `cbor:"7,keyasint"`
	// ReencryptedAt is when the job was made that sealed it again, so that the job knows what it has done.
	ReencryptedAt time.Time `cbor:"8,keyasint,omitzero"`
}

// Current is the newest version. Every stored header has one.
func (h *Header) Current() *VersionHeader { return &h.Versions[0] }

// UpdatedAt is when the current version was made.
func (h *Header) UpdatedAt() time.Time { return h.Current().CreatedAt }

// Bytes is what the kept versions take, as sealed.
func (h *Header) Bytes() int64 {
	var n int64
	for i := range h.Versions {
		n += int64(h.Versions[i].Size)
	}
	return n
}

// Binding is what the seal of a version proves: everything of it that is answered or decided on.
func (h *Header) Binding(v *VersionHeader) keys.ObjectBinding {
	return keys.ObjectBinding{
		ObjectID:   string(h.ID),
		Name:       h.Name,
		VersionID:  string(v.ID),
		Sequence:   v.Sequence,
		CreatedAt:  h.CreatedAt,
		UpdatedAt:  v.CreatedAt,
		AuthorID:   v.Author.ID,
		AuthorName: v.Author.Name,
	}
}

// Context is the key context the object was created under. The items were checked then and are covered
// by the header's MAC and by every version's seal, so they are not checked again.
func (h *Header) Context() keys.Context {
	if h.context == nil {
		return (&keys.KEKRecord{Items: h.Items}).Context()
	}
	return *h.context
}

// Prepare is called by the store before readers share a header: each of them asks for its context, and
// to sort its items anew would cost a read more than its JSON.
func (h *Header) Prepare() {
	c := (&keys.KEKRecord{Items: h.Items}).Context()
	h.context = &c
}

// Request is the record of an Idempotency-Key: enough to give the first answer again, and nothing
// that is secret.
type Request struct {
	// BodyMAC is a keyed hash of the body; another body under the same key is refused.
	BodyMAC []byte `cbor:"1,keyasint"`
	// Status and the ids below are those of the first answer.
	Status    int       `cbor:"2,keyasint"`
	ObjectID  ObjectID  `cbor:"3,keyasint"`
	VersionID VersionID `cbor:"4,keyasint"`
	KeyID     keys.ID   `cbor:"5,keyasint"`
	At        time.Time `cbor:"6,keyasint"`
	Author    Author    `cbor:"7,keyasint"`
}
