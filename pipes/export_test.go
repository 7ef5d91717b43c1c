package pipes

import (
	"context"
	"strconv"
	"time"

	"culvert/internal/access"
)

// Impatient shortens the waits that a broker does not need in tests, before it is used. What callers wait
// for they get, so on a busy machine they wait for it as long as elsewhere.
func Impatient(b *Broker) {
	b.timing.wait, b.timing.window = defaultTiming().wait, time.Minute
	b.timing.resend = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	b.timing.poll = 5 * time.Millisecond
}

// Hasty makes callers of a broker wait for next to nothing, for tests of what they are told then.
func Hasty(b *Broker) { b.timing.wait = 200 * time.Millisecond }

// Sweep runs one round of a sweeper that has not swept before.
func Sweep(ctx context.Context, b *Broker) {
	s := &sweeper{Broker: b, expired: map[access.EnvironmentID]time.Time{}, removed: map[access.EnvironmentID]time.Time{}, revoked: map[access.EnvironmentID]time.Time{}}
	s.round(ctx)
}

// Revoke runs one round of a revoker that has not worked before.
func Revoke(ctx context.Context, b *Broker) { newRevoker(b).round(ctx) }

// Revoker returns the rounds of one revoker that looks at so many revocations in each, about. woken tells that the
// next one is to begin at once, and takes it back; the broker's own revoker is at rest.
func Revoker(b *Broker, most int) (round func(context.Context), woken func() bool) {
	b.stop()
	b.workers.Wait()
	b.timing.revokeMost = most
	return newRevoker(b).round, func() bool {
		select {
		case <-b.revokeSoon:
			return true
		default:
			return false
		}
	}
}

// Care runs one round of the caretaker, to its end.
func Care(ctx context.Context, b *Broker) {
	k := newCaretaker(b)
	k.round(ctx)
	k.work.Wait()
	for {
		select {
		case m := <-b.marks:
			_ = b.inUse(ctx, m)
		default:
			return
		}
	}
}

// CheckReturnTo tells what return_to may be.
func CheckReturnTo(allowed []string, anyLoopback bool, returnTo string) error {
	o, err := newOrigins(allowed, anyLoopback)
	if err != nil {
		return err
	}
	return o.check(returnTo)
}

// WithOutcome appends an outcome to a return_to.
func WithOutcome(returnTo string, out Outcome) string { return withOutcome(returnTo, &out) }

// Flights are a broker's refreshes under way and what it remembers of failed ones.
type Flights struct{ r *refreshes }

// NewFlights has none.
func NewFlights() Flights { return Flights{newRefreshes()} }

// Start is refreshes.start: it returns the flight's end and its error by then; nil after Close.
func (f Flights) Start(ctx context.Context, id GrantID, run func(context.Context) error) (done <-chan struct{}, err func() error) {
	started := f.r.start(ctx, grantKey{grant: id}, run)
	if started == nil {
		return nil, nil
	}
	return started.done, func() error { return started.err }
}

// Failed, Succeeded and Paused are those of refreshes.
func (f Flights) Failed(id GrantID, now time.Time, retryAfter time.Duration) time.Duration {
	return f.r.failed(grantKey{grant: id}, now, retryAfter)
}
func (f Flights) Succeeded(id GrantID) { f.r.succeeded(grantKey{grant: id}) }
func (f Flights) Paused(id GrantID, now time.Time) time.Duration {
	return f.r.paused(grantKey{grant: id}, now)
}

// Close is refreshes.close.
func (f Flights) Close(ctx context.Context) int { return f.r.close(ctx) }

// Breaker is the breaker of one integration's credentials.
type Breaker struct{ b *breakers }

// NewBreaker is closed.
func NewBreaker() Breaker { return Breaker{newBreakers()} }

// Allow, Rejected, Accepted and Undecided are those of breakers.
func (b Breaker) Allow(now time.Time) (time.Duration, bool) { return b.b.allow(clientKey{}, now) }
func (b Breaker) Rejected(now time.Time)                    { b.b.rejected(clientKey{}, now) }
func (b Breaker) Accepted()                                 { b.b.accepted(clientKey{}) }
func (b Breaker) Undecided()                                { b.b.undecided(clientKey{}) }

// RejectMany opens the breakers of so many other clients, and tells how many are remembered then.
func (b Breaker) RejectMany(n int, now time.Time) int {
	for i := range n {
		b.b.rejected(clientKey{id: strconv.Itoa(i)}, now)
	}
	return len(b.b.open)
}

// MaxBreakers bounds them.
const MaxBreakers = maxBreakers

// Paces are those of a broker.
type Paces struct{ p *paces }

// NewPaces remembers no flow.
func NewPaces() Paces { return Paces{newPaces()} }

// Take is paces.take; Len is how many flows are remembered.
func (p Paces) Take(id FlowID, now time.Time) time.Duration { return p.p.take(flowKey{flow: id}, now) }
func (p Paces) Len() int                                    { return len(p.p.recent) + len(p.p.before) }

// Narrow gives a broker that nobody has used other bounds of refreshes at once: of one integration, and
// in all.
func Narrow(b *Broker, each, all int) { b.turns = newTurns(each, all) }

// Queues is for how many integrations somebody refreshes or waits.
func Queues(b *Broker) int {
	b.turns.mu.Lock()
	defer b.turns.mu.Unlock()
	return len(b.turns.queues)
}

// Waiting is how many refreshes wait for a turn of their integration.
func Waiting(b *Broker) (n int) {
	b.turns.mu.Lock()
	defer b.turns.mu.Unlock()
	for _, q := range b.turns.queues {
		n += q.users - len(q.slots)
	}
	return n
}

// Pending is how many grants have entries in a broker's journal.
func Pending(b *Broker) int {
	b.pending.mu.Lock()
	defer b.pending.mu.Unlock()
	return len(b.pending.entries)
}

// Settled sets how long a broker waits before it goes on with an attempt whose owner is gone.
func Settled(b *Broker, d time.Duration) { b.timing.settled = d }

// StoppedBeforeSending makes a broker find, as often as told, that its send window has passed.
func StoppedBeforeSending(b *Broker, times int) {
	var now time.Duration
	b.timing.uptime = func() time.Duration {
		if times > 0 {
			times--
			now += time.Hour
		}
		return now
	}
}

// Whose and BeginAttempt are the decisions of the protocol of refreshes.
func Whose(s Standing, g *Grant, me Holder) string {
	return map[turnOf]string{free: "free", resumed: "resumed", held: "held", orphaned: "orphaned"}[s.whose(g, me)]
}
func BeginAttempt(s Standing, g *Grant, name string, me Holder, id string) Attempt {
	return s.next(g, name, me, id)
}

// Doubts and Lost are what the protocol knows of a token that may be dead.
func Doubts(s Standing, g *Grant, name string, me Holder) bool { return s.doubts(g, name, me) }
func Lost(a Attempt, g *Grant) bool                            { return a.lost(g) }

// Open, Keeps and Advance are those of standings and grants.
func Open(s Standing, g *Grant) *Attempt                  { return s.open(g) }
func Keeps(g *Grant, name string, generation uint64) bool { return g.keeps(name, generation) }
func Advance(g *Grant, name string)                       { g.advance(name) }

// SuccessorWait and InWindow are the protocol's bounds.
func SuccessorWait(settled time.Duration, killsFamily bool, accessLives time.Duration) time.Duration {
	return successorWait(settled, killsFamily, accessLives)
}
func InWindow(began, now, window time.Duration) bool { return inWindow(began, now, window) }
