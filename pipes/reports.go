package pipes

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// reportEvery is how often a provider is asked about one grant because somebody reports its token: what
	// an API refuses for a reason of its own, such as a missing right, is reported again and again.
	reportEvery = time.Minute
	// maxReports bounds the grants that are remembered, maxChecks the checks at once. Beyond them nothing is
	// asked.
	maxReports = 10_000
	maxChecks  = 64
)

// reports are the checks of refused tokens in this process, the last of each grant. Another replica may ask
// the provider within the same minute, too; that no token is refreshed twice is for the generation to see to.
type reports struct {
	mu sync.Mutex
	// checks, running and closed are guarded by mu.
	checks  map[grantKey]*check
	running int
	closed  bool
	work    sync.WaitGroup
	life    context.Context
	end     context.CancelFunc
}

// check is what became of one report: of this token of the grant, at this generation.
type check struct {
	name       string
	generation uint64
	began      time.Time
	done       chan struct{}
	// found and err may be read once done is closed.
	found Refused
	err   error
}

var errCheckEnded = errors.New("pipes: check of a refused token did not finish")

func newReports() *reports {
	r := &reports{checks: map[grantKey]*check{}}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// start begins a check of a grant's token, on a goroutine of its own because others may wait for it, too, or
// is the one that was begun within the minute. nil where neither may be, and how long that lasts.
func (p *reports) start(ctx context.Context, at *reached, now time.Time, run func(context.Context) (Refused, error)) (*check, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := keyOf(at.grant)
	if c := p.checks[key]; c != nil && !c.over(now) {
		if c.name != at.name || c.generation != at.grant.Generation || c.failed() {
			return nil, c.left(now)
		}
		return c, 0
	}
	if p.closed || p.running >= maxChecks || !p.room(key, now) {
		return nil, time.Second
	}
	c := &check{name: at.name, generation: at.grant.Generation, began: now, done: make(chan struct{}), err: errCheckEnded}
	p.checks[key] = c
	p.running++
	p.work.Go(func() {
		defer func() {
			p.mu.Lock()
			p.running--
			p.mu.Unlock()
			close(c.done)
		}()
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(p.life, cancel)()
		c.found, c.err = run(ctx)
	})
	return c, 0
}

// ended reports a check that nobody has to wait for.
func (c *check) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// failed reports one that found nothing out.
func (c *check) failed() bool { return c.ended() && c.err != nil }

// left is how long the provider is not asked again; at least a second while it is being asked.
func (c *check) left(now time.Time) time.Duration {
	return max(time.Second, min(c.began.Add(reportEvery).Sub(now), reportEvery))
}

// over reports a check that the next may follow, also where the clock was set back.
func (c *check) over(now time.Time) bool {
	since := now.Sub(c.began)
	return c.ended() && (since < 0 || since >= reportEvery)
}

// room makes room for a grant, if there is any. It is called with the lock held.
func (p *reports) room(key grantKey, now time.Time) bool {
	if _, known := p.checks[key]; known || len(p.checks) < maxReports {
		return true
	}
	for other, c := range p.checks {
		if c.over(now) {
			delete(p.checks, other)
		}
	}
	return len(p.checks) < maxReports
}

// close begins no more checks and gives up those under way. A refresh that one of them began goes on: it is
// among the refreshes.
func (p *reports) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.work.Wait()
}
