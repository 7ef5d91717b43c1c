package pipes

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// IntegrationID is "data_integration_" and a ULID.
type IntegrationID string

// Ownership says whose accounts an integration holds: each user's own, or one organization's.
type Ownership string

// The ownerships of contract section 2.3: one integration per provider slug and ownership.
const (
	OwnedByUser         Ownership = "user"
	OwnedByOrganization Ownership = "organization"
)

// Integration is a connector configured with client credentials in an environment, as stored. The store
// adds a MAC; the client secret is sealed, bound to the origin it may be sent to.
type Integration struct {
	ID          IntegrationID        `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Slug        string               `cbor:"3,keyasint"`
	Ownership   Ownership            `cbor:"4,keyasint"`
	// DIK is "dik_" and a ULID: the part of the redirect URI that is this integration's alone.
	DIK         string       `cbor:"5,keyasint"`
	Description string       `cbor:"6,keyasint,omitempty"`
	Enabled     bool         `cbor:"7,keyasint,omitempty"`
	Scopes      []string     `cbor:"8,keyasint,omitempty"` // nil: the provider's defaults
	AuthMethods []AuthMethod `cbor:"9,keyasint"`
	// Config are values of the provider's config fields that count for all accounts. None is secret.
	Config map[string]string `cbor:"10,keyasint,omitempty"`
	// Client is nil for integrations without OAuth.
	Client *Client `cbor:"11,keyasint,omitempty"`
	// Custom is set for a provider of the caller's own.
	Custom    *CustomProvider `cbor:"12,keyasint,omitempty"`
	CreatedAt time.Time       `cbor:"13,keyasint"`
	UpdatedAt time.Time       `cbor:"14,keyasint"`
	// RevokeAtProvider is our own extension: whether the tokens of an account that is disconnected are
	// revoked at the provider, where a call does not say. False as in the contract, which does not revoke.
	RevokeAtProvider bool `cbor:"15,keyasint,omitempty"`

	// SharedConfig and AccountConfig are what an organization and an account have beside Config, in a copy for those
	// ([Broker.integrationFor], [Integration.at]). They are not stored.
	SharedConfig  map[string]string `cbor:"-"`
	AccountConfig map[string]string `cbor:"-"`
}

// Client is the client credentials of an integration at the provider, or of an organization.
type Client struct {
	// Type is the contract's credentials.type: "custom" or "organization".
	Type string `cbor:"1,keyasint"`
	ID   string `cbor:"2,keyasint,omitempty"`
	// Last4 is what may be shown of the secret.
	Last4 string `cbor:"3,keyasint,omitempty"`
	// Secret is sealed under the KEK of the empty context, or of Organization's, bound to Origin, the
	// integration and the client id. Nil for a client without a secret.
	Secret *SealedSecret `cbor:"4,keyasint,omitempty"`
	// Organization is whose client it is, in a [Configuration]; empty for the integration's own.
	Organization string `cbor:"5,keyasint,omitempty"`
	// Previous is the secret before this one, while both are used; nil outside of a rotation.
	Previous *PreviousSecret `cbor:"6,keyasint,omitempty"`
}

// SealedSecret is a sealed client secret or verifier, with what its seal is bound to.
type SealedSecret struct {
	KeyID      keys.ID `cbor:"1,keyasint"`
	WrappedDEK []byte  `cbor:"2,keyasint"`
	Ciphertext []byte  `cbor:"3,keyasint"`
	// Origin is that of the token endpoint the secret may be sent to.
	Origin   string    `cbor:"4,keyasint"`
	SealedAt time.Time `cbor:"5,keyasint"`
	// ReencryptedAt is as of vault.VersionHeader.
	ReencryptedAt time.Time `cbor:"6,keyasint,omitzero"`
}

// CustomProvider is a provider that the caller defined (contract section 2.1, custom_provider).
type CustomProvider struct {
	Name             string            `cbor:"1,keyasint"`
	AuthorizationURL string            `cbor:"2,keyasint,omitempty"`
	TokenURL         string            `cbor:"3,keyasint,omitempty"`
	RefreshTokenURL  string            `cbor:"4,keyasint,omitempty"`
	PKCE             bool              `cbor:"5,keyasint,omitempty"`
	ScopeSeparator   string            `cbor:"6,keyasint,omitempty"`
	ScopesRequired   bool              `cbor:"7,keyasint,omitempty"`
	SecretRequired   bool              `cbor:"8,keyasint,omitempty"`
	AuthorizeParams  map[string]string `cbor:"9,keyasint,omitempty"`
	TokenContentType string            `cbor:"10,keyasint,omitempty"`
	ClientAuth       string            `cbor:"11,keyasint,omitempty"`
	// Issuer is our own extension: what iss must be in callbacks (RFC 9207). Empty: it is not looked at.
	Issuer string `cbor:"12,keyasint,omitempty"`
	// IdentityURL is our own extension: where the provider says whose account a token is of.
	IdentityURL string `cbor:"13,keyasint,omitempty"`
	// RevocationURL is our own extension: where tokens are revoked (RFC 7009).
	RevocationURL string `cbor:"14,keyasint,omitempty"`
	// PushURL is our own extension: where authorization requests are pushed (RFC 9126).
	PushURL string `cbor:"15,keyasint,omitempty"`
	// KillsPrevious is our own extension: a refresh ends the access token before it, so nobody is given one that
	// is about to be refreshed.
	KillsPrevious bool `cbor:"16,keyasint,omitempty"`
}

// view is what callers see of an integration.
func (b *Broker) view(i *Integration) IntegrationView {
	v := IntegrationView{Integration: i, State: "invalid"}
	oauth := i.supports(MethodOAuth)
	if oauth {
		v.RedirectURI = b.redirectURI(i)
	}
	conn, err := b.connector(i)
	if err == nil {
		v.Provider = conn
		if err = i.usable(conn); !oauth || err == nil || errors.Is(err, ErrNotConfigured) && i.lacksClient() {
			v.State = "valid"
			return v
		}
	}
	v.StateReason = i.lacks(err)
	return v
}

// lacks says for people what an integration needs to begin a flow again, by the error that forbids it.
func (i *Integration) lacks(err error) string {
	var refused *InvalidError
	switch {
	case errors.Is(err, ErrNoIntegration):
		return "this version has no connector of that name: define the provider with custom_provider, or remove the integration"
	case errors.As(err, &refused):
		return refused.Field + " " + refused.Rule
	case errors.Is(err, ErrEndpointChanged):
		return "the client secret is bound to another token endpoint: set credentials.client_secret again if it may be sent to the present one"
	case i.Client == nil || i.Client.ID == "":
		return "credentials are missing: set credentials.client_id and credentials.client_secret"
	case i.Client.Secret == nil:
		return "the provider wants a client secret and there is none: set credentials.client_secret"
	}
	return "custom_provider has no authorization_url or no token_url, which OAuth needs"
}

// Integration returns one by slug and ownership, which is [OwnedByUser] if empty.
//
// Errors: [ErrNoIntegration].
func (b *Broker) Integration(ctx context.Context, call access.Call, slug string, o Ownership) (IntegrationView, error) {
	op, err := b.begin(ctx, call, access.IntegrationsRead)
	if err != nil {
		return IntegrationView{}, err
	}
	found, err := op.readIntegration(ctx, slug, o)
	if err != nil {
		return answer(ctx, op, IntegrationView{}, err)
	}
	return answer(ctx, op, b.view(found.Record), nil)
}

// readIntegration finds an integration, notes it in the trail and completes the permit with it.
func (o *operation) readIntegration(ctx context.Context, slug string, w Ownership) (At[Integration], error) {
	if w == "" {
		w = OwnedByUser
	}
	found, err := o.findIntegration(ctx, slug, w)
	if err != nil {
		return At[Integration]{}, err
	}
	return found, o.complete(slug, keys.Context{})
}

// findIntegration is readIntegration for a call that is about an owner, whose key context completes the permit.
func (o *operation) findIntegration(ctx context.Context, slug string, w Ownership) (At[Integration], error) {
	found, err := o.broker.integration(ctx, o.Environment(), slug, w)
	if err != nil {
		return At[Integration]{}, err
	}
	o.Record.Provider, o.Record.IntegrationID = found.Record.Slug, string(found.Record.ID)
	o.Record.Revision = found.Revision
	return found, nil
}

// DeleteIntegration removes an integration. From the answer on its accounts count as absent; the sweeper
// removes them with their tokens, whatever their number, also after a restart. revoke is whether their
// tokens are revoked at the provider; nil stands for what the integration says. Its client credentials are
// kept for that until nothing is left to revoke.
//
// Errors: [ErrNoIntegration], [ErrConflict].
func (b *Broker) DeleteIntegration(ctx context.Context, call access.Call, slug string, w Ownership, revoke *bool) error {
	o, err := b.begin(ctx, call, access.IntegrationsManage)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error {
		found, err := o.readIntegration(ctx, slug, w)
		if err != nil {
			return err
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		e, err := o.cause().aboutIntegration(events.IntegrationDeleted, found.Record, b.now())
		if err != nil {
			return err
		}
		change := Change{
			Environment: o.Environment(),
			Integration: &Put[Integration]{Record: *found.Record, Revision: found.Revision, Remove: true},
			Events:      []events.Event{e},
		}
		if found.Record.revokes(revoke) {
			change.Retired = &Put[Integration]{Record: *found.Record}
		}
		return b.store.Apply(ctx, change)
	})
	if err == nil {
		b.wakeSweeper()
	}
	_, err = committed(ctx, o, struct{}{}, err)
	return err
}

// revokes is whether the provider is told of a disconnect: what the call says, or the integration.
func (i *Integration) revokes(call *bool) bool {
	if call != nil {
		return *call
	}
	return i.RevokeAtProvider
}

// integration finds one by slug and ownership. The error is [ErrNoIntegration].
func (b *Broker) integration(ctx context.Context, env access.EnvironmentID, slug string, o Ownership) (At[Integration], error) {
	if !isSlug(slug) {
		return At[Integration]{}, ErrNoIntegration
	}
	found, err := b.store.Integration(ctx, env, slug, o)
	if errors.Is(err, ErrNotFound) {
		err = ErrNoIntegration
	}
	if err != nil {
		return At[Integration]{}, err
	}
	if i := found.Record; i.Environment != env || i.Slug != slug || i.Ownership != o {
		return At[Integration]{}, keys.ErrTampered
	}
	return found, nil
}

// integrationOf finds the one that a record names by its id: another one that took the slug meanwhile is
// not it.
func (b *Broker) integrationOf(ctx context.Context, env access.EnvironmentID, slug string, o Ownership, id IntegrationID) (At[Integration], error) {
	found, err := b.integration(ctx, env, slug, o)
	if err == nil && found.Record.ID != id {
		err = ErrNoIntegration
	}
	return found, err
}
