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
	// delay holds back every response with events, hold does until it returns; only tests set them.
	delay time.Duration
	hold  func(ctx context.Context)

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
	// cluster is the id in etcd's first header; replaced is set for good once a later header
	// contradicts an earlier one. Guarded by mu.
	cluster  uint64
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

// known is the newest revision that etcd has shown: a linearizable read that begins afterwards shows
// no older one.
func (f *feed) known() int64 { return max(f.applied.Load(), f.floor.Load()) }

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
	// Fragments, which the client joins again: a burst of large values is more than one message holds.
	responses := f.client.kv.Watch(clientv3.WithRequireLeader(ctx), f.client.root,
		clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithProgressNotify(), clientv3.WithFragment())
	f.applied.Store(revision)
	f.ready.Store(true)
	for resp := range responses {
		if f.delay > 0 && !resp.IsProgressNotify() {
			time.Sleep(f.delay)
		}
		if f.hold != nil && !resp.IsProgressNotify() {
			f.hold(ctx)
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
	// A watch may move to a member that lags behind: only linearizable reads never go back.
	f.inspect(resp.Header, 0)
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
			f.askProgress(ctx)
			lag.Reset(10 * lagBeforeProgress)
		case <-giveUp.C:
			f.stop()
		case <-ctx.Done():
			return down(ctx.Err())
		}
	}
	// Whether the watch is ready says nothing now: it may have started anew since, from before revision.
	if f.applied.Load() < revision {
		f.floor.Store(max(f.floor.Load(), revision))
	}
	return nil
}

// askProgress makes etcd say how far the watch is: writes outside the root advance etcd's revision
// without an event for it. While the client reconnects the request blocks, hence its own deadline.
func (f *feed) askProgress(ctx context.Context) {
	ctx, cancel := bounded(clientv3.WithRequireLeader(ctx), 10*lagBeforeProgress)
	defer cancel()
	if err := f.client.kv.RequestProgress(ctx); err != nil {
		f.log.Debug("request watch progress", "error", err)
	}
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

// inspect compares a response header with those before: another cluster has another id, and one that
// was restored from a backup a revision below the one that was known before the request was sent. Then
// all of memory is given up.
//
// An embedded etcd is a part of this process: nobody replaces it meanwhile. And its revision, read past its
// log (Client.localRevision), is a moment behind its watch, which etcd tells of a write before it counts it.
func (f *feed) inspect(h *etcdserverpb.ResponseHeader, known int64) {
	if h == nil || f.client.embedded != nil {
		return
	}
	f.mu.Lock()
	if f.cluster == 0 {
		f.cluster = h.ClusterId
	}
	first := !f.replaced && (h.ClusterId != f.cluster || h.Revision < known)
	if first {
		f.replaced = true
	}
	f.mu.Unlock()
	if first {
		f.log.Error("etcd went back in time or is another one", "error", errReplaced)
		f.stop()
	}
}

// health says that etcd is another one, or an older one, than it was.
func (f *feed) health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replaced {
		return errReplaced
	}
	return nil
}
