package pipes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

const (
	// revokeBatch is how many pending revocations are read at once.
	revokeBatch = 100
	// revokeAtOnce bounds the integrations that are sent revocations at once. One integration's go one
	// after the other: nobody waits for them, and a provider that hangs keeps no other waiting.
	revokeAtOnce = 8
	// revokeFor is how long a revocation is tried: after that whoever disconnected has to know that the
	// tokens may live.
	revokeFor = 24 * time.Hour
	// revokeClaim is after how long an attempt counts as dead: above what one can take, with all of a grant's
	// tokens.
	revokeClaim = 5 * time.Minute
	// firstRevokePause doubles with each attempt up to maxRevokePause, or is what the provider asked for.
	firstRevokePause = 10 * time.Second
	maxRevokePause   = time.Hour
)

// revoker tells providers what has to be revoked. Its queue is in the store, so a restart resumes by itself;
// any number of replicas work on it, one at a time on each revocation.
type revoker struct {
	*Broker
	// from is behind what the last round of each environment has looked at, which was not all: so a provider
	// that is down keeps no other waiting, however much there is to revoke there. It belongs to the revoker's
	// goroutine.
	from map[access.EnvironmentID]AccountID
}

func newRevoker(b *Broker) *revoker { return &revoker{b, map[access.EnvironmentID]AccountID{}} }

// wakeRevoker makes the next round begin now.
func (b *Broker) wakeRevoker() {
	select {
	case b.revokeSoon <- struct{}{}:
	default:
	}
}

// revokeUntil works until the context ends, first at once.
func (b *Broker) revokeUntil(ctx context.Context) {
	v := newRevoker(b)
	tick := time.NewTicker(b.timing.revoke)
	defer tick.Stop()
	for {
		v.round(ctx)
		select {
		case <-tick.C:
		case <-b.revokeSoon:
		case <-ctx.Done():
			return
		}
	}
}

func (v *revoker) round(ctx context.Context) {
	for _, env := range v.environments.IDs() {
		if err := v.work(ctx, env); err != nil && ctx.Err() == nil {
			v.log.LogAttrs(ctx, slog.LevelWarn, "revocations not finished",
				slog.String("environment", string(env)), slog.Any("error", err))
		}
	}
}

// work sends what is due, and lets go of removed integrations of which nothing is left to revoke.
func (v *revoker) work(ctx context.Context, env access.EnvironmentID) error {
	if err := v.store.Fence(ctx); err != nil {
		return err
	}
	// In this order: an account's revocation is there when the account is not any more.
	empty, err := v.emptied(ctx, env)
	if err != nil {
		return err
	}
	due, waiting, err := v.due(ctx, env)
	if err != nil {
		return err
	}
	var answered atomic.Bool
	for _, i := range empty {
		if waiting != nil && !waiting[i.Record.ID] {
			if err := v.forget(ctx, i); err != nil {
				return err
			}
		}
	}
	places := make(chan struct{}, revokeAtOnce)
	var work sync.WaitGroup
	for _, some := range due {
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			if v.inTurn(ctx, env, some) {
				answered.Store(true)
			}
		})
	}
	work.Wait()
	// Where nobody answers the next round waits for its time: it would ask without a pause.
	if waiting == nil && answered.Load() {
		v.wakeRevoker()
	}
	return nil
}

// due is what may be sent now, by integration, and the integrations of all that is pending; of those nil if
// this round does not look at all of it.
func (v *revoker) due(ctx context.Context, env access.EnvironmentID) (map[IntegrationID][]AccountID, map[IntegrationID]bool, error) {
	due, waiting := map[IntegrationID][]AccountID{}, map[IntegrationID]bool{}
	now, n, from := v.now(), 0, v.from[env]
	after := from
	delete(v.from, env)
	for n < v.timing.revokeMost {
		ids, next, err := v.store.Revoking(ctx, env, after, min(revokeBatch, v.timing.revokeMost))
		if err != nil && !v.passOver(ctx, env, err) {
			return nil, nil, err
		}
		for _, id := range ids {
			found, err := v.revocation(ctx, env, id)
			if errors.Is(err, ErrNoRevocation) || v.passOver(ctx, env, err) {
				continue // removed, or broken
			}
			if err != nil {
				return nil, nil, err
			}
			r := found.Record
			waiting[r.Integration] = true
			if !now.Before(r.NextAt) {
				due[r.Integration] = append(due[r.Integration], r.ID)
				n++
			}
		}
		if after = next; after != "" {
			continue
		}
		if from != "" {
			waiting = nil // what stands before it was not looked at
		}
		return due, waiting, nil
	}
	v.from[env] = after
	return due, nil, nil
}

// passOver tells of a record that is not what was stored, and of which more is for a verification to say.
func (v *revoker) passOver(ctx context.Context, env access.EnvironmentID, err error) bool {
	if !errors.Is(err, keys.ErrTampered) {
		return false
	}
	v.log.LogAttrs(ctx, slog.LevelWarn, "broken revocation passed over", slog.String("environment", string(env)), slog.Any("error", err))
	return true
}

// inTurn sends one integration's revocations, until one says that the next would end no better. answered tells
// that none did.
func (v *revoker) inTurn(ctx context.Context, env access.EnvironmentID, some []AccountID) (answered bool) {
	for _, id := range some {
		if ctx.Err() != nil {
			return false
		}
		again, err := v.one(ctx, env, id)
		if err != nil && ctx.Err() == nil {
			v.log.LogAttrs(ctx, slog.LevelWarn, "revocation not finished", slog.String("account", string(id)), slog.Any("error", err))
		}
		if again {
			return false
		}
	}
	return true
}

// emptied are the removed integrations that have no accounts any more.
func (v *revoker) emptied(ctx context.Context, env access.EnvironmentID) ([]At[Integration], error) {
	all, err := v.store.Retired(ctx, env)
	if err != nil {
		return nil, err
	}
	var empty []At[Integration]
	for _, i := range all {
		left, err := v.store.AccountsOf(ctx, env, i.Record.ID, "", 1)
		if err != nil {
			return nil, err
		}
		if len(left) == 0 {
			empty = append(empty, i)
		}
	}
	return empty, nil
}

// forget removes what was kept of a removed integration, its client secret among it.
func (v *revoker) forget(ctx context.Context, i At[Integration]) error {
	err := v.store.Apply(ctx, Change{
		Environment: i.Record.Environment, Retired: &Put[Integration]{Record: *i.Record, Revision: i.Revision, Remove: true},
	})
	if conflicted(err) {
		return nil
	}
	return err
}
