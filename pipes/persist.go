package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/internal/journal"
	"culvert/internal/outage"
	"culvert/keys"
)

// landing is what a refresh brought, on its way into the store.
type landing struct {
	// tokens are all of the grant's at that generation; Renewed is the name of the one that was refreshed.
	tokens keys.GrantTokens
	// generation and origin are of the token that was sent.
	generation uint64
	origin     string
	// client is the client id that they were given to.
	client                                  string
	obtainedAt, expiresAt, refreshExpiresAt time.Time
	// scopes nil means that they are what they were.
	scopes []string
	// metadata is what the reply said besides. The journal does not keep it: what comes from there leaves the
	// grant with what it had, until its next refresh.
	metadata map[string]string
}

// landing puts a reply and what the grant had before together.
func (r *refreshing) landing(t connectors.Tokens, before keys.GrantTokens, sentAt time.Time) *landing {
	next := r.merged(t, before)
	if r.grant.partial(t, r.name) {
		t.Scopes = nil
	}
	return &landing{
		tokens: next, generation: r.grant.Generation, origin: r.grant.Origin, client: r.integration.clientID(),
		obtainedAt: sentAt, expiresAt: t.ExpiresAt, refreshExpiresAt: t.RefreshExpiresAt, scopes: t.Scopes,
		metadata: t.Metadata,
	}
}

// land stores what the provider gave: first in this replica's journal, which survives a crash, then in the
// store. Callers get it from there.
func (r *refreshing) land(ctx context.Context, room *journal.Room, l *landing) error {
	b := r.broker
	entry, err := r.enter(ctx, room, l)
	if err != nil {
		// The store may take it all the same.
		b.log.LogAttrs(ctx, slog.LevelError, "refreshed token is not in the journal",
			slog.String("grant", string(r.key.grant)), slog.Any("error", err))
	}
	if err := r.persist(ctx, l, entry != nil); err != nil {
		return err
	}
	b.pending.remove(entry)
	if !l.expiresAt.IsZero() && !l.expiresAt.After(b.now()) {
		// A token that ended on its way is no reason to ask for the next one at once.
		b.refreshes.failed(r.key, b.now(), 0)
		return nil
	}
	b.refreshes.succeeded(r.key)
	return nil
}

// persist stores what a refresh brought as the grant's next generation. The fence is the generation, not
// the revision of the record: whoever edits the record without refreshing it must not cost a token, so a
// conflict at the same generation is merged, and so is a generation that another of the grant's tokens made. A
// newer generation of this token, or a grant that is gone, drops the result; it is not revoked at the provider,
// which could end the newer one too.
//
// While etcd is away it keeps trying: a rotated refresh token is nowhere else but in the journal, from which
// the keeper goes on when this gives up. nil means that the store has to be read.
func (r *refreshing) persist(ctx context.Context, l *landing, kept bool) error {
	ctx, cancel := context.WithTimeout(ctx, r.broker.timing.persist)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := r.persistOnce(ctx, l)
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
		what := "refreshed token lost: it could not be stored"
		if kept {
			what = "refreshed token is in the journal alone: it could not be stored yet"
		}
		r.broker.log.LogAttrs(ctx, slog.LevelError, what, slog.String("grant", string(r.key.grant)), slog.Any("error", err))
		return err
	}
}

func (r *refreshing) persistOnce(ctx context.Context, l *landing) error {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return err
	}
	current, err := b.store.Grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && !current.Record.keeps(l.tokens.Renewed, l.generation) {
		b.count(CountDropped)
		return nil
	}
	if err != nil {
		return err
	}
	g := *current.Record
	tokens, err := r.over(ctx, &g, l)
	if err != nil {
		return err
	}
	s, err := b.store.Standing(ctx, r.key.env, r.key.grant)
	if err != nil {
		return err
	}
	doubted := s.doubts(&g, l.tokens.Renewed, b.holder())
	change := Change{Environment: g.Environment, Previous: g.TokenMAC}
	change.conclude(&s, &g, l.tokens.Renewed)
	e, err := r.cause().aboutRefresh(r.account, b.now())
	if err != nil {
		return err
	}
	change.Events = []events.Event{e}
	if g.Dead && l.tokens.Renewed == "" {
		// It was judged by what the provider said of the old token, after the very rotation that is stored now.
		if err := b.turn(ctx, &change, &g, "", Connected, "", r.cause()); err != nil {
			return err
		}
	}
	if err := r.rescope(ctx, &change, &g, l.scopes); err != nil {
		return err
	}
	g.advance(l.tokens.Renewed)
	// Where the tokens came from is where they may be sent, whatever the record says meanwhile.
	g.Origin = l.origin
	g.renew(l, doubted)
	g.Client = l.client
	if g.TokenMAC, err = r.tokenMAC(ctx, tokens); err != nil {
		return err
	}
	if r.conn != nil {
		b.schedule(&g, r.conn, r.unasked && !b.uses.used(r.grant))
	}
	conditions, err := r.sealGrant(ctx, &g, tokens)
	if err != nil {
		return err
	}
	change.Conditions = []keys.Conditions{conditions}
	change.Grant = &Put[Grant]{Record: g, Revision: current.Revision}
	if err := b.store.Apply(ctx, change); err != nil {
		return err
	}
	b.count(CountRefreshed)
	return nil
}

// conclude ends the refresh of one of a grant's tokens in the change that renews or ends it, if what stands there
// is as it was read. An attempt of another one stays as it is: it says what became of a token that the grant still
// has.
func (c *Change) conclude(s *Standing, g *Grant, name string) {
	a := s.open(g)
	c.Concludes = len(g.Named) == 0 || s.Attempt.Record != nil && (a == nil || a.Name == name)
	c.AttemptAt = s.Attempt.Revision
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
// events, in one transaction. nil means that the store has to be read, [errAgain] that somebody else has
// taken the refresh over meanwhile: the grant is his to judge.
func (r *refreshing) bury(ctx context.Context, reason string) error {
	for range changeAttempts {
		err := r.buryOnce(ctx, reason)
		if !conflicted(err) {
			return err
		}
		if !r.announced {
			continue
		}
		s, err := r.broker.store.Standing(ctx, r.key.env, r.key.grant)
		if err != nil {
			return err
		}
		if a := s.Attempt.Record; a == nil || a.ID != r.attempt.ID {
			r.finished = true
			return errAgain
		}
		r.attemptAt = s.Attempt.Revision
	}
	return ErrConflict
}

func (r *refreshing) buryOnce(ctx context.Context, reason string) error {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return err
	}
	current, err := b.store.Grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && r.overtaken(current.Record) {
		return nil
	}
	if err != nil {
		return err
	}
	g := *current.Record
	change := Change{Environment: g.Environment, Previous: g.TokenMAC}
	if r.announced {
		change.Concludes, change.AttemptAt = true, r.attemptAt
	} else {
		s, err := b.store.Standing(ctx, r.key.env, r.key.grant)
		if err != nil {
			return err
		}
		change.conclude(&s, &g, r.name)
	}
	if r.name != "" {
		if err := r.buryNamed(&change, &g, reason); err != nil {
			return err
		}
	} else {
		if err := b.turn(ctx, &change, &g, "", NeedsReauthorization, reason, r.cause()); err != nil {
			return err
		}
		if len(change.Others) == 0 {
			return nil // every account says so already, for a reason of its own
		}
		g.Dead, g.Reason, g.DueAt = true, reason, time.Time{}
	}
	change.Grant = &Put[Grant]{Record: g, Revision: current.Revision}
	if err := b.store.Apply(ctx, change); err != nil {
		return err
	}
	r.finished = true
	b.count(countOf(reason))
	return nil
}
