package pipes

import (
	"context"
	"errors"
	"log/slog"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/keys"
)

// refetch is run for an account that has a client of its own: it asks for the next token in the client's
// name. Nothing rotates, so it needs no lock and no journal: two replicas that ask at once get a token each,
// and the second one is stored over nothing, because the generation has moved. The client is this grant's
// alone, so the grant's own pause is its breaker.
func (r *refreshing) refetch(ctx context.Context) error {
	needed, err := r.look(ctx)
	if err != nil || !needed {
		return err
	}
	if err := r.held(); err != nil {
		return err
	}
	done, waited, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if waited {
		// Another replica may have been faster.
		if needed, err := r.look(ctx); err != nil || !needed {
			return err
		}
		if err := r.held(); err != nil {
			return err
		}
	}
	if err := r.Intend(ctx); err != nil {
		return err
	}
	return r.End(ctx, r.refetched(ctx))
}

// refetched asks the provider once and stores what it says.
func (r *refreshing) refetched(ctx context.Context) error {
	b := r.broker
	if !endpointHeld(r.conn, r.grant.Origin) {
		return ErrEndpointChanged
	}
	before, err := r.openGrant(ctx, r.grant)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, b.timing.call)
	defer cancel()
	sentAt := b.now()
	creds := connectors.Credentials{ID: r.grant.Client, Secret: before.ClientSecret}
	tokens, err := b.client.ClientCredentials(asking, r.conn, creds, r.integration.Scopes)
	if failed := connectors.Of(err); failed != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "token of client credentials not fetched", slog.String("provider", r.account.Slug),
			slog.String("grant", string(r.key.grant)), slog.String("class", failed.Class.String()), slog.String("code", failed.Code), slog.Any("error", failed.Cause))
		if failed.Class == connectors.ClientRejected || failed.Class == connectors.DeadGrant {
			return r.bury(ctx, ReasonClientRejected)
		}
		wait := b.refreshes.failed(r.key, b.now(), failed.RetryAfter)
		return &ProviderError{Slug: r.account.Slug, RetryAfter: wait, Err: ErrProvider}
	}
	if err != nil {
		return err
	}
	next := keys.GrantTokens{Access: tokens.Access, ClientSecret: before.ClientSecret, Config: before.Config}
	fetched := *r.grant
	fetched.ObtainedAt, fetched.ExpiresAt, fetched.Metadata = sentAt, tokens.ExpiresAt, tokens.Metadata
	err = rounds(ctx, b.store.Fence, func() error { return r.keep(ctx, &fetched, next, tokens.Scopes) })
	if err != nil {
		return err
	}
	if fetched.ended(b.now()) {
		// A token that ended on its way is no reason to ask for the next one at once.
		b.refreshes.failed(r.key, b.now(), 0)
		return nil
	}
	b.refreshes.succeeded(r.key)
	return nil
}

// keep stores a token as the grant's next generation. A grant that is gone, dead, or at another generation
// drops it: there will be others. nil means that the store has to be read.
func (r *refreshing) keep(ctx context.Context, fetched *Grant, tokens keys.GrantTokens, scopes []string) error {
	b := r.broker
	current, err := b.store.Grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && (current.Record.Generation != r.grant.Generation || current.Record.Dead) {
		return nil
	}
	if err != nil {
		return err
	}
	g := *current.Record
	g.Generation++
	g.ObtainedAt, g.ExpiresAt, g.Metadata = fetched.ObtainedAt, fetched.ExpiresAt, fetched.Metadata
	b.schedule(&g, r.conn, r.unasked && !b.uses.used(r.grant))
	change := Change{Environment: g.Environment}
	e, err := r.cause().aboutRefresh(r.account, b.now())
	if err != nil {
		return err
	}
	change.Events = []events.Event{e}
	if err := r.rescope(ctx, &change, &g, scopes); err != nil {
		return err
	}
	conditions, err := r.sealGrant(ctx, &g, tokens)
	if err != nil {
		return err
	}
	change.Conditions = []keys.Conditions{conditions}
	change.Grant = &Put[Grant]{Record: g, Revision: current.Revision}
	return b.store.Apply(ctx, change)
}
