package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/vault"
)

// quotaMargin is how many writes of one environment, of all replicas together, may be under way at once without
// passing a quota: whoever would pass it with so many like his own takes turns with all others.
const quotaMargin = 512

// quotaRounds bounds how often a write is tried again because one of another replica came first.
const quotaRounds = 64

var (
	// errGuarded is a write in front of which another one came that counts against the same quota.
	errGuarded = errors.New("another write near the quota came first")
	// errCounting is a write that came before the objects were counted.
	errCounting = errors.New("the objects are being counted")
)

// quotas keep environments within what they may hold. What there is stands in the list index, which every replica has
// from the watch: so a write that is far from the quota costs nothing more. One that is near compares and changes a
// key that all such writes change, and counts behind its revision: they come one after the other, whatever replica
// they are from, and none passes the quota.
type quotas struct {
	limits vault.Quota

	mu sync.Mutex
	// turns let one write near the quota of an environment through at a time, so that those of one replica do not
	// conflict with each other. Guarded by mu.
	turns map[access.EnvironmentID]chan struct{}
}

// guard is the condition that no other write near the quota came first.
type guard struct {
	key      string
	revision int64
}

// turn waits for the environment's; done ends it.
func (q *quotas) turn(ctx context.Context, env access.EnvironmentID) (done func(), err error) {
	q.mu.Lock()
	if q.turns == nil {
		q.turns = map[access.EnvironmentID]chan struct{}{}
	}
	turn := q.turns[env]
	if turn == nil {
		turn = make(chan struct{}, 1)
		q.turns[env] = turn
	}
	q.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, vault.ErrConflict
	}
}

// growth is what a write adds.
type growth struct {
	objects int
	bytes   int64
}

// refuses is the quota that an environment would pass by n times a growth.
func (q *quotas) refuses(has vault.Usage, g growth, n int64) error {
	switch {
	case q.limits.Objects > 0 && g.objects > 0 && int64(has.Objects)+n*int64(g.objects) > int64(q.limits.Objects):
		return vault.ErrTooManyObjects
	case q.limits.Bytes > 0 && g.bytes > 0 && has.Bytes+n*g.bytes > q.limits.Bytes:
		return vault.ErrTooManyBytes
	}
	return nil
}

// within carries out a write within the quotas of its environment: try with a guard that the transaction has to have,
// or nil. Its error is errGuarded if that did not hold.
func (s *Store) within(ctx context.Context, h *vault.Header, try func(*guard) error) error {
	if s.quotas.limits == (vault.Quota{}) {
		return try(nil)
	}
	has, g, err := s.measure(ctx, h)
	if err != nil {
		return err
	}
	if s.quotas.refuses(has, g, quotaMargin) == nil {
		return try(nil)
	}
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	// Who is refused takes no turn: memory may only be behind with what was deleted.
	if s.quotas.refuses(has, g, 1) != nil {
		if err := s.refused(ctx, h); err != nil {
			return err
		}
	}
	done, err := s.quotas.turn(ctx, h.Environment)
	if err != nil {
		return err
	}
	defer done()
	for range quotaRounds {
		err := s.guarded(ctx, h, try)
		if !errors.Is(err, errGuarded) {
			return err
		}
	}
	return vault.ErrConflict
}

// guarded is one round of a write near a quota.
func (s *Store) guarded(ctx context.Context, h *vault.Header, try func(*guard) error) error {
	at := guard{key: keyQuota(h.Environment)}
	resp, err := s.client.get(ctx, s.client.abs(at.key), clientv3.WithKeysOnly())
	if err != nil {
		return down(err)
	}
	if len(resp.Kvs) == 1 {
		at.revision = resp.Kvs[0].ModRevision
	}
	if err := s.refused(ctx, h); err != nil {
		return err
	}
	return try(&at)
}

// refused is the quota that a write would pass, counted with everything that was acknowledged before.
func (s *Store) refused(ctx context.Context, h *vault.Header) error {
	if err := s.Fence(ctx); err != nil {
		return err
	}
	has, g, err := s.measure(ctx, h)
	if err != nil {
		return err
	}
	return s.quotas.refuses(has, g, 1)
}

// measure is what an environment holds, and what a header on its way into the store adds to that.
func (s *Store) measure(ctx context.Context, h *vault.Header) (vault.Usage, growth, error) {
	has, index, err := s.counted(ctx, h.Environment)
	if err != nil {
		return has, growth{}, err
	}
	g := growth{objects: 1, bytes: h.Bytes()}
	if id, ok := objectOf(string(h.ID)); ok && index != nil {
		if bytes, found := index.size(id); found {
			g = growth{bytes: g.bytes - bytes}
		}
	}
	return has, g, nil
}

// counted is what an environment holds, with its index; none for one that holds more than an index does.
func (s *Store) counted(ctx context.Context, env access.EnvironmentID) (vault.Usage, *listIndex, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	has := vault.Usage{Quota: s.quotas.limits}
	for {
		current := s.feed.current()
		index, full := s.indexes.of(env)
		switch {
		case full:
			has.Objects, has.Bytes, has.AtLeast = s.indexes.max+1, s.quotas.limits.Bytes+1, true
			return has, nil, nil
		case index != nil && current:
			has.Objects, has.Bytes = index.sum()
			return has, index, nil
		}
		select { // the load of the index, or the watch, has begun anew
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return has, nil, down(errCounting)
		}
	}
}

// Usage implements vault.Reader.
func (s *Store) Usage(ctx context.Context, env access.EnvironmentID) (vault.Usage, error) {
	has, _, err := s.counted(ctx, env)
	return has, err
}

// Counted is what every environment holds as far as memory knows, for metrics: nothing is asked, and nobody waits.
func (s *Store) Counted() map[access.EnvironmentID]vault.Usage {
	all := map[access.EnvironmentID]vault.Usage{}
	for _, env := range s.environments.IDs() {
		if index, _ := s.indexes.of(env); index != nil {
			has := vault.Usage{Quota: s.quotas.limits}
			has.Objects, has.Bytes = index.sum()
			all[env] = has
		}
	}
	return all
}
