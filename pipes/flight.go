package pipes

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"culvert/internal/access"
)

// grantKey names a grant in one environment.
type grantKey struct {
	env   access.EnvironmentID
	grant GrantID
}

func keyOf(g *Grant) grantKey { return grantKey{g.Environment, g.ID} }

// refreshes lets everybody in this process who needs the same grant refreshed wait for one refresh, and
// remembers how the last ones failed. Correctness does not rest on it: another replica may refresh the
// same grant, and the grant's generation decides.
type refreshes struct {
	mu sync.Mutex
	// All below are guarded by mu.
	running map[grantKey]*flight
	pauses  map[grantKey]*pause
	orphans map[grantKey]orphan
	closed  bool
	work    sync.WaitGroup

	// open ends when no refresh begins any more, life when those under way are given up.
	open, life context.Context
	shut, end  context.CancelFunc
}

// flight is one refresh; err may be read once done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// pause is what is remembered of a grant whose refreshes fail.
type pause struct {
	until time.Time
	// step counts the failures in a row.
	step int
}

func newRefreshes() *refreshes {
	r := &refreshes{running: map[grantKey]*flight{}, pauses: map[grantKey]*pause{}, orphans: map[grantKey]orphan{}}
	r.open, r.shut = context.WithCancel(context.Background())
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

var errRefreshEnded = errors.New("pipes: refresh did not finish")

// start runs a refresh on a goroutine of its own, unless one of the same grant is under way; nil if no
// refresh begins any more. The refresh is not cancelled with its caller: the provider may have rotated
// the token by then, and only this process knows the new one.
func (r *refreshes) start(ctx context.Context, key grantKey, run func(context.Context) error) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.running[key]; f != nil {
		return f
	}
	if r.closed {
		return nil
	}
	f := &flight{done: make(chan struct{}), err: errRefreshEnded}
	r.running[key] = f
	r.work.Go(func() {
		defer func() {
			r.mu.Lock()
			delete(r.running, key)
			r.mu.Unlock()
			close(f.done)
		}()
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(r.life, cancel)()
		f.err = run(ctx)
	})
	return f
}

// close begins no more refreshes and waits for those under way, until the context ends: then they are
// given up, and close returns how many.
func (r *refreshes) close(ctx context.Context) (lost int) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.shut() // who waits for a turn has sent nothing yet
	done := make(chan struct{})
	go func() {
		r.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.mu.Lock()
		lost = len(r.running)
		r.mu.Unlock()
	}
	r.end()
	<-done
	return lost
}

const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// maxRetryAfter bounds what a provider can ask for: a typing error there must not stop a grant for
	// a year.
	maxRetryAfter = time.Hour
	// maxPauses bounds the memory of pauses; those that are over go first.
	maxPauses = 100_000
)

// paused is how long a grant's next refresh has to wait; 0 if it may begin.
func (r *refreshes) paused(key grantKey, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pauses[key]; p != nil {
		return max(0, p.until.Sub(now))
	}
	return 0
}

// failed doubles the pause before a grant's next refresh: from a second to five minutes, a fifth more or
// less, and at least what the provider asked for. It returns the pause.
func (r *refreshes) failed(key grantKey, now time.Time, retryAfter time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pause(key, now)
	wait := min(firstPause<<min(p.step, 20), maxPause)
	wait = time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
	wait = max(wait, min(retryAfter, maxRetryAfter))
	p.step++
	p.until = now.Add(wait)
	return wait
}

// succeeded forgets the failures of a grant.
func (r *refreshes) succeeded(key grantKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pauses, key)
}

// pause is called with the lock held.
func (r *refreshes) pause(key grantKey, now time.Time) *pause {
	p := r.pauses[key]
	if p != nil {
		return p
	}
	if len(r.pauses) >= maxPauses {
		for key, old := range r.pauses {
			if !old.until.After(now) {
				delete(r.pauses, key)
			}
		}
	}
	p = &pause{}
	r.pauses[key] = p
	return p
}
