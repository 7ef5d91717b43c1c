package admission

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// Store keeps API keys and roles. internal/etcd implements it.
//
// Reads are from memory in the usual case and reflect at least what was acknowledged anywhere before the last
// Fence; what they return is shared and must not be changed. A change is one transaction with its events:
// all of it is durable, and visible here, when the method returns nil, or none of it happened, except for an
// outage of kind Unknown. Any method may return an outage.Error.
type Store interface {
	access.KeyStore
	trail.Requests
	// APIKeys are all of an environment, in order of their ids. Those whose records are not what was stored are
	// left out; broken are their ids.
	APIKeys(ctx context.Context, env access.EnvironmentID) (all []KeyAt, broken []string, err error)
	// ChangeAPIKeys carries out a change. [ErrConflict] if something of it is not what the change says.
	ChangeAPIKeys(ctx context.Context, c KeyChange) error

	// LastUse is when a key was used last, zero if that was never written down. [ErrTampered].
	LastUse(ctx context.Context, env access.EnvironmentID, keyID string) (time.Time, error)
	// PutLastUse writes it down unless something as new stands there. Nobody is told if another replica was
	// faster.
	PutLastUse(ctx context.Context, u access.Use) error

	// Roles are all of an environment, in order of their names. [ErrTampered] if one is not what was stored.
	Roles(ctx context.Context, env access.EnvironmentID) ([]RoleAt, error)
	// ChangeRole stores a role in place of the one of a revision (0: there must be none), or removes it if the
	// record is nil. [ErrConflict].
	ChangeRole(ctx context.Context, c RoleChange) error
}

// KeyAt is an API key's record at its revision.
type KeyAt struct {
	Record   *access.KeyRecord
	Revision int64
}

// RoleAt is a role's record at its revision.
type RoleAt struct {
	Record   *access.RoleRecord
	Revision int64
}

// KeyChange is a change of API keys.
type KeyChange struct {
	Environment access.EnvironmentID
	// Put are records, each in place of the one of its revision (0: there must be none).
	Put []KeyAt
	// Remove are records that go, with the times of their last use.
	Remove []KeyAt
	// Stay are records that have to be at their revisions still.
	Stay []KeyAt
	// Role has to be at RoleRevision still; 0 for a role that is no record.
	Role         access.Role
	RoleRevision int64
	Events       []events.Event
	// Protects marks a change that takes rights away: it needs no room.
	Protects bool
}

// RoleChange is a change of a role.
type RoleChange struct {
	Environment access.EnvironmentID
	Name        access.Role
	// Record is nil for a removal.
	Record   *access.RoleRecord
	Revision int64
	Event    events.Event
}
