package pipes

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
)

// AccountID is "data_installation_" and a ULID.
type AccountID string

// WellFormed reports whether it can be one.
func (id AccountID) WellFormed() bool { return wellFormed(accountPrefix, string(id)) }

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
	// Reason says why an account needs reauthorization: one of those of reason.go.
	Reason string `cbor:"9,keyasint,omitempty"`
	// Identifier and DisplayName are the provider's, for correlation, never selectors. An empty Identifier is
	// asked for again behind a vend (see [identities]).
	Identifier  string   `cbor:"10,keyasint,omitempty"`
	DisplayName string   `cbor:"11,keyasint,omitempty"`
	Scopes      []string `cbor:"12,keyasint,omitempty"`
	// Config are the account's own values of the provider's config fields, but for secret ones.
	Config    map[string]string `cbor:"13,keyasint,omitempty"`
	Grant     GrantID           `cbor:"14,keyasint,omitempty"` // empty: no tokens
	CreatedAt time.Time         `cbor:"15,keyasint"`
	UpdatedAt time.Time         `cbor:"16,keyasint"`
	// KeyLast4 is what may be shown of an API key.
	KeyLast4 string `cbor:"17,keyasint,omitempty"`
	// TokenNames are those of the grant's tokens, where it has several.
	TokenNames []string `cbor:"18,keyasint,omitempty"`
	// ClientID and SecretLast4 are of an account's own client, connected by client credentials.
	ClientID    string `cbor:"19,keyasint,omitempty"`
	SecretLast4 string `cbor:"20,keyasint,omitempty"`
	// SecretConfig is what may be shown of the secret ones, by their keys. They are sealed in the grant.
	SecretConfig map[string]string `cbor:"21,keyasint,omitempty"`
}

// Connections are the accounts of one owner at one provider: where a lookup by owner begins.
type Connections struct {
	Owner Owner  `cbor:"1,keyasint"`
	Slug  string `cbor:"2,keyasint"`
	// Compatibility is empty if that slot is free.
	Compatibility AccountID   `cbor:"3,keyasint,omitempty"`
	Standard      []AccountID `cbor:"4,keyasint,omitempty"`
}

// Has reports whether an account is among them.
func (c *Connections) Has(id AccountID) bool {
	return c.Compatibility == id || slices.Contains(c.Standard, id)
}

// Account returns a connected account.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrNoAccount], [ErrAccountSelection].
func (b *Broker) Account(ctx context.Context, call access.Call, r Request) (Account, error) {
	o, err := b.begin(ctx, call, access.AccountsRead)
	if err != nil {
		return Account{}, err
	}
	found, err := o.readAccount(ctx, &r)
	if err != nil {
		return answer(ctx, o, Account{}, err)
	}
	return answer(ctx, o, *found.Record, nil)
}

func (o *operation) readAccount(ctx context.Context, r *Request) (At[Account], error) {
	_, found, err := o.readInstalled(ctx, r)
	return found, err
}

// readInstalled is an account with the integration that it is of.
func (o *operation) readInstalled(ctx context.Context, r *Request) (*Integration, At[Account], error) {
	i, s, err := o.request(ctx, r)
	if err != nil {
		return nil, At[Account]{}, err
	}
	found, err := s.choose(r)
	if err != nil {
		return nil, At[Account]{}, err
	}
	o.Record.AccountID, o.Record.GrantID = string(found.Record.ID), string(found.Record.Grant)
	o.Record.Revision = found.Revision
	return i, found, nil
}

// DeleteAccount disconnects: the account and its tokens are gone. Where the call or the integration says so
// the tokens are revoked at the provider, behind the answer (see [Revocation]).
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrNoAccount], [ErrAccountSelection], [ErrConflict].
func (b *Broker) DeleteAccount(ctx context.Context, call access.Call, r Request) error {
	o, err := b.begin(ctx, call, access.AccountsManage)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error {
		i, found, err := o.readInstalled(ctx, &r)
		if err != nil {
			return err
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		change, err := b.removal(ctx, found, i.revokes(r.RevokeAtProvider), o.cause())
		if err != nil {
			return err
		}
		return b.store.Apply(ctx, change)
	})
	if err == nil {
		b.wakeRevoker()
	}
	_, err = committed(ctx, o, struct{}{}, err)
	return err
}

// removal is the change that takes an account out, with its place among its owner's and its grant, unless
// other accounts have that. With revoke the tokens do not go, but to where they are revoked from.
func (b *Broker) removal(ctx context.Context, found At[Account], revoke bool, c cause) (Change, error) {
	a := found.Record
	change := Change{Environment: a.Environment, Account: &Put[Account]{Record: *a, Revision: found.Revision, Remove: true}}
	var err error
	if change.Left, err = b.leave(ctx, a); err != nil {
		return Change{}, err
	}
	if change.Connections, err = b.vacated(ctx, a); err != nil {
		return Change{}, err
	}
	if revoke {
		change.Revocation = b.revocationOf(a, change.Left)
	}
	e, err := c.aboutAccount(events.AccountDisconnected, a, b.now())
	change.Events = []events.Event{e}
	return change, err
}

// vacated is the connections record without an account; nil if the account is not in it, because another
// one has its place.
func (b *Broker) vacated(ctx context.Context, a *Account) (*Put[Connections], error) {
	found, err := b.store.Connections(ctx, a.Environment, a.Owner, a.Slug)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next := *found.Record
	next.Standard = slices.DeleteFunc(slices.Clone(next.Standard), func(id AccountID) bool { return id == a.ID })
	if next.Compatibility == a.ID {
		next.Compatibility = ""
	}
	if next.Compatibility == found.Record.Compatibility && len(next.Standard) == len(found.Record.Standard) {
		return nil, nil
	}
	return &Put[Connections]{
		Record: next, Revision: found.Revision, Remove: next.Compatibility == "" && len(next.Standard) == 0,
	}, nil
}
