package pipes

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/keys"
)

// Bounds of what the caretaker does at once. They are below those of all refreshes (turns.go), so that ten
// thousand grants that are due together leave room for those that a caller waits for.
const (
	caredAtOnce            = 64
	caredAtOnceIntegration = 16
	// caredInHand bounds the grants that were claimed and wait for room.
	caredInHand = 200
	claimBatch  = 40
	// maxMarks bounds the grants that wait to be marked as in use.
	maxMarks = 1024
	// claimTime is how long a claimed grant is not offered to another replica. A caretaker that dies leaves
	// its grants to the others after it.
	claimTime = 3 * time.Minute
)

// caretaker refreshes grants that nobody asks for now: those in use at their margin, idle ones before their
// provider forgets them. It also announces the ends that no refresh can move. What is due stands in the
// store, in order of time, so that its cost does not grow with the number of grants; replicas share the
// work by claiming it, and the refresh itself is fenced like any other.
type caretaker struct {
	*Broker
	turns *turns
	hands chan struct{}
	work  sync.WaitGroup
}

func newCaretaker(b *Broker) *caretaker {
	return &caretaker{Broker: b, turns: newTurns(caredAtOnceIntegration, caredAtOnce), hands: make(chan struct{}, caredInHand)}
}

// careUntil looks after grants until the context ends, and returns when nothing of it is under way.
func (b *Broker) careUntil(ctx context.Context) {
	k := newCaretaker(b)
	defer k.work.Wait()
	tick := time.NewTicker(b.timing.care)
	defer tick.Stop()
	for {
		k.round(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// round begins all that is due now.
func (k *caretaker) round(ctx context.Context) {
	for _, env := range k.environments.IDs() {
		for n := claimBatch; n == claimBatch && ctx.Err() == nil; {
			var err error
			if n, err = k.claim(ctx, env); err != nil && ctx.Err() == nil {
				k.log.LogAttrs(ctx, slog.LevelWarn, "grants that are due cannot be claimed",
					slog.String("environment", string(env)), slog.Any("error", err))
			}
		}
	}
}

// claim takes some grants that are due and begins to look after them; n is how many.
func (k *caretaker) claim(ctx context.Context, env access.EnvironmentID) (n int, err error) {
	now := k.now()
	claim := Claim{Environment: env, Until: now.Add(claimTime)}
	claim.Grants, err = k.store.ClaimDue(ctx, env, now, claim.Until, claimBatch)
	if errors.Is(err, ErrConflict) {
		select { // another replica was faster; there may be more
		case <-time.After(rand.N(50 * time.Millisecond)):
			return claimBatch, nil
		case <-ctx.Done():
		}
	}
	if err != nil {
		return 0, err
	}
	for _, id := range claim.Grants {
		if _, ok := place(ctx, k.hands); !ok {
			return 0, ctx.Err()
		}
		k.work.Go(func() {
			defer func() { <-k.hands }()
			k.care(ctx, claim, id)
		})
	}
	return len(claim.Grants), nil
}

// care looks after one grant, and says when it is looked at again. If that cannot be stored the claim ends
// by itself.
func (k *caretaker) care(ctx context.Context, claim Claim, id GrantID) {
	again, err := k.look(ctx, claim.Environment, id)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if k.log.LogAttrs(ctx, slog.LevelDebug, "grant not cared for", slog.String("grant", string(id)), slog.Any("error", err)); again.IsZero() {
			again = k.later(time.Minute)
		}
	}
	if err := k.store.ReleaseDue(ctx, claim, id, again); err != nil && ctx.Err() == nil {
		k.log.LogAttrs(ctx, slog.LevelDebug, "claim not given back", slog.String("grant", string(id)), slog.Any("error", err))
	}
}

// later is some time from now, up to a half more, so that what waits does not come back at one moment.
func (k *caretaker) later(d time.Duration) time.Time {
	return k.now().Add(d + time.Duration(rand.Int64N(int64(d)/2+1)))
}

// errBusy is a grant whose integration has as many refreshes under way as the caretaker may begin.
var errBusy = errors.New("pipes: the caretaker has no room for the integration")

// look does what is due for a grant. again is zero where its record says when it is looked at next.
func (k *caretaker) look(ctx context.Context, env access.EnvironmentID, id GrantID) (again time.Time, err error) {
	if err := k.store.Fence(ctx); err != nil {
		return time.Time{}, err
	}
	c, err := k.charge(ctx, env, id)
	if err != nil || c == nil {
		return time.Time{}, err
	}
	if !c.integration.Enabled {
		return k.later(time.Hour), nil // it keeps its tokens as they are, until somebody enables it again
	}
	if err := k.announce(ctx, c); err != nil {
		return time.Time{}, err
	}
	if !c.grant.wanted(c.conn, k.now(), k.Broker) {
		return time.Time{}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, k.timing.care)
	defer cancel()
	done, _ := k.turns.take(waiting, c.integration.ID)
	if done == nil {
		return k.later(15 * time.Second), errBusy
	}
	defer done()
	return k.refresh(ctx, c)
}

// charge is a grant that the caretaker looks after, with an account that points to it.
type charge struct {
	grant       *Grant
	revision    int64
	account     *Account
	integration *Integration
	conn        *connectors.Connector
}

// charge reads a grant that is due; nil if nothing is to be done for it now. Accounts of a removed
// integration are the sweeper's.
func (k *caretaker) charge(ctx context.Context, env access.EnvironmentID, id GrantID) (*charge, error) {
	found, err := k.store.Grant(ctx, env, id)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &charge{grant: found.Record, revision: found.Revision}
	if c.grant.Environment != env || c.grant.ID != id {
		return nil, keys.ErrTampered
	}
	if c.grant.Dead || c.grant.DueAt.IsZero() || k.now().Before(c.grant.DueAt) || len(c.grant.Accounts) == 0 {
		return nil, nil
	}
	account, err := k.store.Account(ctx, env, c.grant.Accounts[0])
	if errors.Is(err, ErrNotFound) {
		return nil, ErrConflict // it is leaving the grant at this moment
	}
	if err != nil {
		return nil, err
	}
	c.account = account.Record
	i, err := k.integrationOf(ctx, env, c.account.Slug, c.account.Owner.Kind, c.grant.Integration)
	if errors.Is(err, ErrNoIntegration) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c.integration, err = k.integrationFor(ctx, i.Record, c.account.Owner); err != nil {
		return nil, err
	}
	c.integration = c.integration.at(c.account.Config)
	c.conn, err = k.connector(c.integration)
	return c, err
}

// wanted reports that a refresh is due without anybody asking for it.
func (g *Grant) wanted(conn *connectors.Connector, now time.Time, b *Broker) bool {
	if !g.Refreshable {
		return false
	}
	if !g.refetched() && !now.Before(g.ObtainedAt.Add(b.keptEvery(g, conn))) {
		return true
	}
	return !g.Idle && !g.ExpiresAt.IsZero() && !now.Before(g.margined(conn))
}

// operation is work of the caretaker's own on a grant, with the permit completed for its key context.
func (k *caretaker) operation(ctx context.Context, c *charge) (*operation, error) {
	call := access.Call{Actor: access.SystemActor(c.grant.Environment, "caretaker")}
	o, err := k.begin(ctx, call, access.TokenRefresh)
	if err != nil {
		return nil, err
	}
	kctx, err := keys.ParseContext(c.grant.Items)
	if err != nil {
		return nil, keys.ErrTampered
	}
	o.about(c.account.Slug, c.account.Owner, "")
	o.Record.AccountID, o.Record.GrantID = string(c.account.ID), string(c.grant.ID)
	return o, o.complete(c.account.Slug, kctx)
}

// refresh refreshes a grant, or waits for the refresh of it that is under way.
func (k *caretaker) refresh(ctx context.Context, c *charge) (again time.Time, err error) {
	key := keyOf(c.grant)
	if wait := k.refreshes.paused(key, k.now()); wait > 0 {
		return k.later(wait), nil
	}
	o, err := k.operation(ctx, c)
	if err != nil {
		return time.Time{}, err
	}
	f := k.refreshes.start(ctx, key, o.refreshUnasked(c.account, c.grant))
	if f == nil {
		return time.Time{}, context.Canceled // shutting down
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	wait := max(k.refreshes.paused(key, k.now()), 10*time.Second)
	if f.err != nil {
		return k.later(wait), f.err
	}
	found, err := k.store.Grant(ctx, c.grant.Environment, c.grant.ID)
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	if err == nil && !found.Record.Dead && !k.now().Before(found.Record.DueAt) {
		return k.later(wait), nil // a token that ends before it arrives is no reason to ask without end
	}
	return time.Time{}, err
}

// announce tells the owners of a grant's accounts of its end, once, before it comes.
func (k *caretaker) announce(ctx context.Context, c *charge) error {
	end := c.grant.end(c.conn)
	if end.IsZero() || end.Equal(c.grant.AnnouncedEnd) || k.now().Before(c.grant.warning(end)) {
		return nil
	}
	o, err := k.operation(ctx, c)
	if err != nil {
		return err
	}
	if err := o.Intend(ctx); err != nil {
		return err
	}
	next := *c.grant
	next.AnnouncedEnd = end
	k.schedule(&next, c.conn, next.Idle)
	change := Change{Environment: next.Environment, Previous: next.TokenMAC, Grant: &Put[Grant]{Record: next, Revision: c.revision}}
	for _, id := range next.Accounts {
		account, err := k.store.Account(ctx, next.Environment, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return o.End(ctx, err)
		}
		e, err := o.cause().aboutEnd(account.Record, end, c.grant.Refreshable, k.now())
		if err != nil {
			return o.End(ctx, err)
		}
		change.Events = append(change.Events, e)
	}
	if err := o.End(ctx, k.store.Apply(ctx, change)); err != nil {
		return err
	}
	// The record has moved on: the refresh that may follow reads it again, behind a fence of its own.
	c.grant = &next
	return nil
}

// mark is a grant that counted as idle and was vended.
type mark struct {
	key        grantKey
	generation uint64
	conn       *connectors.Connector
}

// touched notes that a grant is vended. One that counted as idle is marked as in use, behind the caller:
// the caretaker then refreshes it at its margin. A mark that is lost costs a later caller a wait.
func (b *Broker) touched(g *Grant, conn *connectors.Connector) {
	if !b.uses.note(g) || !g.Idle || !g.Refreshable || g.ExpiresAt.IsZero() {
		return
	}
	select {
	case b.marks <- mark{keyOf(g), g.Generation, conn}:
	default:
	}
}

// markUntil stores marks until the context ends.
func (b *Broker) markUntil(ctx context.Context) {
	for {
		select {
		case m := <-b.marks:
			if err := b.inUse(ctx, m); err != nil && ctx.Err() == nil {
				b.log.LogAttrs(ctx, slog.LevelDebug, "grant not marked as in use", slog.String("grant", string(m.key.grant)), slog.Any("error", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

func (b *Broker) inUse(ctx context.Context, m mark) error {
	found, err := b.store.Grant(ctx, m.key.env, m.key.grant)
	if err != nil || found.Record.Generation != m.generation || !found.Record.Idle {
		return err
	}
	next := *found.Record
	b.schedule(&next, m.conn, false)
	return b.store.Apply(ctx, Change{
		Environment: next.Environment, Previous: next.TokenMAC, Grant: &Put[Grant]{Record: next, Revision: found.Revision},
	})
}
