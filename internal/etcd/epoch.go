package etcd

import (
	"context"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
)

// An epoch ends after a second or after this many events of one replica, so that a page of /events
// reads a bounded range.
const (
	epochEvents = 4000
	epochLength = time.Second
)

// epoch is a number and the revision of the key that holds it: what a transaction compares.
type epoch struct {
	number   uint64
	revision int64
}

// epochs knows the current epoch of each environment. Every transaction with an event compares it, so
// all events of one epoch commit before any of the next, on every replica. It is also what makes the
// outcome of a lost answer certain: once the epoch has moved on, the lost transaction can no longer
// commit.
type epochs struct {
	store *Store

	mu sync.Mutex
	// seen is the newest epoch learned from a transaction's answer. Guarded by mu.
	seen map[access.EnvironmentID]epoch
	// used counts this replica's events in the current epoch. Guarded by mu.
	used map[access.EnvironmentID]int
	// full wakes run before the second is over; capacity 1.
	full chan struct{}
}

func newEpochs(s *Store) *epochs {
	return &epochs{store: s, seen: map[access.EnvironmentID]epoch{}, used: map[access.EnvironmentID]int{}, full: make(chan struct{}, 1)}
}

// current is the newest epoch known: a wrong guess costs a transaction one more round trip, no more.
func (e *epochs) current(ctx context.Context, env access.EnvironmentID) (epoch, error) {
	newest, err := parseEpoch(e.store.mirror.get(keyEpoch(env)))
	e.mu.Lock()
	if seen := e.seen[env]; seen.revision > newest.revision {
		newest, err = seen, nil
	}
	e.mu.Unlock()
	if err == nil && newest.revision > 0 {
		return newest, nil
	}
	it, err := e.store.fetch(ctx, keyEpoch(env))
	if err != nil {
		return epoch{}, err
	}
	return e.learn(env, it)
}

// learn takes the epoch key as a transaction or a read showed it.
func (e *epochs) learn(env access.EnvironmentID, it *item) (epoch, error) {
	newest, err := parseEpoch(it)
	if err != nil {
		return epoch{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if newest.revision > e.seen[env].revision {
		e.seen[env] = newest
	}
	return e.seen[env], nil
}

// count is told of committed events.
func (e *epochs) count(env access.EnvironmentID, n int) {
	if n == 0 {
		return
	}
	e.mu.Lock()
	e.used[env] += n
	full := e.used[env] >= epochEvents
	e.mu.Unlock()
	if full {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// run advances the epochs that had events.
func (e *epochs) run(ctx context.Context) {
	tick := time.NewTicker(epochLength)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.advanceUsed(ctx, 1)
		case <-e.full:
			e.advanceUsed(ctx, epochEvents)
		}
	}
}

func (e *epochs) advanceUsed(ctx context.Context, atLeast int) {
	e.mu.Lock()
	var due []access.EnvironmentID
	for env, n := range e.used {
		if n >= atLeast {
			due = append(due, env)
			delete(e.used, env)
		}
	}
	e.mu.Unlock()
	for _, env := range due {
		if at, err := e.current(ctx, env); err == nil {
			_, err = e.advance(ctx, env, at)
			if err != nil && ctx.Err() == nil {
				e.store.log.Warn("advance epoch", "environment", env, "error", err)
			}
		}
	}
}

// advance ends the given epoch. It returns the epoch that follows, whoever began it: when it returns
// nil, no transaction that compares the given epoch can commit any more.
func (e *epochs) advance(ctx context.Context, env access.EnvironmentID, from epoch) (epoch, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	key := e.store.client.abs(keyEpoch(env))
	next := strconv.FormatUint(from.number+1, 10)
	resp, err := e.store.client.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", from.revision)).
		Then(clientv3.OpPut(key, next)).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return epoch{}, down(err)
	}
	if resp.Succeeded {
		it := &item{key: keyEpoch(env), value: []byte(next), revision: resp.Header.Revision}
		return e.learn(env, it)
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return epoch{}, keys.ErrTampered
	}
	return e.learn(env, newItem(keyEpoch(env), kvs[0]))
}

// parseEpoch reads the epoch key. It has no MAC: a writer of etcd who changes it can disturb the order
// of events, which their own MACs and ids show, but open nothing.
func parseEpoch(it *item) (epoch, error) {
	if !it.exists() {
		return epoch{}, keys.ErrTampered
	}
	n, err := strconv.ParseUint(string(it.value), 10, 40)
	if err != nil || n == 0 {
		return epoch{}, keys.ErrTampered
	}
	return epoch{number: n, revision: it.revision}, nil
}
