package pipes

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
	"culvert/keys"
)

// Store keeps integrations, accounts, grants and flows. internal/etcd implements it; it sees only
// sealed bytes.
//
// Every read reflects at least what was acknowledged anywhere before the last Fence of the same
// request. Returned records are shared and must not be changed. Reads return [ErrNotFound] for a record
// that does not exist and keys.ErrTampered for one whose MAC does not verify. All methods are safe for
// concurrent use, block for at most five seconds, and may return an outage.Error.
type Store interface {
	Fence(ctx context.Context) error
	trail.Requests
	Reader
	// Apply carries out a change as one transaction: all of it is durable when it returns nil, or none
	// of it happened, except for an outage of kind Unknown. [ErrConflict] means that a record was not
	// at its revision, or that a change without events may or may not have been applied and can not be
	// applied any more: read again. keys.ErrConflict means that a KEK changed: seal again.
	// [ErrTooLarge] means that nothing was sent, and never will be.
	Apply(ctx context.Context, c Change) error
	// PutAttempt carries out one step of a refresh and returns the attempt's revision. [ErrConflict] means
	// that something was not as the step says, or that it may or may not have been carried out and can not
	// be any more: read again.
	PutAttempt(ctx context.Context, s Step) (revision int64, err error)
	// Watch tells of changes of a grant, its attempt or its lock that are committed after it returns: a
	// value in changed stands for any number of them, and may stand for none. done ends it.
	Watch(env access.EnvironmentID, id GrantID) (changed <-chan struct{}, done func())
	// ClaimDue takes up to limit grants (at most 40) whose DueAt is not after now, the longest due first, and
	// offers them again from until on: whoever claims a grant has it until then. None may be returned, with
	// [ErrConflict], if another replica claimed some of the same at that moment.
	ClaimDue(ctx context.Context, env access.EnvironmentID, now, until time.Time, limit int) ([]GrantID, error)
	// ReleaseDue ends the claim of one grant. It is offered again at again, or, if that is zero, when its
	// record says.
	ReleaseDue(ctx context.Context, c Claim, id GrantID, again time.Time) error
}

// Claim is grants that one caretaker looks after until its end.
type Claim struct {
	Environment access.EnvironmentID
	Until       time.Time
	Grants      []GrantID
}

// Reader is the reading half of [Store].
type Reader interface {
	Integration(ctx context.Context, env access.EnvironmentID, slug string, o Ownership) (At[Integration], error)
	// Integrations are all of an environment, in order of their ids. They are few.
	Integrations(ctx context.Context, env access.EnvironmentID) ([]At[Integration], error)
	// Configuration is an organization's of an integration.
	Configuration(ctx context.Context, env access.EnvironmentID, id IntegrationID, organization string) (At[Configuration], error)
	Account(ctx context.Context, env access.EnvironmentID, id AccountID) (At[Account], error)
	Connections(ctx context.Context, env access.EnvironmentID, o Owner, slug string) (At[Connections], error)
	Grant(ctx context.Context, env access.EnvironmentID, id GrantID) (At[Grant], error)
	// GrantOf finds the grant that has this refresh token, by its keyed hash.
	GrantOf(ctx context.Context, env access.EnvironmentID, tokenMAC []byte) (GrantID, error)
	// Standing is what there is of a refresh of a grant, read from etcd at one moment.
	Standing(ctx context.Context, env access.EnvironmentID, id GrantID) (Standing, error)
	// Attempts are all of an environment. They are few: the refreshes under way, and those that failed.
	Attempts(ctx context.Context, env access.EnvironmentID) ([]At[Attempt], error)
	Flow(ctx context.Context, env access.EnvironmentID, id FlowID) (At[Flow], error)
	// Flows are those created in [from, to), in order of creation; the caller bounds the span.
	Flows(ctx context.Context, env access.EnvironmentID, from, to time.Time) ([]At[Flow], error)
	Revocation(ctx context.Context, env access.EnvironmentID, id AccountID) (At[Revocation], error)
	// Revocations are up to limit behind after, in order of their ids.
	Revocations(ctx context.Context, env access.EnvironmentID, after AccountID, limit int) ([]At[Revocation], error)
	// Revoking are up to limit of the ids of those that are pending, and the one behind which there may be
	// more, "" at the end. With keys.ErrTampered for some it returns the others all the same: one that is
	// broken must not keep the tokens of all.
	Revoking(ctx context.Context, env access.EnvironmentID, after AccountID, limit int) (ids []AccountID, next AccountID, err error)
	// Retired are the removed integrations of whose accounts something is left to revoke. They are few.
	Retired(ctx context.Context, env access.EnvironmentID) ([]At[Integration], error)
	// Memberships are the integrations that have accounts, removed ones too, in order of their ids.
	Memberships(ctx context.Context, env access.EnvironmentID) ([]IntegrationID, error)
	// AccountsOf are up to limit accounts of an integration with ids behind after, for its removal.
	AccountsOf(ctx context.Context, env access.EnvironmentID, id IntegrationID, after AccountID, limit int) ([]At[Account], error)
	// Configured are the integrations that organizations have configured, removed ones too, in order of their
	// ids, and ConfigurationsOf up to limit configurations of one, for its removal.
	Configured(ctx context.Context, env access.EnvironmentID) ([]IntegrationID, error)
	ConfigurationsOf(ctx context.Context, env access.EnvironmentID, id IntegrationID, limit int) ([]At[Configuration], error)
}

// At is a record with the revision it was read at. The record is shared and must not be changed.
type At[T any] struct {
	Record   *T
	Revision int64
}

// Put is a record on its way into the store: it is stored if the one there is still at Revision, where 0
// means that there must be none.
type Put[T any] struct {
	Record   T
	Revision int64
	// Remove takes the record out instead. Record is then the one that was read.
	Remove bool
}

// Change is one transaction. Nil parts are left alone. Indexes (accounts of an integration, grants by
// refresh token) follow from the records and are kept by the store.
type Change struct {
	Environment access.EnvironmentID
	Integration *Put[Integration]
	// Configuration is an organization's of an integration.
	Configuration *Put[Configuration]
	Account       *Put[Account]
	Connections   *Put[Connections]
	// Others are further accounts of the same grant: what happens to a grant happens to all of them.
	Others []Put[Account]
	// Grant's Previous is the TokenMAC of the record that is replaced, so that its index entry goes.
	Grant    *Put[Grant]
	Previous []byte
	// Concludes ends the refresh of Grant, whoever is at it: its attempt and its lock go. It is for a change
	// that gives the grant another generation, or ends it.
	Concludes bool
	// AttemptAt is the revision at which the grant's attempt must be; 0: wherever it is.
	AttemptAt int64
	// Left is the grant that an account leaves: removed, or kept for its other accounts with the same
	// tokens.
	Left *Put[Grant]
	Flow *Put[Flow]
	// Revocation is the tokens of an account that is removed. Retired is a removed integration, kept at
	// another place.
	Revocation *Put[Revocation]
	Retired    *Put[Integration]
	// Conditions are those of every seal in the records.
	Conditions []keys.Conditions
	// Events may be empty only for flows and revocations, which carry their own progress, and for a Retired
	// that is removed.
	Events []events.Event
}
