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
	"culvert/internal/origin"
	"culvert/internal/secret"
	"culvert/internal/trail"
	"culvert/keys"
)

// ClientCredentials are an integration's at the provider, as a caller sends them.
type ClientCredentials struct {
	// Type is "custom", or "organization" for clients that organizations have, each its own ([Configure]): then
	// the rest is empty.
	Type string
	ID   string
	// Secret is empty for a public client, or in an update that keeps the one there is.
	Secret secret.Bytes
	// PreviousUntil is for updates: with a Secret, how long the one that it takes the place of goes on being
	// used beside it, [MaxSecretOverlap] at most; without, how long the previous one does from here on. nil is not
	// at all, or as it is; the zero time ends it now.
	PreviousUntil *time.Time
}

// The contract's credentials.type.
const (
	credentialsCustom       = "custom"
	credentialsOrganization = "organization"
)

// CreateIntegration asks for a connector to be configured.
type CreateIntegration struct {
	// Slug is that of a connector of the catalogue, or a new one together with Custom.
	Slug        string
	Ownership   Ownership // default [OwnedByUser]
	Description string
	Enabled     bool
	// Scopes nil means the provider's defaults.
	Scopes      []string
	AuthMethods []AuthMethod // default OAuth, or what the provider has instead
	// Config are values of the provider's config fields: what it wants of an integration, and what counts for all
	// accounts of what it wants of each.
	Config map[string]string
	// Credentials are those of [MethodOAuth], and needed for it.
	Credentials *ClientCredentials
	// APIKey connects an account at once.
	APIKey *OwnedKey
	// Custom defines a provider. It may be left out for a slug whose other ownership has one.
	Custom *CustomProvider
	// RevokeAtProvider is as in [Integration].
	RevokeAtProvider bool
}

// IntegrationView is an integration as callers see it.
type IntegrationView struct {
	// Integration is shared and must not be changed. Its client secret is sealed.
	*Integration
	// RedirectURI is what must be registered at the provider, letter for letter.
	RedirectURI string
	// State is "valid", or "invalid" for an integration that can begin no flow.
	State string
	// StateReason says for people what is missing, where State is invalid.
	StateReason string
	// Provider is the connector behind it; nil if the catalogue has lost it.
	Provider *connectors.Connector
	// Installation is the account that the call connected with an API key; nil for all others.
	Installation *Account
}

// CreateIntegration stores a new integration with its client secret sealed.
//
// Errors: [*InvalidError], [ErrIntegrationExists], [*AuthMethodError].
func (b *Broker) CreateIntegration(ctx context.Context, call access.Call, r CreateIntegration) (IntegrationView, error) {
	o, err := b.begin(ctx, call, access.IntegrationsManage)
	if err != nil {
		return IntegrationView{}, err
	}
	view, err := trail.Once(ctx, o.Operation,
		func(ctx context.Context) (IntegrationView, error) { return o.createIntegration(ctx, r) },
		func(ctx context.Context, ids []string) (IntegrationView, error) {
			return o.integrationAgain(ctx, &r, ids)
		})
	return committed(ctx, o, view, err)
}

func (o *operation) createIntegration(ctx context.Context, r CreateIntegration) (IntegrationView, error) {
	i, err := o.newIntegration(ctx, &r)
	if err != nil {
		return IntegrationView{}, err
	}
	o.Record.Provider, o.Record.IntegrationID = i.Slug, string(i.ID)
	conn, err := o.broker.connector(&i)
	if err != nil {
		return IntegrationView{}, err
	}
	if err := i.fits(conn); err != nil {
		return IntegrationView{}, err
	}
	if err := o.complete(i.Slug, keys.Context{}); err != nil {
		return IntegrationView{}, err
	}
	var installed *Account
	err = o.retry(ctx, func() error {
		if _, err := o.broker.integration(ctx, i.Environment, i.Slug, i.Ownership); !errors.Is(err, ErrNoIntegration) {
			return orElse(err, ErrIntegrationExists)
		}
		installed, err = o.putIntegration(ctx, &i, conn, brought{r.Credentials, r.APIKey}, 0, events.IntegrationCreated)
		return err
	})
	view := o.broker.view(&i)
	view.Installation = installed
	return view, err
}

// newIntegration checks a request and is the record it asks for, without the client's secret.
func (o *operation) newIntegration(ctx context.Context, r *CreateIntegration) (Integration, error) {
	b, now := o.broker, o.broker.now()
	if r.Ownership == "" {
		r.Ownership = OwnedByUser
	}
	if len(r.AuthMethods) == 0 {
		r.AuthMethods = b.defaultMethods(r.Slug)
	}
	custom, err := o.definition(ctx, r)
	i := Integration{
		ID: IntegrationID(b.newID(integrationPrefix)), Environment: o.Environment(), Slug: r.Slug, Ownership: r.Ownership,
		DIK: b.newID(dikPrefix), Description: r.Description, Enabled: r.Enabled, Scopes: slices.Clone(r.Scopes),
		AuthMethods: slices.Clone(r.AuthMethods), Config: given(r.Config), Custom: custom, CreatedAt: now, UpdatedAt: now,
		RevokeAtProvider: r.RevokeAtProvider,
	}
	var refused error
	switch {
	case !i.supports(MethodOAuth):
		refused = i.withoutOAuth(r.Credentials)
	case r.Credentials == nil:
		refused = required("credentials")
	case r.Credentials.PreviousUntil != nil:
		refused = invalid("credentials.previous_secret_expires_at", noSecretYet)
	default:
		i.Client, refused = newClient(r.Credentials)
	}
	return i, gather(err, i.check(), refusedConfig(b.template(&i).CheckIntegrationConfig(i.Config)), refused, i.checkKey(r.APIKey))
}

// definition is the custom provider of a new integration: the one in the request, the one that the other
// ownership of the slug has, or none for a slug of the catalogue, which no definition may shadow.
func (o *operation) definition(ctx context.Context, r *CreateIntegration) (*CustomProvider, error) {
	var slug, ownership error
	if !isSlug(r.Slug) {
		slug = invalid("provider", "must be 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")
	}
	if r.Ownership != OwnedByUser && r.Ownership != OwnedByOrganization {
		ownership = invalid("ownership", `must be "user" or "organization"`)
	}
	if err := gather(slug, ownership); err != nil {
		return nil, err
	}
	_, builtIn := o.broker.catalog.Connector(r.Slug)
	switch {
	case builtIn && r.Custom != nil:
		return nil, invalid("provider", "is the slug of a built-in provider, which a custom one cannot have")
	case builtIn:
		return nil, nil
	case r.Custom != nil:
		return o.broker.checkCustom(r.Slug, r.Custom, r.AuthMethods)
	}
	other := OwnedByOrganization
	if r.Ownership == other {
		other = OwnedByUser
	}
	found, err := o.broker.integration(ctx, o.Environment(), r.Slug, other)
	if errors.Is(err, ErrNoIntegration) || err == nil && found.Record.Custom == nil {
		return nil, &InvalidError{Field: "custom_provider", Code: CodeRequired, Rule: "is required: no built-in provider has this slug"}
	}
	if err != nil {
		return nil, err
	}
	return found.Record.Custom, nil
}

// checkCustom checks a definition by itself, by the connector it makes, by what the methods need, and by
// where this server may connect to.
func (b *Broker) checkCustom(slug string, p *CustomProvider, methods []AuthMethod) (*CustomProvider, error) {
	if p.Name == "" {
		return nil, required("custom_provider.name")
	}
	conn, err := p.connector(slug)
	if err != nil {
		return nil, err
	}
	if err := p.demands(methods); err != nil {
		return nil, err
	}
	for _, endpoint := range []struct{ field, url string }{
		{"token_url", p.TokenURL}, {"refresh_token_url", p.RefreshTokenURL}, {"revocation_url", p.RevocationURL},
		{"pushed_authorization_request_url", p.PushURL},
	} {
		if endpoint.url == "" {
			continue
		}
		if err := b.egress.CheckURL(endpoint.url); err != nil {
			return nil, invalid("custom_provider."+endpoint.field, "leads to an address that this server may not call")
		}
	}
	if origin.Of(conn.TokenURL) != conn.TokenOrigin() {
		return nil, invalid("custom_provider.refresh_token_url", "must be at the origin of token_url: what is sealed is bound to one")
	}
	// The browser goes there, not this server; what is checked is its form.
	_, err = b.client.AuthorizationURL(conn, connectors.AuthorizationRequest{Challenge: "form"})
	if err != nil && p.AuthorizationURL != "" {
		return nil, invalid("custom_provider.authorization_url", "must be an absolute https URL")
	}
	copied := *p
	copied.AuthorizeParams = maps.Clone(p.AuthorizeParams)
	return &copied, nil
}

// demands refuses a definition that lacks what one of the methods needs.
func (p *CustomProvider) demands(methods []AuthMethod) error {
	var authorization, token error
	if slices.Contains(methods, MethodOAuth) {
		authorization = demanded("authorization_url", p.AuthorizationURL)
	}
	if slices.ContainsFunc(methods, AuthMethod.asksProvider) {
		token = demanded("token_url", p.TokenURL)
	}
	return gather(authorization, token)
}

// demanded refuses a custom provider that lacks a member.
func demanded(member, value string) error {
	if value == "" {
		return required("custom_provider." + member)
	}
	return nil
}

// newClient reads credentials without their secret.
func newClient(c *ClientCredentials) (*Client, error) {
	switch c.Type {
	case credentialsCustom:
	case credentialsOrganization:
		if c.ID != "" || c.Secret.Len() > 0 || c.PreviousUntil != nil {
			return nil, invalid("credentials.client_id", `must be left out with the type "organization", and its secrets too: each organization has its own`)
		}
		return &Client{Type: c.Type}, nil
	default:
		return nil, invalid("credentials.type", `must be "custom" or "organization"`)
	}
	if c.ID == "" {
		return nil, required("credentials.client_id")
	}
	if err := checkText("credentials.client_id", c.ID, MaxLabel); err != nil {
		return nil, err
	}
	return &Client{Type: c.Type, ID: c.ID}, nil
}

// check holds a record to the rules that do not depend on what was there before.
func (i *Integration) check() error {
	scopes := checkScopes("scopes", i.Scopes)
	if i.Custom != nil && i.Custom.ScopesRequired && len(i.Scopes) == 0 {
		scopes = required("scopes")
	}
	return gather(checkText("description", i.Description, MaxLabel), scopes, checkMethods(i.AuthMethods))
}

// brought is the secrets that came with a call about an integration, each nil if it did not.
type brought struct {
	credentials *ClientCredentials
	key         *OwnedKey
}

// putIntegration seals the secrets that came with the call and stores the record, and the account that an
// API key connects, in one transaction. revision is that of the record it replaces, 0 for none.
func (o *operation) putIntegration(ctx context.Context, i *Integration, conn *connectors.Connector, with brought, revision int64, t events.Type) (*Account, error) {
	c := with.credentials
	if c != nil && c.Secret.Len() > MaxToken {
		return nil, invalid("credentials.client_secret", "is too long")
	}
	brings := c != nil && c.Secret.Len() > 0
	if !brings && i.lacksSecret(conn) {
		return nil, required("credentials.client_secret")
	}
	if err := o.Intend(ctx); err != nil {
		return nil, err
	}
	change, installed, err := o.installOwned(ctx, i, with.key)
	if err != nil {
		return nil, err
	}
	if brings {
		conditions, err := o.sealClientSecret(ctx, i.ID, i.Client, i.Slug, conn, c.Secret)
		if err != nil {
			return nil, err
		}
		change.Conditions = append(change.Conditions, conditions)
	}
	e, err := o.cause().aboutIntegration(t, i, i.UpdatedAt)
	if err != nil {
		return nil, err
	}
	change.Environment = i.Environment
	change.Integration = &Put[Integration]{Record: *i, Revision: revision}
	change.Events = append([]events.Event{e}, change.Events...)
	made := []string{string(i.ID)}
	if installed != nil {
		made = append(made, string(installed.ID))
	}
	o.Makes(made...)
	return installed, o.broker.store.Apply(ctx, change)
}

// orElse is err, or otherwise where there is none.
func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
