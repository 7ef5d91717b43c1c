package access

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/internal/secret"
)

// ErrNoKey means that no API key record stands at that id.
var ErrNoKey = errors.New("access: no such API key")

// KeyRecord is an API key as stored. The store adds a MAC over its etcd key and bytes: a writer of
// etcd can neither make a key nor raise a role. A key id has one secret for ever; a key is replaced,
// never given another secret.
type KeyRecord struct {
	ID          string        `cbor:"1,keyasint"`
	Environment EnvironmentID `cbor:"2,keyasint"`
	// Name is the label that answers and audit records show.
	Name string `cbor:"3,keyasint"`
	Role Role   `cbor:"4,keyasint"`
	// Hash is the peppered HMAC of the key's whole text ([Peppers]): a reader of etcd or of a backup
	// cannot test guesses against it.
	Hash      []byte    `cbor:"5,keyasint"`
	CreatedAt time.Time `cbor:"6,keyasint"`
	// RevokedAt, once set, ends the key whatever the time is: clocks do not bring it back.
	RevokedAt time.Time `cbor:"7,keyasint,omitzero"`
	// ExpiresAt is the first moment at which the key no longer works; zero means never.
	ExpiresAt time.Time `cbor:"8,keyasint,omitzero"`
	// Permissions are further actions that the key allows. What is no action of this program is the owner's
	// own: it is kept, told, and allows nothing here.
	Permissions []string `cbor:"9,keyasint,omitempty"`
	// Organization owns the key: whatever the role says, it reaches what is of this organization alone.
	Organization string `cbor:"10,keyasint,omitempty"`
	// Scope narrows the role.
	Scope Scope `cbor:"11,keyasint,omitzero"`
	// CreatedBy is the id of the actor who made the key; empty for a store's first one.
	CreatedBy string `cbor:"12,keyasint,omitempty"`
	// UpdatedAt is the time of the last change; zero if there was none.
	UpdatedAt time.Time `cbor:"13,keyasint,omitzero"`
	// Predecessor is the key that this one was made to replace, Successor the one that replaces it.
	Predecessor string `cbor:"14,keyasint,omitempty"`
	Successor   string `cbor:"15,keyasint,omitempty"`
	// Last4 are the last characters of the key's text, which are of its checksum: people tell keys apart by them.
	Last4 string `cbor:"16,keyasint,omitempty"`
}

// Usable tells whether the record allows anything at all at a moment.
func (r *KeyRecord) Usable(now time.Time) bool {
	return r.RevokedAt.IsZero() && (r.ExpiresAt.IsZero() || now.Before(r.ExpiresAt))
}

// Unlimited tells a key that may everything in its environment.
func (r *KeyRecord) Unlimited() bool {
	return r.Role == RoleAdmin && r.Organization == "" && r.Scope.IsZero()
}

// policy is what the record allows, with the rules of its role.
func (r *KeyRecord) policy(role []Rule) *policy {
	p := &policy{rules: role}
	var actions []Action
	for _, text := range r.Permissions {
		if a := Action(text); a != Every && IsAction(a) {
			actions = append(actions, a)
		}
	}
	if len(actions) > 0 {
		p.rules = append(slices.Clone(role), Rule{Effect: Allow, Actions: actions})
	}
	for _, s := range []Scope{r.Scope, {Organization: r.Organization}} {
		if !s.IsZero() {
			p.scopes = append(p.scopes, s)
		}
	}
	return p
}

// KeyStore finds API key records and roles. internal/etcd implements it from a watch-fed cache: both are
// a memory look-up in the usual case. All methods are safe for concurrent use and block for at most
// five seconds.
type KeyStore interface {
	// APIKey returns the record and its revision, as this replica knows it: after a Fence that is at
	// least what was acknowledged anywhere before the Fence began. [ErrNoKey] if there is none, an
	// outage.Error if that cannot be known; any other error is a record whose integrity failed, and
	// the caller treats it as absent.
	APIKey(ctx context.Context, env EnvironmentID, keyID string) (KeyRecord, int64, error)
	// Role returns a role of the environment in the same way. [ErrNoRole] if there is none.
	Role(ctx context.Context, env EnvironmentID, name Role) (RoleRecord, int64, error)
	// Fence waits until this replica has seen every write acknowledged before the call. Its error is
	// an outage.Error, or context.Canceled of a caller who left.
	Fence(ctx context.Context) error
}

// Peppers hashes an API key's text under the environment's pepper, which no store ever sees in clear.
type Peppers interface {
	// Pepper is deterministic and works in memory. It fails if the environment is not known here.
	Pepper(env EnvironmentID, apiKey secret.Bytes) ([]byte, error)
}
