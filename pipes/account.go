package pipes

import (
	"time"

	"culvert/internal/access"
)

// AccountID is "data_installation_" and a ULID.
type AccountID string

// State of a connected account (contract section 2.1). OAuth's own "state" is always called flow state.
type State string

// The states. A disconnected account's record is gone; the word stands in its last event only.
const (
	Connected            State = "connected"
	NeedsReauthorization State = "needs_reauthorization"
)

// Owner is whom an account belongs to: one user, or one organization. User and organization ids are the
// caller's own opaque strings. An account of a user within an organization and one of the same user
// without are two.
type Owner struct {
	Kind         Ownership `cbor:"1,keyasint"`
	User         string    `cbor:"2,keyasint,omitempty"` // empty for an organization's account
	Organization string    `cbor:"3,keyasint,omitempty"` // may be empty for a user's
}

// Account is one owner's link to one integration, as stored. The store adds a MAC. Its tokens are in
// its grant, a record of its own.
type Account struct {
	ID          AccountID            `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Integration IntegrationID        `cbor:"3,keyasint"`
	Slug        string               `cbor:"4,keyasint"`
	Owner       Owner                `cbor:"5,keyasint"`
	// Standard is true for a further connection; the first one fills the compatibility slot, which
	// clients that know of one connection see (contract section 2.3).
	Standard bool       `cbor:"6,keyasint,omitempty"`
	Method   AuthMethod `cbor:"7,keyasint"`
	State    State      `cbor:"8,keyasint"`
	// Reason says why an account needs reauthorization: "revoked", "imported_without_tokens", …
	Reason string `cbor:"9,keyasint,omitempty"`
	// Identifier and DisplayName are the provider's, for correlation, never selectors.
	Identifier  string            `cbor:"10,keyasint,omitempty"`
	DisplayName string            `cbor:"11,keyasint,omitempty"`
	Scopes      []string          `cbor:"12,keyasint,omitempty"`
	Config      map[string]string `cbor:"13,keyasint,omitempty"`
	Grant       GrantID           `cbor:"14,keyasint,omitempty"` // empty: no tokens
	CreatedAt   time.Time         `cbor:"15,keyasint"`
	UpdatedAt   time.Time         `cbor:"16,keyasint"`
}

// Connections are the accounts of one owner at one provider: where a lookup by owner begins.
type Connections struct {
	Owner Owner  `cbor:"1,keyasint"`
	Slug  string `cbor:"2,keyasint"`
	// Compatibility is empty if that slot is free.
	Compatibility AccountID   `cbor:"3,keyasint,omitempty"`
	Standard      []AccountID `cbor:"4,keyasint,omitempty"`
}
