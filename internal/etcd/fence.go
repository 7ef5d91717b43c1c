package etcd

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"culvert/internal/outage"
)

// How long the watch may lag behind a fence before it is asked for progress, and before it is given up
// and reads go to etcd until it was started anew.
const (
	lagBeforeProgress = 5 * time.Millisecond
	lagBeforeRestart  = time.Second
)

// fence makes reads from memory linearizable: it learns etcd's revision (see Client.head) and waits until
// the watch has reached it. One round serves everybody who was waiting when it started: whoever comes
// later joins the next, because a revision learned before a caller arrived says nothing about a write
// acknowledged in between.
type fence struct {
	feed *feed
	// timeout bounds what a caller waits: for the round under way, and for its own.
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
	// deadline counts from the arrival of the round's first caller, when the round before may have
	// begun already but not have passed its own.
	deadline time.Time
}

// wait returns nil once everything that was acknowledged anywhere before the call is visible to
// lookups.
func (f *fence) wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return givenUp(ctx)
	}
	if f.passed() {
		return nil
	}
	r := f.join()
	if r == nil {
		return down(context.Canceled)
	}
	// The first fence of a call has all of its time, and a round that ends by itself: no timer for that.
	if left := outage.Within(ctx, f.timeout); left < f.timeout-f.timeout/10 {
		var cancel context.CancelFunc
		ctx, cancel = bounded(ctx, left)
		defer cancel()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return givenUp(ctx)
	}
}

// givenUp is the error of a caller whose context has ended. Who hangs up is no outage of etcd: clients could
// else fill the log and the metrics of an operator with those.
func givenUp(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	return down(ctx.Err())
}

// passed is the short way with an embedded etcd, whose revision costs no round trip: the watch is mostly
// there already.
func (f *fence) passed() bool {
	revision, ok := f.feed.client.localRevision()
	return ok && f.feed.current() && f.feed.applied.Load() >= revision
}

func (f *fence) join() *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.next == nil {
		f.next = &round{done: make(chan struct{}), deadline: time.Now().Add(f.timeout)}
	}
	if !f.running {
		f.running = true
		f.rounds.Add(1)
		go f.run()
	}
	return f.next
}

// run serves rounds until nobody waits. It lets every goroutine that is ready to run join first: with
// many callers on few cores a round then serves dozens instead of two or three.
func (f *fence) run() {
	defer f.rounds.Done()
	for {
		runtime.Gosched()
		f.mu.Lock()
		r := f.next
		f.next = nil
		if r == nil {
			f.running = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		r.err = f.pass(r.deadline)
		close(r.done)
	}
}

// pass is one round.
func (f *fence) pass(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(f.feed.ctx, deadline)
	defer cancel()
	known := f.feed.known()
	head, err := f.feed.client.head(ctx)
	if err != nil {
		return down(err)
	}
	f.feed.inspect(head, known)
	return f.feed.reach(ctx, head.Revision)
}

// close refuses new rounds. The feed's context has ended, so those under way end too.
func (f *fence) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.rounds.Wait()
}
