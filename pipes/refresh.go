package pipes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
)

// refreshing is one refresh of one grant, detached from the call that began it.
type refreshing struct {
	*operation
	account *Account
	key     grantKey
	// behind is a refresh that nobody waits for.
	behind bool
	// grant is the record whose refresh token is sent.
	grant       *Grant
	integration *Integration
	conn        *connectors.Connector
}

// refresh is what a flight runs. The account is one that points to the grant: the one that was asked for.
func (o *operation) refresh(a *Account, g *Grant, behind bool) func(context.Context) error {
	r := &refreshing{operation: o.fork(), account: a, key: keyOf(g), behind: behind}
	return r.run
}

// run sees to it that the store has a token that works, or says why it cannot. nil means that the store
// has to be read again: what it says then counts, also that the grant is dead or gone.
func (r *refreshing) run(ctx context.Context) error {
	needed, err := r.look(ctx)
	if err != nil || !needed {
		return err
	}
	b := r.broker
	if r.grant.Refreshable {
		if err := r.held(); err != nil {
			return err
		}
		done, waited, err := r.turn(ctx)
		if err != nil {
			return err
		}
		defer done()
		if waited {
			// Another replica may have been faster, or an administrator.
			if needed, err := r.look(ctx); err != nil || !needed {
				return err
			}
			if err := r.held(); err != nil {
				return err
			}
		}
		wait, ok := b.breakers.allow(r.integration.clientKey(), b.now())
		if !ok {
			return &ProviderError{Slug: r.account.Slug, RetryAfter: wait, Err: ErrClientRejected}
		}
		defer b.breakers.undecided(r.integration.clientKey())
	}
	if err := r.Intend(ctx); err != nil {
		return err
	}
	return r.End(ctx, r.renewed(ctx))
}

// held tells why the refresh token is not sent now, whatever the provider would say.
func (r *refreshing) held() error {
	if r.grant.Refreshable && r.conn.TokenOrigin() != r.grant.Origin {
		return ErrEndpointChanged
	}
	b := r.broker
	if wait := b.refreshes.paused(r.key, b.now()); wait > 0 {
		return &ProviderError{Slug: r.account.Slug, RetryAfter: wait, Err: ErrProvider}
	}
	return nil
}

// look reads what is there now, behind a fence: whoever asked for the refresh may have read before the
// last one landed.
func (r *refreshing) look(ctx context.Context) (needed bool, err error) {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return false, err
	}
	found, err := b.grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrConflict) {
		return false, nil // gone with its account
	}
	if err != nil {
		return false, err
	}
	i, err := b.integrationOf(ctx, r.key.env, r.account.Slug, r.account.Owner.Kind, found.Record.Integration)
	if errors.Is(err, ErrNoIntegration) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.conn, err = b.connector(i.Record); err != nil {
		return false, err
	}
	r.grant, r.integration = found.Record, i.Record
	return !r.grant.Dead && r.grant.due(r.conn, b.now()) != living, nil
}

// renewed asks the provider and stores what it says.
func (r *refreshing) renewed(ctx context.Context) error {
	if !r.grant.Refreshable {
		return r.bury(ctx, ReasonExpired)
	}
	creds, err := r.clientCredentials(ctx, r.integration, r.conn)
	if err != nil {
		return err
	}
	before, err := r.openGrant(ctx, r.grant)
	if err != nil {
		return err
	}
	sentAt, tokens, err := r.ask(ctx, creds, before.Refresh)
	if err != nil {
		return r.judge(ctx, err)
	}
	r.broker.breakers.accepted(r.integration.clientKey())
	next := grantTokens(tokens, before)
	next.Previous = before.Previous
	if !next.Refresh.Equal(before.Refresh) {
		next.Previous = before.Refresh
	}
	if err := r.persist(ctx, tokens, next, sentAt); err != nil {
		return err
	}
	if end := tokens.ExpiresAt; !end.IsZero() && !end.After(r.broker.now()) {
		// A token that ended on its way is no reason to ask for the next one at once.
		r.broker.refreshes.failed(r.key, r.broker.now(), 0)
		return nil
	}
	r.broker.refreshes.succeeded(r.key)
	return nil
}

// errMoved means that another replica has refreshed the grant meanwhile.
var errMoved = errors.New("pipes: grant has a newer generation")

// ask sends the refresh token. If no readable reply comes, the same one is sent again within every known
// grace period: if the server never saw the first it works, and if it did and has no grace, the grant was
// lost with the reply.
func (r *refreshing) ask(ctx context.Context, creds connectors.Credentials, refresh secret.Bytes) (time.Time, connectors.Tokens, error) {
	b := r.broker
	ctx, cancel := context.WithTimeout(ctx, b.timing.call)
	defer cancel()
	for n := 0; ; n++ {
		sentAt := b.now()
		tokens, err := b.client.Refresh(ctx, r.conn, creds, refresh)
		failed := connectors.Of(err)
		if failed == nil {
			return sentAt, tokens, err
		}
		b.log.LogAttrs(ctx, slog.LevelWarn, "refresh failed", slog.String("provider", r.account.Slug), slog.String("grant", string(r.key.grant)),
			slog.String("class", failed.Class.String()), slog.String("code", failed.Code), slog.Any("error", failed.Cause))
		if failed.Class == connectors.Ambiguous {
			b.refreshes.doubt(r.key, b.now(), r.grant.Generation)
		}
		if failed.Class != connectors.Ambiguous || n >= len(b.timing.resend) {
			return time.Time{}, connectors.Tokens{}, err
		}
		select {
		case <-time.After(b.timing.resend[n]):
		case <-ctx.Done():
			return time.Time{}, connectors.Tokens{}, err
		}
		if moved, err := r.moved(ctx); err != nil || moved {
			return time.Time{}, connectors.Tokens{}, orElse(err, errMoved)
		}
	}
}

// moved looks whether the grant is another one than the one whose token was sent.
func (r *refreshing) moved(ctx context.Context) (bool, error) {
	if err := r.broker.store.Fence(ctx); err != nil {
		return false, err
	}
	found, err := r.broker.grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrConflict) {
		return true, nil
	}
	return err == nil && found.Record.Generation != r.grant.Generation, err
}

// judge decides what a failed refresh means. Whatever it was, the store is read again first: a newer
// generation is the answer.
func (r *refreshing) judge(ctx context.Context, err error) error {
	if errors.Is(err, errMoved) {
		return nil
	}
	failed := connectors.Of(err)
	if failed == nil {
		return err
	}
	b, slug := r.broker, r.account.Slug
	moved, readErr := r.moved(ctx)
	switch {
	case readErr != nil:
		return readErr
	case moved:
		return nil
	case failed.Class == connectors.DeadGrant:
		b.breakers.accepted(r.integration.clientKey())
		lost := b.refreshes.doubted(r.key, r.grant.Generation)
		return r.bury(ctx, deadReason(r.grant, r.integration.clientID(), r.conn, failed, lost, b.now()))
	case failed.Class == connectors.ClientRejected && failed.Code == "unauthorized_client":
		// Providers say this of a token that belongs to another client, too: only this grant waits.
		wait := b.refreshes.failed(r.key, b.now(), failed.RetryAfter)
		return &ProviderError{Slug: slug, RetryAfter: wait, Err: ErrClientRejected}
	case failed.Class == connectors.ClientRejected:
		b.breakers.rejected(r.integration.clientKey(), b.now())
		return &ProviderError{Slug: slug, RetryAfter: breakerPause, Err: ErrClientRejected}
	}
	wait := b.refreshes.failed(r.key, b.now(), failed.RetryAfter)
	return &ProviderError{Slug: slug, RetryAfter: wait, Err: ErrProvider}
}
