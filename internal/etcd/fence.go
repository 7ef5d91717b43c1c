package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long the watch may lag behind a fence before it is asked for progress, and before it is given up
// and reads go to etcd until it was started anew.
const (
	lagBeforeProgress = 5 * time.Millisecond
	lagBeforeRestart  = time.Second
)

// fence makes reads from memory linearizable: it learns etcd's revision by a ReadIndex (a count of a
// key that never exists) and waits until the watch has reached it. One round serves everybody who was
// waiting when it started: whoever comes later joins the next, because a revision learned before a
// caller arrived says nothing about a write acknowledged in between.
type fence struct {
	feed *feed
	// timeout bounds a round.
	timeout time.Duration

	mu sync.Mutex
	// next is the round that has not started yet; nil if nobody waits. Guarded by mu.
	next *round
	// running is true while a goroutine runs rounds. Guarded by mu.
	running bool
	// closed stops new rounds. Guarded by mu.
	closed bool
	rounds sync.WaitGroup
}

// round is one fence; err may be read once done is closed.
type round struct {
	done chan struct{}
	err  error
}

// wait returns nil once everything that was acknowledged anywhere before the call is visible to
// lookups.
func (f *fence) wait(ctx context.Context) error {
	r := f.join()
	if r == nil {
		return down(context.Canceled)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return down(ctx.Err())
	}
}

func (f *fence) join() *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.next == nil {
		f.next = &round{done: make(chan struct{})}
	}
	if !f.running {
		f.running = true
		f.rounds.Add(1)
		go f.run()
	}
	return f.next
}

// run serves rounds until nobody waits.
func (f *fence) run() {
	defer f.rounds.Done()
	for {
		f.mu.Lock()
		r := f.next
		f.next = nil
		if r == nil {
			f.running = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		r.err = f.pass()
		close(r.done)
	}
}

// pass is one round.
func (f *fence) pass() error {
	ctx, cancel := context.WithTimeout(f.feed.ctx, f.timeout)
	defer cancel()
	resp, err := f.feed.client.kv.Get(ctx, f.feed.client.abs(keyFence), clientv3.WithCountOnly())
	if err != nil {
		return down(err)
	}
	f.feed.inspect(resp.Header)
	return f.feed.reach(ctx, resp.Header.Revision)
}

// close waits for the last round.
func (f *fence) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.rounds.Wait()
}
