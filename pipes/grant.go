package pipes

import (
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// GrantID is "grant_" and a ULID. It never changes, whatever happens to tokens and accounts, so it can
// name locks and attempts.
type GrantID string

// Grant is what a provider gave us, as stored: the tokens sealed, and in clear what is decided on, all
// of it bound by the seal's AAD. The store adds a MAC.
type Grant struct {
	ID          GrantID              `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Integration IntegrationID        `cbor:"3,keyasint"`
	// Generation counts refreshes and reconnects. It is the fence of every write: a newer one wins, and
	// a write that only touches other fields keeps it.
	Generation uint64 `cbor:"4,keyasint"`
	// Items are the key context: {organization_id} where the account has one, else empty. Never per
	// user, or ten thousand due accounts were ten thousand calls to a KMS.
	Items map[string]string `cbor:"5,keyasint,omitempty"`
	KeyID keys.ID           `cbor:"6,keyasint"`
	// WrappedDEK and Sealed hold the tokens (keys.GrantTokens).
	WrappedDEK []byte `cbor:"7,keyasint"`
	Sealed     []byte `cbor:"8,keyasint"`
	// Origin is that of the token endpoint the refresh token may be sent to.
	Origin string `cbor:"9,keyasint"`
	// ExpiresAt is the access token's; zero if it does not end.
	ExpiresAt        time.Time `cbor:"10,keyasint,omitzero"`
	RefreshExpiresAt time.Time `cbor:"11,keyasint,omitzero"`
	// ObtainedAt is when this generation's tokens were issued: margins are parts of their lifetime.
	ObtainedAt time.Time `cbor:"12,keyasint"`
	// Refreshable is false where there is no refresh token.
	Refreshable bool `cbor:"13,keyasint,omitempty"`
	// Dead is set once the provider has said so definitely; Reason is its kind.
	Dead   bool   `cbor:"14,keyasint,omitempty"`
	Reason string `cbor:"15,keyasint,omitempty"`
	// TokenMAC is the keyed hash of the refresh token: the same refresh token is the same grant.
	TokenMAC []byte `cbor:"16,keyasint,omitempty"`
	// Accounts point to this grant: nearly always one. At most [MaxGrantAccounts], so that what happens
	// to the grant happens to all of them in one transaction.
	Accounts []AccountID `cbor:"17,keyasint,omitempty"`
}

// MaxGrantAccounts bounds how many accounts share a grant.
const MaxGrantAccounts = 16

// Attempt is a refresh under way, as stored at the grant's id. It has no lease: it must outlive a crash
// of its owner. The protocol that writes it comes with the journal; its form is settled.
type Attempt struct {
	Grant      GrantID   `cbor:"1,keyasint"`
	Generation uint64    `cbor:"2,keyasint"`
	TokenMAC   []byte    `cbor:"3,keyasint"`
	ID         string    `cbor:"4,keyasint"`
	Owner      string    `cbor:"5,keyasint"` // node id
	Sends      int       `cbor:"6,keyasint"`
	Ambiguous  bool      `cbor:"7,keyasint,omitempty"`
	At         time.Time `cbor:"8,keyasint"`
}
