package keys

import "time"

// Holder is a record that holds wrapped DEKs, as a store finds it on its walk through all of them: the
// header of an object with all its versions, a grant or one that waits for its revocation, an integration
// with a client secret, also one that was removed and is kept for that. What flows hold is not among them,
// PKCE verifiers and waiting tokens, because it is of use for minutes.
type Holder struct {
	// Key names the record and is the walk's cursor.
	Key      string
	Revision int64
	// DEKs are in the order of the record.
	DEKs []HeldDEK
	// Record is the store's own: what it needs to put the DEKs back.
	Record any
	// Err is set instead of the DEKs for a record that failed its integrity check.
	Err error
}

// at finds the DEK at a place; -1 if it is not there.
func (h *Holder) at(place string) int {
	for i := range h.DEKs {
		if h.DEKs[i].Place == place {
			return i
		}
	}
	return -1
}

// HeldDEK is one DEK of a [Holder].
type HeldDEK struct {
	KeyID   ID
	Wrapped []byte
	// Place tells it from the others of its record, for as long as it is the DEK of one value.
	Place string
	// Binding is what the DEK and the value that it seals are bound to, and SealedAt when that was made.
	Binding  DEKBinding
	SealedAt time.Time
	// ReencryptedAt is when the job was made that sealed it again; zero if none did.
	ReencryptedAt time.Time
}

// DEKBinding is [ObjectBinding], [GrantBinding], [ClientSecretBinding], [VerifierBinding] or
// [WaitingBinding].
type DEKBinding interface {
	bind(with *kek) (value, dek aad)
}
