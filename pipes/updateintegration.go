package pipes

import (
	"context"
	"errors"
	"maps"
	"slices"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
)

// UpdateIntegration changes an integration. Nil fields are left as they are.
type UpdateIntegration struct {
	Slug        string
	Ownership   Ownership // default [OwnedByUser]
	Description *string
	Enabled     *bool
	// Scopes points to nil to go back to the provider's defaults.
	Scopes *[]string
	// Credentials replace client id and secret. A new id needs its secret; the same id may come alone.
	Credentials *ClientCredentials
	Custom      *CustomUpdate
	// Config changes the values that it has; an empty one takes the value away.
	Config map[string]string
	// APIKey connects an account of the owner that it names, or replaces the key of the one there is. It does not
	// come with Credentials.
	APIKey *OwnedKey
	// RevokeAtProvider is as in [Integration].
	RevokeAtProvider *bool
}

// CustomUpdate changes parts of a custom provider. Nil fields are left as they are; an empty
// RefreshTokenURL sends refreshes to TokenURL, an empty Issuer ends the comparison of iss, and an empty
// IdentityURL the call that tells whose an account is.
type CustomUpdate struct {
	Name, AuthorizationURL, TokenURL, RefreshTokenURL *string
	PKCE, ScopesRequired, SecretRequired              *bool
	KillsPrevious                                     *bool
	ScopeSeparator, TokenContentType, ClientAuth      *string
	Issuer, IdentityURL, RevocationURL, PushURL       *string
	AuthorizeParams                                   map[string]string
}

// UpdateIntegration stores a changed integration. Where the change, be it of a value in a config field, moves the
// token endpoint to another origin the client secret must be in the same call, because the sealed one must not be
// sent there; and accounts keep their tokens, but those are not refreshed there either.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrAccountSelection], [*AuthMethodError], [ErrConflict].
func (b *Broker) UpdateIntegration(ctx context.Context, call access.Call, r UpdateIntegration) (IntegrationView, error) {
	o, err := b.begin(ctx, call, access.IntegrationsManage)
	if err != nil {
		return IntegrationView{}, err
	}
	var view IntegrationView
	err = o.retry(ctx, func() error {
		next, installed, err := o.updateIntegration(ctx, r)
		if err == nil {
			view = b.view(next)
			view.Installation = installed
		}
		return err
	})
	return committed(ctx, o, view, err)
}

func (o *operation) updateIntegration(ctx context.Context, r UpdateIntegration) (*Integration, *Account, error) {
	found, err := o.readIntegration(ctx, r.Slug, r.Ownership)
	if err != nil {
		return nil, nil, err
	}
	next := *found.Record
	next.UpdatedAt = o.broker.now()
	set(&next.Description, r.Description)
	set(&next.Enabled, r.Enabled)
	set(&next.RevokeAtProvider, r.RevokeAtProvider)
	if r.Scopes != nil {
		next.Scopes = slices.Clone(*r.Scopes)
	}
	var definition error
	switch {
	case r.Custom == nil:
	case next.Custom == nil:
		definition = invalid("custom_provider", "cannot change a built-in provider")
	default:
		next.Custom, definition = o.broker.checkCustom(next.Slug, r.Custom.apply(*next.Custom), next.AuthMethods)
	}
	var config error
	if r.Config != nil {
		next.Config = changedConfig(next.Config, r.Config)
		config = refusedConfig(o.broker.template(&next).CheckIntegrationConfig(next.Config))
	}
	if err := gather(definition, next.check(), config, r.checkSecrets(&next)); err != nil {
		return nil, nil, err
	}
	conn, err := o.broker.connector(&next)
	if errors.Is(err, ErrNoIntegration) {
		return nil, nil, invalid("provider", "is not in this server's catalogue any more; the integration can only be deleted")
	}
	if err != nil {
		return nil, nil, err
	}
	with := brought{r.Credentials, r.APIKey}
	if next.supports(MethodOAuth) {
		if with.credentials, err = o.changeClient(ctx, &next, conn, r.Credentials); err != nil {
			return nil, nil, err
		}
	}
	installed, err := o.putIntegration(ctx, &next, conn, with, found.Revision, events.IntegrationUpdated)
	return &next, installed, err
}

// checkSecrets checks the secrets that come with a change. A new client and an account's key are two
// things to do: the contract has one of them in a call.
func (r *UpdateIntegration) checkSecrets(i *Integration) error {
	var credentials error
	switch {
	case r.Credentials == nil:
	case r.APIKey != nil:
		credentials = invalid("api_key", "must not come with credentials")
	case !i.supports(MethodOAuth):
		credentials = i.withoutOAuth(r.Credentials)
	default:
		_, credentials = newClient(r.Credentials)
	}
	return gather(credentials, i.checkKey(r.APIKey))
}

// changeClient gives an integration the client that a call leaves it with, and returns what of the call is still to
// be sealed.
func (o *operation) changeClient(ctx context.Context, i *Integration, conn *connectors.Connector, c *ClientCredentials) (*ClientCredentials, error) {
	had := i.Client
	next, err := nextClient(had, c, conn)
	if err != nil {
		return nil, err
	}
	i.Client = next
	r := rotation{field: "credentials.previous_secret_expires_at"}
	if c != nil {
		r.fresh, r.until = c.Secret, c.PreviousUntil
	}
	same, err := o.rotate(ctx, r, i.ID, i.Slug, conn, had, next)
	if err != nil || !same {
		return c, err
	}
	sealed := *c
	sealed.Secret = secret.Bytes{}
	return &sealed, nil
}

// nextClient is the client with what a call changes of it. A secret that is kept must still be sealed
// for where it would go.
//
// Attacker: an administrator's stolen API key, with which the token endpoint is pointed to another server
// so that the stored secret is sent there. Defence: the secret is bound to its origin, and only who
// knows it can bind it to another.
func nextClient(client *Client, c *ClientCredentials, conn *connectors.Connector) (*Client, error) {
	next := &Client{}
	if client != nil {
		*next = *client
	}
	if c != nil {
		fresh, err := newClient(c)
		if err != nil {
			return nil, err
		}
		if c.Secret.Len() > 0 || fresh.ID != next.ID || fresh.Type != next.Type {
			return fresh, nil // its secret is sealed next, or found missing
		}
	}
	if next.Secret != nil && !secretHeld(conn, next.Secret.Origin) {
		return nil, &InvalidError{
			Field: "credentials", Code: CodeRequired,
			Rule: "with client_secret are required in the same call: the token endpoint moves to another origin, and the stored secret is not sent there",
		}
	}
	if p := next.Previous; p != nil && !secretHeld(conn, p.Secret.Origin) {
		next.Previous = nil
	}
	return next, nil
}

// apply is a definition with the changes.
func (u *CustomUpdate) apply(p CustomProvider) *CustomProvider {
	set(&p.Name, u.Name)
	set(&p.AuthorizationURL, u.AuthorizationURL)
	set(&p.TokenURL, u.TokenURL)
	set(&p.RefreshTokenURL, u.RefreshTokenURL)
	set(&p.PKCE, u.PKCE)
	set(&p.ScopesRequired, u.ScopesRequired)
	set(&p.SecretRequired, u.SecretRequired)
	set(&p.ScopeSeparator, u.ScopeSeparator)
	set(&p.TokenContentType, u.TokenContentType)
	set(&p.ClientAuth, u.ClientAuth)
	set(&p.Issuer, u.Issuer)
	set(&p.IdentityURL, u.IdentityURL)
	set(&p.RevocationURL, u.RevocationURL)
	set(&p.PushURL, u.PushURL)
	set(&p.KillsPrevious, u.KillsPrevious)
	if u.AuthorizeParams != nil {
		p.AuthorizeParams = maps.Clone(u.AuthorizeParams)
	}
	return &p
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
