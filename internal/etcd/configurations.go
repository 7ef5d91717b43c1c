package etcd

import (
	"context"
	"strings"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

// organizationItem is the context item that organizations' keys have, whose index is the place of what they
// have set.
const organizationItem = "organization_id"

func configurationKey(e *keys.Environment, id pipes.IntegrationID, organization string) string {
	return keyConfiguration(e.ID(), id, e.ItemIndex(organizationItem, organization))
}

// isConfiguration tells whether a record stands where it belongs.
func (s *Store) isConfiguration(env access.EnvironmentID, c *pipes.Configuration, key string) bool {
	e, err := s.environments.Environment(env)
	return err == nil && c.Environment == env && configurationKey(e, c.Integration, c.Organization) == key
}

// Configuration implements pipes.Reader.
func (s *Store) Configuration(ctx context.Context, env access.EnvironmentID, id pipes.IntegrationID, organization string) (pipes.At[pipes.Configuration], error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return pipes.At[pipes.Configuration]{}, err
	}
	found, err := readAt[pipes.Configuration](ctx, s, env, configurationKey(e, id, organization), string(id))
	if err == nil && (found.Record.Integration != id || found.Record.Organization != organization) {
		return pipes.At[pipes.Configuration]{}, keys.ErrTampered
	}
	return found, err
}

// Configured implements pipes.Reader.
func (s *Store) Configured(ctx context.Context, env access.EnvironmentID) ([]pipes.IntegrationID, error) {
	return firsts(ctx, s, prefixConfigurations(env, ""), func(it *item) error {
		_, err := open[pipes.Configuration](s, env, it)
		return err
	})
}

// ConfigurationsOf implements pipes.Reader.
func (s *Store) ConfigurationsOf(ctx context.Context, env access.EnvironmentID, id pipes.IntegrationID, limit int) ([]pipes.At[pipes.Configuration], error) {
	prefix := prefixConfigurations(env, id)
	items, err := s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), int64(limit))
	if err != nil {
		return nil, err
	}
	return openAll[pipes.Configuration](s, env, items)
}

// firsts are the integrations that have something below a prefix, which ends before their ids: from one's
// first entry to the next one's, so that the work is bounded by the number of integrations and not by that of
// entries. check looks at the first of each.
func firsts(ctx context.Context, s *Store, prefix string, check func(*item) error) ([]pipes.IntegrationID, error) {
	all := strings.TrimSuffix(prefix, "/")
	var found []pipes.IntegrationID
	for from := s.client.abs(all); ; {
		first, err := s.fetchRange(ctx, from, s.client.end(all), 1)
		if err != nil || len(first) == 0 {
			return found, err
		}
		if err := check(first[0]); err != nil {
			return nil, err
		}
		id, _, _ := strings.Cut(first[0].key[len(all):], "/")
		found = append(found, pipes.IntegrationID(id))
		from = s.client.end(all + id + "/")
	}
}

// configuration compares what an organization has set with where it stands, and has its secret opened.
func (m *moment) configuration(it *item) (*keys.Evidence, error) {
	c, err := open[pipes.Configuration](m.Store, m.env, it)
	if err != nil {
		return nil, err
	}
	kctx, err := c.Context()
	if err != nil || !m.isConfiguration(m.env, c, it.key) {
		return nil, keys.ErrTampered
	}
	return secretsOf(c.Client, kctx, c.SecretBinding), nil
}
