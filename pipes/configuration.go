package pipes

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/keys"
)

// Configuration is what one organization has set of an integration, as stored. The store adds a MAC; the
// client secret is sealed. It stands at the integration's id, so that none is of an integration that took
// the slug later.
type Configuration struct {
	Integration  IntegrationID        `cbor:"1,keyasint"`
	Environment  access.EnvironmentID `cbor:"2,keyasint"`
	Slug         string               `cbor:"3,keyasint"`
	Organization string               `cbor:"4,keyasint"`
	// Enabled counts instead of the integration's; nil: nothing is set.
	Enabled *bool `cbor:"5,keyasint,omitempty"`
	// Scopes are asked for as far as the integration has them; nil: all of its.
	Scopes []string `cbor:"6,keyasint,omitempty"`
	// Client is the organization's own at the provider, for integrations that leave that to organizations.
	// Its secret is sealed under the KEK of the organization's key context, bound as an integration's.
	Client    *Client   `cbor:"7,keyasint,omitempty"`
	CreatedAt time.Time `cbor:"8,keyasint"`
	UpdatedAt time.Time `cbor:"9,keyasint"`
	// Config are values of fields of accounts, for those accounts that have none of their own. None is secret.
	Config map[string]string `cbor:"10,keyasint,omitempty"`
}

// SecretBinding is what the seal of one of the client's secrets proves.
func (c *Configuration) SecretBinding(s *SealedSecret) keys.ClientSecretBinding {
	return c.Client.secretBinding(c.Integration, s)
}

// Context is the key context that the client secret stands in.
func (c *Configuration) Context() (keys.Context, error) { return organizationContext(c.Organization) }

// organizationContext is the key context of what is an organization's; empty for none.
func organizationContext(organization string) (keys.Context, error) {
	if organization == "" {
		return keys.Context{}, nil
	}
	return keys.ParseContext(map[string]string{organizationItem: organization})
}

// leavesClients reports an integration for which every organization has a client of its own at the
// provider.
func (i *Integration) leavesClients() bool {
	return i.Client != nil && i.Client.Type == credentialsOrganization
}

// lacksClient reports an integration as it is for an owner who has no client there, although he needs one
// of his own.
func (i *Integration) lacksClient() bool { return i.leavesClients() && i.Client.ID == "" }

// configuration is an organization's for an integration; no record if it has none.
func (b *Broker) configuration(ctx context.Context, i *Integration, organization string) (At[Configuration], error) {
	if organization == "" {
		return At[Configuration]{}, nil
	}
	found, err := b.store.Configuration(ctx, i.Environment, i.ID, organization)
	if errors.Is(err, ErrNotFound) {
		return At[Configuration]{}, nil
	}
	if err != nil {
		return At[Configuration]{}, err
	}
	c := found.Record
	if c.Environment != i.Environment || c.Integration != i.ID || c.Organization != organization ||
		c.Client != nil && c.Client.Organization != organization {
		return At[Configuration]{}, keys.ErrTampered
	}
	return found, nil
}

// integrationFor is an integration as it is for an owner's accounts: everything that is decided on for
// them, and sent for them, follows from this copy.
func (b *Broker) integrationFor(ctx context.Context, i *Integration, w Owner) (*Integration, error) {
	found, err := b.configuration(ctx, i, w.Organization)
	if err != nil || found.Record == nil {
		return i, err
	}
	return b.configured(i, found.Record), nil
}

// configured is an integration with what an organization has set. Where the integration leaves clients to
// organizations its Client is the organization's own, or none: one organization's accounts never go by
// another's client.
func (b *Broker) configured(i *Integration, c *Configuration) *Integration {
	next := *i
	next.SharedConfig = c.Config
	if c.Enabled != nil {
		next.Enabled = *c.Enabled
	}
	if i.leavesClients() && c.Client != nil {
		next.Client = c.Client
	}
	if conn, err := b.connector(i); err == nil && c.Scopes != nil {
		next.Scopes = narrowed(c.Scopes, requestedScopes(i, conn))
	}
	return &next
}

// narrowed are those of an organization's scopes that the integration asks for: what an administrator
// takes away there is asked for nowhere. All of them, where none are left: an empty list would be
// "what the provider gives by default".
func narrowed(scopes, all []string) []string {
	kept := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(all, s) })
	if len(kept) == 0 {
		return slices.Clone(all)
	}
	return kept
}

// outside reports scopes that an integration does not ask for, and an organization cannot either.
func (i *Integration) outside(conn *connectors.Connector, scopes []string) bool {
	all := requestedScopes(i, conn)
	return slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(all, s) })
}
