package pipes

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
)

// ConfigurationView is an integration as it is for one organization.
type ConfigurationView struct {
	// IntegrationView is with what the organization has set.
	IntegrationView
	Organization string
	// Own is what the organization has set; nil if it has set nothing. It is shared and must not be changed.
	Own *Configuration
	// CredentialsType is the integration's: "custom" or "organization"; empty without OAuth.
	CredentialsType string
}

// Configurations are all integrations of the environment as they are for an organization.
//
// Errors: [*InvalidError].
func (b *Broker) Configurations(ctx context.Context, call access.Call, organization string) ([]ConfigurationView, error) {
	o, err := b.begin(ctx, call, access.IntegrationsRead)
	if err != nil {
		return nil, err
	}
	list, err := o.configurations(ctx, organization)
	return answer(ctx, o, list, err)
}

func (o *operation) configurations(ctx context.Context, organization string) ([]ConfigurationView, error) {
	if err := checkID("organization_id", organization); err != nil {
		return nil, err
	}
	o.about("", Owner{Kind: OwnedByOrganization, Organization: organization}, "")
	kctx, err := organizationContext(organization)
	if err != nil {
		return nil, err
	}
	o.Record.KeyContext = kctx.Items()
	permit := o.Lists()
	all, err := o.broker.store.Integrations(ctx, o.Environment())
	if err != nil {
		return nil, err
	}
	list := []ConfigurationView{}
	for _, i := range all {
		if !permit.Allows(resource(i.Record.Slug, kctx)) {
			continue
		}
		found, err := o.broker.configuration(ctx, i.Record, organization)
		if err != nil {
			return nil, err
		}
		list = append(list, o.broker.configurationView(i.Record, organization, found.Record))
	}
	return list, nil
}

// aboutOrganization checks whose configuration a call is about, notes it in the trail and completes the
// permit.
func (o *operation) aboutOrganization(slug, organization string) error {
	if err := checkID("organization_id", organization); err != nil {
		return err
	}
	o.about(slug, Owner{Kind: OwnedByOrganization, Organization: organization}, "")
	kctx, err := organizationContext(organization)
	if err != nil {
		return err
	}
	return o.complete(slug, kctx)
}

func (b *Broker) configurationView(i *Integration, organization string, c *Configuration) ConfigurationView {
	v := ConfigurationView{Organization: organization, Own: c}
	if i.Client != nil {
		v.CredentialsType = i.Client.Type
	}
	if c != nil {
		i = b.configured(i, c)
	}
	v.IntegrationView = b.view(i)
	return v
}

// Configure changes what an organization has set of an integration. Nil fields are left as they are.
type Configure struct {
	Organization, Slug string
	// Ownership empty means the integration for users, or else the one for organizations.
	Ownership Ownership
	Enabled   *bool
	// Scopes points to nil to ask for all that the integration does.
	Scopes *[]string
	// ClientID and ClientSecret are the organization's own at the provider. They come together.
	ClientID     string
	ClientSecret secret.Bytes
	// PreviousUntil is as in [ClientCredentials]; it may come alone.
	PreviousUntil *time.Time
	// Config changes the values that there are; an empty one takes the value away.
	Config map[string]string
}

// Configure stores an organization's configuration of an integration: whether its accounts may be connected
// and vended, which of the integration's scopes are asked for, its own client at the provider, where the
// integration leaves that to organizations, and values of config fields for its accounts. What an organization says of
// Enabled counts instead of what the integration says, in both directions.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrConflict].
func (b *Broker) Configure(ctx context.Context, call access.Call, r Configure) (ConfigurationView, error) {
	o, err := b.begin(ctx, call, access.IntegrationsManage)
	if err != nil {
		return ConfigurationView{}, err
	}
	var view ConfigurationView
	err = o.retry(ctx, func() error {
		i, next, err := o.configure(ctx, &r)
		if err == nil {
			view = b.configurationView(i, r.Organization, next)
		}
		return err
	})
	return committed(ctx, o, view, err)
}

func (o *operation) configure(ctx context.Context, r *Configure) (*Integration, *Configuration, error) {
	i, err := o.readConfigurable(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	conn, err := o.broker.connector(i)
	if err != nil {
		return nil, nil, err
	}
	if err := r.check(i, conn); err != nil {
		return nil, nil, err
	}
	found, err := o.broker.configuration(ctx, i, r.Organization)
	if err != nil {
		return nil, nil, err
	}
	now := o.broker.now()
	next := Configuration{
		Integration: i.ID, Environment: i.Environment, Slug: i.Slug, Organization: r.Organization, CreatedAt: now,
	}
	if found.Record != nil {
		next = *found.Record
	}
	next.UpdatedAt = now
	if r.Config != nil {
		next.Config = changedConfig(unpinned(i, next.Config), r.Config)
		if err := o.broker.checkShared(i, next.Config); err != nil {
			return nil, nil, err
		}
	}
	if r.Enabled != nil {
		next.Enabled = r.Enabled
	}
	if r.Scopes != nil {
		next.Scopes = slices.Clone(*r.Scopes)
	}
	return i, &next, o.putConfiguration(ctx, i, conn, &next, r, found.Revision)
}

// readConfigurable finds the integration that a configuration is of.
func (o *operation) readConfigurable(ctx context.Context, r *Configure) (*Integration, error) {
	w := r.Ownership
	if w == "" {
		w = OwnedByUser
	}
	found, err := o.findIntegration(ctx, r.Slug, w)
	if errors.Is(err, ErrNoIntegration) && r.Ownership == "" {
		found, err = o.findIntegration(ctx, r.Slug, OwnedByOrganization)
	}
	if err != nil {
		return nil, err
	}
	return found.Record, o.aboutOrganization(found.Record.Slug, r.Organization)
}

// check refuses what the contract answers with 400, and scopes that the integration does not ask for.
func (r *Configure) check(i *Integration, conn *connectors.Connector) error {
	id, key := r.ClientID != "", r.ClientSecret.Len() > 0
	switch {
	case r.Enabled == nil && r.Scopes == nil && !id && !key && r.PreviousUntil == nil && r.Config == nil:
		return malformedBody("enabled", CodeRequired, "or scopes or client_id with client_secret or config is required")
	case id && !key:
		return malformedBody("client_secret", CodeRequired, "is required with client_id")
	case key && !id:
		return malformedBody("client_id", CodeRequired, "is required with client_secret")
	case id && !i.leavesClients():
		return malformedBody("client_id", CodeInvalid, `needs an integration whose credentials are of type "organization"`)
	case r.ClientSecret.Len() > MaxToken:
		return invalid("client_secret", "is too long")
	}
	var scopes error
	if r.Scopes != nil {
		if scopes = checkScopes("scopes", *r.Scopes); scopes == nil && i.outside(conn, *r.Scopes) {
			scopes = invalid("scopes", "must be scopes that the data integration asks for")
		}
	}
	return gather(scopes, checkText("client_id", r.ClientID, MaxLabel))
}

// putConfiguration seals the secret that came with the call, if one did, and stores the record.
func (o *operation) putConfiguration(
	ctx context.Context, i *Integration, conn *connectors.Connector, next *Configuration, r *Configure, revision int64,
) error {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	change, had := Change{Environment: i.Environment}, next.Client
	if r.ClientID != "" {
		next.Client = &Client{Type: credentialsOrganization, ID: r.ClientID, Organization: r.Organization}
	} else if had != nil {
		kept := *had
		next.Client = &kept
	}
	same, err := o.rotate(ctx, rotation{r.ClientSecret, r.PreviousUntil, "previous_secret_expires_at"}, i.ID, i.Slug, conn, had, next.Client)
	if err != nil {
		return err
	}
	if r.ClientID != "" && !same {
		conditions, err := o.sealClientSecret(ctx, i.ID, next.Client, i.Slug, conn, r.ClientSecret)
		if err != nil {
			return err
		}
		change.Conditions = append(change.Conditions, conditions)
	}
	e, err := o.cause().aboutConfiguration(events.ConfigurationUpdated, next, next.UpdatedAt)
	if err != nil {
		return err
	}
	change.Configuration = &Put[Configuration]{Record: *next, Revision: revision}
	change.Events = append(change.Events, e)
	return o.broker.store.Apply(ctx, change)
}
