package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
)

// persist stores what a refresh brought as the grant's next generation. The fence is the generation, not
// the revision of the record: whoever edits the record without refreshing it must not cost a token, so a
// conflict at the same generation is merged. A newer generation, or a grant that is gone, drops the
// result; it is not revoked at the provider, which could end the newer one too.
//
// While etcd is away it keeps trying: a rotated refresh token is nowhere else. nil means that the store
// has to be read.
func (r *refreshing) persist(ctx context.Context, t connectors.Tokens, next keys.GrantTokens, sentAt time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.broker.timing.persist)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := r.persistOnce(ctx, t, next, sentAt)
		if err == nil {
			return nil
		}
		if conflicted(err) || outage.Of(err) != nil {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		r.broker.log.LogAttrs(ctx, slog.LevelError, "refreshed token lost: it could not be stored",
			slog.String("grant", string(r.key.grant)), slog.Any("error", err))
		return err
	}
}

func (r *refreshing) persistOnce(ctx context.Context, t connectors.Tokens, tokens keys.GrantTokens, sentAt time.Time) error {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return err
	}
	current, err := b.store.Grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && current.Record.Generation != r.grant.Generation {
		return nil
	}
	if err != nil {
		return err
	}
	g := *current.Record
	change := Change{Environment: g.Environment, Previous: g.TokenMAC}
	e, err := r.cause().aboutRefresh(r.account, b.now())
	if err != nil {
		return err
	}
	change.Events = []events.Event{e}
	if g.Dead {
		// Another replica was told that the old token is dead, by the very rotation that is stored now.
		if err := b.turn(ctx, &change, &g, "", Connected, "", r.cause()); err != nil {
			return err
		}
	}
	if err := r.rescope(ctx, &change, &g, t.Scopes); err != nil {
		return err
	}
	g.Generation++
	g.ObtainedAt, g.ExpiresAt, g.Dead, g.Reason = sentAt, t.ExpiresAt, false, ""
	g.Client = r.integration.clientID()
	if !t.RefreshExpiresAt.IsZero() {
		g.RefreshExpiresAt = t.RefreshExpiresAt
	}
	if g.TokenMAC, err = r.tokenMAC(ctx, tokens); err != nil {
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

// tokenMAC is the keyed hash under which the grant is found by its refresh token. A provider that hands
// one token to two grants leaves the second without: losing the token would be worse than not finding it.
func (r *refreshing) tokenMAC(ctx context.Context, t keys.GrantTokens) ([]byte, error) {
	e, err := r.broker.environments.Environment(r.key.env)
	if err != nil {
		return nil, err
	}
	mac := e.RefreshTokenMAC(t.Refresh)
	holder, err := r.holderOf(ctx, mac)
	if err != nil || holder != "" && holder != r.key.grant {
		return nil, err
	}
	return mac, nil
}

// rescope notes the scopes of a refresh that says other ones than before, in every account of the grant.
// nil means that they are what they were (RFC 6749 section 6).
func (r *refreshing) rescope(ctx context.Context, change *Change, g *Grant, scopes []string) error {
	if scopes == nil {
		return nil
	}
	for _, id := range g.Accounts {
		found, err := r.broker.store.Account(ctx, g.Environment, id)
		if errors.Is(err, ErrNotFound) {
			return ErrConflict
		}
		if err != nil {
			return err
		}
		if found.Record.Grant != g.ID || sameScopes(found.Record.Scopes, scopes) {
			continue
		}
		n := slices.IndexFunc(change.Others, func(p Put[Account]) bool { return p.Record.ID == id })
		if n < 0 {
			change.Others = append(change.Others, Put[Account]{Record: *found.Record, Revision: found.Revision})
			n = len(change.Others) - 1
		}
		change.Others[n].Record.Scopes = slices.Clone(scopes)
		change.Others[n].Record.UpdatedAt = r.broker.now()
	}
	return nil
}

// bury marks a grant dead, and all accounts that point to it as needing reauthorization, with their
// events, in one transaction. nil means that the store has to be read.
//
// Before that it waits a moment and looks again: another replica may have rotated the token, and be about
// to store the new one. The protocol that makes this certain comes with the journal.
func (r *refreshing) bury(ctx context.Context, reason string) error {
	if r.grant.Refreshable {
		select {
		case <-time.After(r.broker.timing.doubt):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range changeAttempts {
		err := r.buryOnce(ctx, reason)
		if !conflicted(err) {
			return err
		}
	}
	return ErrConflict
}

func (r *refreshing) buryOnce(ctx context.Context, reason string) error {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return err
	}
	current, err := b.store.Grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && (current.Record.Generation != r.grant.Generation || current.Record.Dead) {
		return nil
	}
	if err != nil {
		return err
	}
	g := *current.Record
	change := Change{Environment: g.Environment, Previous: g.TokenMAC}
	if err := b.turn(ctx, &change, &g, "", NeedsReauthorization, reason, r.cause()); err != nil {
		return err
	}
	if len(change.Others) == 0 {
		return nil // every account says so already, for a reason of its own
	}
	g.Dead, g.Reason = true, reason
	change.Grant = &Put[Grant]{Record: g, Revision: current.Revision}
	return b.store.Apply(ctx, change)
}
