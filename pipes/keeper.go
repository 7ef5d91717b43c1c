package pipes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"culvert/internal/access"
)

// keeper finishes what refreshes could not: it stores what stands in the journal, releases grants, and tells
// other replicas that this node is back. It belongs to one goroutine but for what its mutex guards.
type keeper struct {
	mu sync.Mutex
	// stranded are releases that etcd did not take; guarded by mu.
	stranded []Step
	// home are the environments whose attempts of an earlier life of this node were looked at.
	home map[access.EnvironmentID]bool
}

// maxStranded bounds the memory of releases. One that is forgotten is taken over when this process ends, or
// refreshes the grant again.
const maxStranded = 10_000

// strand leaves a release to the keeper.
func (b *Broker) strand(s Step) {
	b.keeper.mu.Lock()
	defer b.keeper.mu.Unlock()
	if len(b.keeper.stranded) < maxStranded {
		b.keeper.stranded = append(b.keeper.stranded, s)
	}
}

// keepUntil keeps until the context ends, first at once.
func (b *Broker) keepUntil(ctx context.Context) {
	tick := time.NewTicker(b.timing.keep)
	defer tick.Stop()
	for {
		b.keep(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Broker) keep(ctx context.Context) {
	for _, key := range b.pending.due(time.Now()) {
		// As a refresh of the grant, so that callers who need it wait for this.
		b.refreshes.start(ctx, key, func(ctx context.Context) error {
			_, err := b.landPending(ctx, key)
			return err
		})
	}
	b.releaseStranded(ctx)
	for _, env := range b.environments.IDs() {
		if b.keeper.home[env] {
			continue
		}
		if err := b.comeHome(ctx, env); err != nil {
			if ctx.Err() == nil {
				b.log.LogAttrs(ctx, slog.LevelDebug, "attempts of this node not looked at yet", slog.Any("error", err))
			}
			continue
		}
		b.keeper.home[env] = true
	}
}

func (b *Broker) releaseStranded(ctx context.Context) {
	b.keeper.mu.Lock()
	all := b.keeper.stranded
	b.keeper.stranded = nil
	b.keeper.mu.Unlock()
	for i, s := range all {
		_, err := b.store.PutAttempt(ctx, s)
		if err == nil || errors.Is(err, ErrConflict) {
			continue // a conflict: somebody went on from there
		}
		for _, left := range all[i:] {
			b.strand(left)
		}
		return
	}
}

// comeHome releases what an earlier life of this node left under way. Its journal has been read, so
// whatever is not in there never came: others need not wait for it any longer.
func (b *Broker) comeHome(ctx context.Context, env access.EnvironmentID) error {
	me := b.holder()
	all, err := b.store.Attempts(ctx, env)
	if err != nil {
		return err
	}
	for _, found := range all {
		a := *found.Record
		if a.Owner != me.Node || a.Process == me.Process || a.Idle || b.pending.first(grantKey{env, a.Grant}) != nil {
			continue
		}
		a.Ambiguous, a.Idle = true, true
		_, err := b.store.PutAttempt(ctx, Step{Environment: env, Attempt: a, Revision: found.Revision, Lock: LockReleased})
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}
