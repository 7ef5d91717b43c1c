package pipes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
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
	// Refreshable is false where nothing can renew the access token: no refresh token, no client of its own.
	Refreshable bool `cbor:"13,keyasint,omitempty"`
	// Dead is set once the provider has said so definitely; Reason is one of those of reason.go.
	Dead   bool   `cbor:"14,keyasint,omitempty"`
	Reason string `cbor:"15,keyasint,omitempty"`
	// TokenMAC is the keyed hash of the refresh token: the same refresh token is the same grant.
	TokenMAC []byte `cbor:"16,keyasint,omitempty"`
	// Accounts point to this grant: nearly always one. At most [MaxGrantAccounts], so that what happens
	// to the grant happens to all of them in one transaction.
	Accounts []AccountID `cbor:"17,keyasint,omitempty"`
	// ReencryptedAt is as of vault.VersionHeader.
	ReencryptedAt time.Time `cbor:"18,keyasint,omitzero"`
	// Client is the client id that the tokens were given to: no other one may use or revoke them. Empty in
	// records of before it was kept.
	Client string `cbor:"19,keyasint,omitempty"`
	// Main is the provider's name of the token that the times above are of, if it has one; Named is what is
	// known of the others.
	Main  string                `cbor:"20,keyasint,omitempty"`
	Named map[string]NamedToken `cbor:"21,keyasint,omitempty"`
	// DueAt is when the caretaker looks at the grant without being asked; zero: never. The store keeps what is
	// due in order of time.
	DueAt time.Time `cbor:"22,keyasint,omitzero"`
	// Idle is a grant that nobody was seen to use since its last refresh: the caretaker only keeps it alive.
	Idle bool `cbor:"23,keyasint,omitempty"`
	// GrantedAt is when the consent was given, as far as we know: reconnects set it, refreshes do not.
	GrantedAt time.Time `cbor:"24,keyasint,omitzero"`
	// AnnouncedEnd is the end that the accounts' owners were told of.
	AnnouncedEnd time.Time `cbor:"25,keyasint,omitzero"`
	// Method is [MethodClientCredentials] for a grant whose client is the account's own: its secret is sealed
	// beside the token, and refetches it. Empty for all others.
	Method AuthMethod `cbor:"26,keyasint,omitempty"`
	// Metadata is what the provider said besides, of the connector's fields.
	Metadata map[string]string `cbor:"27,keyasint,omitempty"`
	// Since is the generation that gave the main token, in a grant of several that was refreshed; 0: the
	// present one.
	Since uint64 `cbor:"28,keyasint,omitempty"`
	// Doubted is set while the main token's refresh token may have died with the one before: see [Standing.doubts].
	Doubted bool `cbor:"29,keyasint,omitempty"`
	// Config are the values of the provider's config fields that its tokens are for, but for secret ones; empty for
	// an API key, which is for whatever its account is.
	Config map[string]string `cbor:"30,keyasint,omitempty"`
}

// tell adds what a provider says now to what it said before.
func (g *Grant) tell(metadata map[string]string) {
	g.Metadata = connectors.Identified{Metadata: g.Metadata}.With(metadata).Metadata
}

// usedWith are the values that a grant's tokens are vended with: those that they are for, and beside them what counts
// for the account now.
//
// Attacker: an administrator who may not have tokens vended, and has everybody's used at a customer's host of his own
// by a value of the integration or of an organization. Defence: a token is never vended beside the name of a host
// that it is not from.
func (g *Grant) usedWith(i *Integration, conn *connectors.Connector) map[string]string {
	if g.Config == nil && g.Origin != "" && g.Origin != conn.TokenOrigin() {
		return nil // of before they were kept
	}
	all := conn.InstallationConfig(i.values())
	maps.Copy(all, g.Config)
	return all
}

// refetched reports a grant whose account has a client of its own: its next token needs no other before it, so
// no provider forgets it and no end is one of the grant.
func (g *Grant) refetched() bool { return g.Method == MethodClientCredentials }

// MaxGrantAccounts bounds how many accounts share a grant.
const MaxGrantAccounts = 16

// grant reads a grant that an account points to. One that is gone went with its account a moment ago, so
// it is a conflict: whoever asks reads the account again.
func (b *Broker) grant(ctx context.Context, env access.EnvironmentID, id GrantID) (At[Grant], error) {
	found, err := b.store.Grant(ctx, env, id)
	if errors.Is(err, ErrNotFound) {
		return At[Grant]{}, ErrConflict
	}
	if err != nil {
		return At[Grant]{}, err
	}
	if found.Record.ID != id || found.Record.Environment != env {
		return At[Grant]{}, keys.ErrTampered
	}
	return found, nil
}

// Binding is what the seal of a grant's tokens proves: everything in clear that is decided on.
func (g *Grant) Binding() keys.GrantBinding {
	return keys.GrantBinding{
		GrantID: string(g.ID), IntegrationID: string(g.Integration), Origin: g.Origin, Generation: g.Generation,
		ExpiresAt: g.ExpiresAt, RefreshExpiresAt: g.RefreshExpiresAt, ObtainedAt: g.ObtainedAt, Refreshable: g.Refreshable,
	}
}

// sealGrant seals tokens for a grant as it will be, under the key context that it has.
func (o *operation) sealGrant(ctx context.Context, g *Grant, t keys.GrantTokens) (keys.Conditions, error) {
	kctx, err := keys.ParseContext(g.Items)
	if err != nil {
		return keys.Conditions{}, keys.ErrTampered
	}
	permit, err := o.permitFor(o.Record.Provider, kctx)
	if err != nil {
		return keys.Conditions{}, err
	}
	sealed, conditions, err := o.broker.keys.SealGrant(ctx, permit, kctx, g.Binding(), t, o.sealMeta())
	if err != nil {
		return keys.Conditions{}, err
	}
	g.KeyID, g.WrappedDEK, g.Sealed, g.ReencryptedAt = sealed.KeyID, sealed.WrappedDEK, sealed.Ciphertext, time.Time{}
	o.Record.KeyID, o.Record.KeyContext = string(g.KeyID), g.Items
	return conditions, nil
}

// openGrant opens a grant's tokens. The permit is completed with the context in the record, which the
// seal then proves.
func (o *operation) openGrant(ctx context.Context, g *Grant) (keys.GrantTokens, error) {
	kctx, err := keys.ParseContext(g.Items)
	if err != nil {
		return keys.GrantTokens{}, keys.ErrTampered
	}
	permit, err := o.permitFor(o.Record.Provider, kctx)
	if err != nil {
		return keys.GrantTokens{}, err
	}
	o.Record.GrantID, o.Record.KeyID, o.Record.KeyContext = string(g.ID), string(g.KeyID), kctx.Items()
	return o.broker.keys.OpenGrant(ctx, permit, keys.Sealed{KeyID: g.KeyID, WrappedDEK: g.WrappedDEK, Ciphertext: g.Sealed}, g.Binding())
}

// leave takes an account out of the grant it points to: nil if it points to none. A grant without an
// account goes; others keep theirs, at the same generation, because their tokens do not change.
func (b *Broker) leave(ctx context.Context, account *Account) (*Put[Grant], error) {
	if account.Grant == "" {
		return nil, nil
	}
	found, err := b.grant(ctx, account.Environment, account.Grant)
	if err != nil {
		return nil, err
	}
	put := &Put[Grant]{Record: *found.Record, Revision: found.Revision}
	put.Record.Accounts = slices.DeleteFunc(slices.Clone(found.Record.Accounts), func(id AccountID) bool { return id == account.ID })
	put.Remove = len(put.Record.Accounts) == 0
	return put, nil
}

// turn gives all accounts of a grant but one another state, with an event for each.
func (b *Broker) turn(ctx context.Context, change *Change, g *Grant, but AccountID, to State, reason string, c cause) error {
	t, now := events.AccountConnected, b.now()
	if to == NeedsReauthorization {
		t = events.ReauthorizationAsked
	}
	for _, id := range g.Accounts {
		if id == but {
			continue
		}
		found, err := b.store.Account(ctx, g.Environment, id)
		if errors.Is(err, ErrNotFound) {
			return ErrConflict // it has left the grant meanwhile
		}
		if err != nil {
			return err
		}
		next := *found.Record
		if next.Grant != g.ID || next.State == to {
			continue
		}
		next.State, next.Reason, next.UpdatedAt = to, reason, now
		e, err := c.aboutAccount(t, &next, now)
		if err != nil {
			return err
		}
		change.Others = append(change.Others, Put[Account]{Record: next, Revision: found.Revision})
		change.Events = append(change.Events, e)
	}
	return nil
}
