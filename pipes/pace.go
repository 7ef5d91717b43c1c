package pipes

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"culvert/internal/access"
)

// Bounds of the legs of one flow. A person needs about ten, with a reload here and there; link scanners
// need a few more.
const (
	legBurst = 30
	legEvery = 10 * time.Second
	// maxPaces bounds the flows that are remembered, twice: see paces.
	maxPaces = 10_000
)

// paces bound how often the browsers of one flow come, in this process.
//
// Attacker: whoever was sent a ticket, or has a flow state of his own, and asks with it without end. Each
// leg leaves audit records of some 500 bytes, and a flow is answered for days. Defence: a
// bucket for each flow, before anything is recorded. Gap: forged tickets have no flow and no bucket; they
// leave no record either.
type paces struct {
	mu sync.Mutex
	// Both are guarded by mu. When recent is full it becomes before, and what was before is forgotten: so
	// memory is bounded without a search for what may go. A flow that is forgotten has a full bucket
	// again, which takes 10,000 other flows and as many calls of an API key.
	recent, before map[flowKey]*rate.Limiter
}

// flowKey names a flow in one environment.
type flowKey struct {
	env  access.EnvironmentID
	flow FlowID
}

func newPaces() *paces { return &paces{recent: map[flowKey]*rate.Limiter{}} }

// take counts one leg; wait is for one too many, which does not count.
func (p *paces) take(key flowKey, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bucket := p.recent[key]
	if bucket == nil {
		if bucket = p.before[key]; bucket == nil {
			bucket = rate.NewLimiter(rate.Every(legEvery), legBurst)
		}
		if len(p.recent) >= maxPaces {
			p.recent, p.before = map[flowKey]*rate.Limiter{}, p.recent
		}
		p.recent[key] = bucket
	}
	reserved := bucket.ReserveN(now, 1)
	if wait = reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}
