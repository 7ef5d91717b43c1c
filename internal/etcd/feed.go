package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// errReplaced means that the cluster behind the endpoints is not the one this process started with, or
// has lost revisions: it was restored from a backup or replaced. Only a person can say whether that
// was meant.
var errReplaced = errors.New("etcd was replaced or restored while this process was running: restart it")

// feed is the one watch on the whole root. It keeps the mirror, the cache and the list index current,
// in the order of revisions. While it is not ready (starting, broken, compacted away) nothing in memory
// is believed and lookups read etcd.
type feed struct {
	client *Client
	log    *slog.Logger
	// ctx ends with the store.
	ctx   context.Context
	sinks sinks
	// delay holds back every response; only the tests of the fence set it.
	delay time.Duration

	ready atomic.Bool
	// applied is the revision up to which all events are in memory.
	applied atomic.Int64
	// floor is the newest revision that a fence learned but did not wait for: memory below it may
	// not be believed, even if a new watch gets ready between a fence and its lookups.
	floor atomic.Int64
	// advanced wakes the one waiter of reach (the fence's goroutine); capacity 1.
	advanced chan struct{}
	// written counts the bytes of all events, for compaction.
	written atomic.Int64

	mu sync.Mutex
	// restart ends the current watch. Guarded by mu.
	restart context.CancelFunc
	// cluster and newest are what etcd's headers said so far; replaced is set for good once they
	// contradict. Guarded by mu.
	cluster  uint64
	newest   int64
	replaced bool
}

// sinks are where events go. Their apply methods are called from one goroutine, in order.
type sinks interface {
	// load fills memory from etcd at one revision, which it returns. It is called with the feed not
	// ready.
	load(ctx context.Context) (int64, error)
	// apply takes one event; the item of a deletion has no value.
	apply(it *item, deleted bool)
}

// current reports whether lookups may believe memory.
func (f *feed) current() bool { return f.ready.Load() && f.applied.Load() >= f.floor.Load() }

// run watches until the context ends. Its owner waits for it.
func (f *feed) run() {
	for pause := 10 * time.Millisecond; f.ctx.Err() == nil; {
		started := time.Now()
		err := f.once()
		f.ready.Store(false)
		if f.ctx.Err() != nil {
			return
		}
		f.log.Warn("watch of etcd ended; reads go to etcd until it is back", "error", err)
		if time.Since(started) > 10*time.Second {
			pause = 10 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-f.ctx.Done():
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// once is one life of the watch: load at a revision, then follow from the next one.
func (f *feed) once() error {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.mu.Lock()
	f.restart = cancel
	f.mu.Unlock()

	revision, err := f.sinks.load(ctx)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	// Without a leader a member would go on serving an idle watch for ever.
	responses := f.client.kv.Watch(clientv3.WithRequireLeader(ctx), f.client.root,
		clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithProgressNotify())
	f.applied.Store(revision)
	f.ready.Store(true)
	for resp := range responses {
		if f.delay > 0 {
			time.Sleep(f.delay)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		f.take(resp)
	}
	return errors.New("watch closed")
}

// take applies one response and lets the fence see how far it got.
func (f *feed) take(resp clientv3.WatchResponse) {
	if resp.Header != nil {
		f.inspect(resp.Header)
	}
	if resp.IsProgressNotify() {
		f.advance(resp.Header.Revision)
		return
	}
	var last int64
	for _, ev := range resp.Events {
		f.written.Add(int64(len(ev.Kv.Key) + len(ev.Kv.Value)))
		f.sinks.apply(newItem(f.client.rel(ev.Kv.Key), ev.Kv), ev.Type == mvccpb.Event_DELETE)
		last = ev.Kv.ModRevision
	}
	// The header's revision may be ahead of a watch that is catching up: only the events count.
	if last > 0 {
		f.advance(last)
	}
}

func (f *feed) advance(revision int64) {
	if revision <= f.applied.Load() {
		return
	}
	f.applied.Store(revision)
	select {
	case f.advanced <- struct{}{}:
	default:
	}
}

// reach waits until the watch has applied a revision. Only the fence's goroutine calls it. Without a
// working watch it does not wait but raises the floor, so that lookups read etcd themselves; a watch
// that stays behind is started anew.
func (f *feed) reach(ctx context.Context, revision int64) error {
	if f.ready.Load() && f.applied.Load() >= revision {
		return nil
	}
	lag := time.NewTimer(lagBeforeProgress)
	defer lag.Stop()
	giveUp := time.NewTimer(lagBeforeRestart + f.delay)
	defer giveUp.Stop()
	for f.applied.Load() < revision && f.ready.Load() {
		select {
		case <-f.advanced:
		case <-lag.C:
			// Writes outside the root advance etcd's revision without an event for this watch.
			if err := f.client.kv.RequestProgress(clientv3.WithRequireLeader(ctx)); err != nil {
				f.log.Debug("request watch progress", "error", err)
			}
			lag.Reset(10 * lagBeforeProgress)
		case <-giveUp.C:
			f.stop()
		case <-ctx.Done():
			return down(ctx.Err())
		}
	}
	if !f.ready.Load() {
		f.floor.Store(max(f.floor.Load(), revision))
	}
	return nil
}

// stop ends the current watch and marks memory as not to be believed, in this order for readers: a
// lookup that starts afterwards reads etcd.
func (f *feed) stop() {
	f.ready.Store(false)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.restart != nil {
		f.restart()
	}
}

// inspect compares a response header with those before. etcd answers linearizable reads and watches
// with revisions that never go back; another cluster has another id.
func (f *feed) inspect(h *etcdserverpb.ResponseHeader) {
	if h == nil {
		return
	}
	f.mu.Lock()
	first := f.cluster == 0
	if first {
		f.cluster = h.ClusterId
	}
	changed := h.ClusterId != f.cluster && !f.replaced
	if changed {
		f.replaced = true
	}
	f.mu.Unlock()
	if changed {
		f.log.Error("etcd was replaced", "error", errReplaced)
		f.stop()
	}
}

// rolledBack is called by load with the revision it read at: one below the position of an earlier
// watch means that the cluster lost history.
func (f *feed) rolledBack(revision int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision < f.newest {
		f.replaced = true
	}
	f.newest = max(f.newest, revision, f.applied.Load())
	return f.replaced
}

// health says why memory is not current, or that etcd is another one.
func (f *feed) health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replaced {
		return errReplaced
	}
	return nil
}
