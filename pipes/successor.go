package pipes

import "time"

// orphan is an attempt whose owner is gone, as this process saw it first.
type orphan struct {
	// attempt is its revision: a step of the owner makes it another one.
	attempt int64
	// until is the end of the wait, with its monotonic reading.
	until time.Time
}

// orphaned tells how long a successor of the owner of an attempt at this revision has to wait yet. The
// wait begins when this process first asks.
func (r *refreshes) orphaned(key grantKey, attempt int64, wait time.Duration, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, known := r.orphans[key]
	if !known || seen.attempt != attempt {
		if len(r.orphans) >= maxPauses {
			clear(r.orphans) // whoever waits begins again
		}
		seen = orphan{attempt: attempt, until: now.Add(wait)}
		r.orphans[key] = seen
	}
	return max(0, seen.until.Sub(now))
}

// adopted forgets an orphan.
func (r *refreshes) adopted(key grantKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.orphans, key)
}

// succession is how long this refresh has to wait before it goes on with somebody else's attempt.
func (r *refreshing) succession(s *Standing) time.Duration {
	b := r.broker
	wait := successorWait(b.timing.settled, r.conn.ReuseKillsFamily, r.grant.as(s.Attempt.Record.Name).ExpiresAt.Sub(b.now()))
	return b.refreshes.orphaned(r.key, s.Attempt.Revision, wait, time.Now())
}
