package etcd

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
)

const (
	// A rewrap is a small change, of which there may be a million: those that come at once share a
	// transaction. maxShared is how many do, because etcd keeps other writers waiting for so long;
	// maxSharedCompares and maxSharedBytes are below what it takes in one (128 operations, 1.5 MiB).
	maxShared         = 40
	maxSharedCompares = 120
	maxSharedBytes    = 1 << 20
)

// rewraps lets rewraps of different records share a transaction. One is under way at a time; who comes
// meanwhile shares the next.
type rewraps struct {
	store *Store

	mu sync.Mutex
	// waiting is guarded by mu.
	waiting []*rewrap
	// turn is held by whoever sends. It guards over and err of every rewrap.
	turn sync.Mutex
}

// rewrap is one, and what became of it.
type rewrap struct {
	env access.EnvironmentID
	// at are the revisions of the record, first, and of its KEKs, if it is to be stored.
	at  []placeAt
	put clientv3.Op

	over bool
	err  error
}

// placeAt is a key, relative to the root, and its revision.
type placeAt struct {
	key      string
	revision int64
}

// do carries out a rewrap, alone or with others. keys.ErrConflict.
func (r *rewraps) do(ctx context.Context, mine *rewrap) error {
	r.mu.Lock()
	r.waiting = append(r.waiting, mine)
	r.mu.Unlock()
	r.turn.Lock()
	defer r.turn.Unlock()
	for !mine.over {
		r.send(ctx, r.take())
	}
	return mine.err
}

// take is what fits into one transaction: at least one rewrap, all of one environment, and no two of one record,
// which etcd refuses: two jobs that do the same come by it at the same moment.
func (r *rewraps) take() []*rewrap {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, compares, bytes := 0, 0, 0
	records := map[string]bool{}
	for _, w := range r.waiting {
		compares += len(w.at)
		bytes += len(w.put.KeyBytes()) + len(w.put.ValueBytes())
		if n > 0 && (n == maxShared || compares > maxSharedCompares || bytes > maxSharedBytes || w.env != r.waiting[0].env || records[w.at[0].key]) {
			break
		}
		records[w.at[0].key] = true
		n++
	}
	some := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return some
}

// send commits rewraps together. If one of the revisions is another by now each is tried by itself, to find
// out whose that is.
func (r *rewraps) send(ctx context.Context, some []*rewrap) {
	c := change{env: some[0].env}
	seen := map[placeAt]bool{}
	for _, w := range some {
		w.over = true
		c.then = append(c.then, w.put)
		for _, at := range w.at {
			if !seen[at] {
				seen[at] = true
				c.when = append(c.when, r.store.unchanged(at.key, at.revision))
			}
		}
	}
	done, err := r.store.commit(ctx, c)
	if err == nil && !done.committed && len(some) > 1 {
		for _, w := range some {
			r.send(ctx, []*rewrap{w})
		}
		return
	}
	if err == nil && !done.committed {
		err = keys.ErrConflict
	}
	for _, w := range some {
		w.err = err
	}
}
