//go:build e2e

package e2e_test

import (
	"fmt"
	"sync"
	"time"
)

// Bounds of the rules that the ledger holds the program to.
const (
	// sendTimeout is how long the program waits for a token endpoint at most. Only after that may another
	// process send the same refresh token while the first request is still on its way.
	sendTimeout = 20 * time.Second
	// storeTime is what a process has for storing a token that it was given, on a busy machine. If it was
	// killed later than that, it should not have lost the token.
	storeTime = 15 * time.Second
	// sendWindow is how soon a request follows its attempt. A process that was stopped in between wakes up
	// with a token that is old, and may not look again: practice calls it the residual risk.
	sendWindow = 2 * time.Second
)

// ledger is the truth about every refresh token: when it was sent and by whom, what became of the reply,
// and who was given the access token that came with it. It is safe for concurrent use.
type ledger struct {
	began time.Time
	// apiKey is what callers have.
	apiKey string

	mu sync.Mutex
	// All below are guarded by mu, and so is what they lead to.
	families  []*family
	byRefresh map[string]*generation
	byAccess  map[string]*generation
	// byGrant has the families by the names of their grants in etcd.
	byGrant map[string]*family
	// hurts is what was done to the processes, in order.
	hurts    []hurt
	problems []string
	counts   map[string]int
}

// family is a grant and all tokens that came of it.
type family struct {
	n    int
	user string
	// generations are in order; the last one's refresh token is the good one.
	generations []*generation
	// vended is the newest generation that a caller has seen, dead a grant that the program has given up.
	vended int
	dead   bool
	// stored is the newest generation that etcd has, first what it calls the imported one.
	stored int
	first  uint64
	lines  []line
}

// generation is one refresh token, with the access token of the same reply.
type generation struct {
	of *family
	n  int
	// reply is what came with it, ends when its access token does. Both are empty in the first one.
	reply answered
	ends  time.Time
	sends []*send
	// turn lets one request with the token pass at a time, as the provider does.
	turn sync.Mutex
}

// send is one request with a refresh token.
type send struct {
	// replica is -1 for a process that was gone before it could be told which it was.
	replica int
	// ended is zero while the request is on its way.
	arrived, ended time.Time
	// forwarded is a request that the provider has seen, or will; delivered a reply that was written as a
	// whole.
	forwarded, delivered bool
}

// hurt is what was done to a process, and until when it lasted: zero while it lasts.
type hurt struct {
	replica  int
	what     string
	from, to time.Time
	kill     bool
}

func newLedger(refreshTokens []string) *ledger {
	l := &ledger{began: time.Now(), byRefresh: map[string]*generation{}, byAccess: map[string]*generation{}, byGrant: map[string]*family{}, counts: map[string]int{}}
	for n, token := range refreshTokens {
		f := &family{n: n, user: fmt.Sprint("e2e-name-user-", n)}
		g := &generation{of: f}
		f.generations, l.byRefresh[token] = []*generation{g}, g
		l.families = append(l.families, f)
	}
	return l
}

// arrive notes a request, and what is wrong with it. nil: nobody was ever given this token.
func (l *ledger) arrive(token string, replica int) (*generation, *send) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, now := l.byRefresh[token], time.Now()
	if g == nil {
		l.problem(nil, "replica %d sends a refresh token that nobody was given: %s", replica, digest(token))
		return nil, nil
	}
	s := &send{replica: replica, arrived: now}
	l.note(g.of, "replica %d sends token %d (%s)", replica, g.n, digest(token))
	for _, earlier := range g.sends {
		waited := now.Sub(earlier.arrived) >= sendTimeout
		switch {
		case earlier.ended.IsZero() && waited && l.hurtSince(earlier.replica, earlier.arrived):
			l.counts["sent again while a stopped process's request is on its way"]++
		case earlier.ended.IsZero():
			l.problem(g.of, "two requests with token %d are on their way at once, of replicas %d and %d", g.n, earlier.replica, replica)
		case earlier.delivered && !l.excused(earlier):
			l.problem(g.of, "token %d is sent again although replica %d had the reply %s before and nothing was done to it",
				g.n, earlier.replica, now.Sub(earlier.ended).Round(time.Millisecond))
		default:
			l.counts["sent again after an ambiguous outcome"]++
		}
	}
	if newest := max(g.of.vended, g.of.stored); g.n < newest {
		if l.hurtSince(replica, now.Add(-sendWindow)) {
			l.counts["sent by a process that woke up within its send window"]++
		} else {
			l.problem(g.of, "token %d is sent although the store has %d, and callers %d", g.n, g.of.stored, g.of.vended)
		}
	}
	g.sends = append(g.sends, s)
	return g, s
}

// excused reports a reply that may not have reached the store: its process was killed soon after, or was
// stopped for so long that others must take it for dead.
func (l *ledger) excused(s *send) bool {
	for _, h := range l.hurts {
		if !h.concerns(s.replica) || h.from.After(s.ended.Add(storeTime)) || !h.to.IsZero() && h.to.Before(s.arrived) {
			continue
		}
		if h.kill || h.length() >= sendTimeout {
			return true
		}
	}
	return false
}

func (l *ledger) hurtSince(replica int, since time.Time) bool {
	for _, h := range l.hurts {
		if h.concerns(replica) && (h.to.IsZero() || h.to.After(since)) {
			return true
		}
	}
	return false
}

// concerns takes a sender that nobody knows for any that was killed: it was gone before it could be told
// which it was.
func (h *hurt) concerns(replica int) bool { return h.replica == replica || replica < 0 && h.kill }

func (h *hurt) length() time.Duration {
	if h.to.IsZero() {
		return time.Since(h.from)
	}
	return h.to.Sub(h.from)
}

// forward notes that the provider sees a request from now on; false if its sender is dead.
func (l *ledger) forward(s *send) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.forwarded = s.ended.IsZero()
	return s.forwarded
}

// end notes what became of a request.
func (l *ledger) end(g *generation, s *send, delivered bool, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ended.IsZero() {
		s.ended, s.delivered = time.Now(), delivered
	}
	l.counts[how]++
	l.note(g.of, "replica %d, token %d: %s", s.replica, g.n, how)
}

// rotated notes what the provider gave for a token; the same for the same one.
func (l *ledger) rotated(g *generation, a answered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := &generation{of: g.of, n: len(g.of.generations), reply: a, ends: a.at.Add(a.lives)}
	g.of.generations = append(g.of.generations, next)
	l.byRefresh[a.refresh], l.byAccess[a.access] = next, next
	l.note(g.of, "the provider gives token %d (%s) for %d", next.n, digest(a.refresh), g.n)
}

// successor is what the provider gave for a token, and whether that was used since.
func (l *ledger) successor(g *generation) (a answered, found, used bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.n+1 >= len(g.of.generations) {
		return answered{}, false, false
	}
	next := g.of.generations[g.n+1]
	return next.reply, true, len(next.sends) > 0
}

// seen is the newest generation that a caller has seen.
func (l *ledger) seen(f *family) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.vended
}

// newest is the generation that the provider gave last.
func (l *ledger) newest(f *family) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(f.generations) - 1
}

// newestTokens are the last two pairs of each account.
func (l *ledger) newestTokens() (tokens []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.families {
		for _, g := range f.generations[max(1, len(f.generations)-2):] {
			tokens = append(tokens, g.reply.access, g.reply.refresh)
		}
	}
	return tokens
}

// dead notes that the program calls a grant dead.
func (l *ledger) dead(f *family, replica int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !f.dead {
		f.dead = true
		l.problem(f, "replica %d has no token any more: %s", replica, why)
	}
}

func (l *ledger) isDead(f *family) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.dead
}

// vend notes what a caller was given who asked at a moment when others had seen floor.
func (l *ledger) vend(f *family, access string, floor int, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["vended"]++
	g := l.byAccess[access]
	switch {
	case g == nil || g.of != f:
		l.problem(f, "a token is vended that the provider gave nobody, or for another account: %s", digest(access))
	case g.n < floor:
		l.problem(f, "token %d is vended after %d was", g.n, floor)
	case asked.After(g.ends):
		l.problem(f, "token %d is vended to somebody who asked %s after its end", g.n, asked.Sub(g.ends).Round(time.Millisecond))
	case g.n > f.vended:
		f.vended = g.n
		l.note(f, "access token %d is vended", g.n)
	}
}

// hurt notes what is done to a process; recovered that it is over.
func (l *ledger) hurt(replica int, kill bool, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.hurts = append(l.hurts, hurt{replica: replica, what: what, from: now, kill: kill})
	l.counts[what]++
	if !kill {
		return
	}
	for _, f := range l.families {
		for _, g := range f.generations[max(0, len(f.generations)-2):] {
			for _, s := range g.sends {
				if s.replica == replica && s.ended.IsZero() {
					s.ended = now
				}
			}
		}
	}
}

func (l *ledger) recovered(replica int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.hurts {
		if h := &l.hurts[i]; h.replica == replica && h.to.IsZero() {
			h.to = time.Now()
		}
	}
}

// settled reports that every reply that a process was given is in the store.
func (l *ledger) settled(replica int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.families {
		for _, g := range f.generations[max(0, len(f.generations)-2):] {
			for _, s := range g.sends {
				pending := s.forwarded && s.ended.IsZero()
				if s.replica == replica && (pending || s.delivered && f.stored <= g.n) {
					return false
				}
			}
		}
	}
	return true
}

// count counts what is told in the end.
func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}
