package pipes

import (
	"context"
	"slices"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
)

// configurations removes what organizations have set of integrations that are gone, with their client secrets.
// What is left after a batch is for the next round.
func (s *sweeper) configurations(ctx context.Context, env access.EnvironmentID) error {
	gone, err := s.gone(ctx, env, s.store.Configured)
	if err != nil || len(gone) == 0 {
		return err
	}
	kept, err := s.store.Retired(ctx, env)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if slices.ContainsFunc(kept, func(i At[Integration]) bool { return i.Record.ID == id }) {
			continue // what is to be revoked may need an organization's client
		}
		batch, err := s.store.ConfigurationsOf(ctx, env, id, sweepBatch)
		if err != nil {
			return err
		}
		for _, found := range batch {
			if err := s.configuration(ctx, env, found); err != nil {
				return err
			}
		}
		if len(batch) == sweepBatch {
			s.wakeSweeper()
		}
	}
	return nil
}

func (s *sweeper) configuration(ctx context.Context, env access.EnvironmentID, found At[Configuration]) error {
	f := found.Record
	c, err := s.trace(ctx, audit.Record{
		EnvironmentID: env, Action: access.IntegrationsManage, Provider: f.Slug, IntegrationID: string(f.Integration),
		OrganizationID: f.Organization,
	})
	if err != nil {
		return err
	}
	e, err := c.aboutConfiguration(events.ConfigurationDeleted, f, s.now())
	if err != nil {
		return err
	}
	err = s.store.Apply(ctx, Change{
		Environment: env, Configuration: &Put[Configuration]{Record: *f, Revision: found.Revision, Remove: true},
		Events: []events.Event{e},
	})
	if conflicted(err) {
		return nil // another replica removed it, or the next round does
	}
	return err
}
