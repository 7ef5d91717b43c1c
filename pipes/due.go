package pipes

import (
	"sync"
	"sync/atomic"
	"time"

	"culvert/connectors"
)

const (
	// unknownIdle is how long a refresh token is taken to live unused where neither the connector nor the
	// reply says: a third of it is a week. Once a week costs next to nothing, and the shortest limit that is
	// documented anywhere is a week.
	unknownIdle = 21 * 24 * time.Hour
	// leastKept is below all refresh tokens that are worth keeping alive: a reply may claim an end in a second,
	// for any number of grants.
	leastKept = time.Minute
	// maxWarning is how long before the end of a grant its accounts' owners hear of it: two weeks, or a
	// fifth of its life where that is less.
	maxWarning = 14 * 24 * time.Hour
)

// schedule sets when the caretaker looks at a grant next, for the tokens that it has now. A grant that is in
// use is refreshed at its margin, so that nobody waits; an idle one at a third of the time after which the
// provider forgets it; and before a fixed end its owners are told.
func (b *Broker) schedule(g *Grant, conn *connectors.Connector, idle bool) {
	g.Idle, g.DueAt = idle, time.Time{}
	if g.Dead {
		return
	}
	sooner := func(at time.Time) {
		if g.DueAt.IsZero() || at.Before(g.DueAt) {
			g.DueAt = at.UTC().Truncate(time.Millisecond)
		}
	}
	if g.Refreshable && !g.refetched() {
		sooner(g.ObtainedAt.Add(b.keptEvery(g, conn)))
	}
	if !idle && g.Refreshable && !g.ExpiresAt.IsZero() {
		sooner(g.margined(conn))
	}
	if end := g.end(conn); !end.IsZero() && !end.Equal(g.AnnouncedEnd) {
		sooner(g.warning(end))
	}
}

// warning is when the end of a grant is announced.
func (g *Grant) warning(end time.Time) time.Time {
	return end.Add(-min(end.Sub(g.GrantedAt)/5, maxWarning))
}

// margined is when a grant in use is refreshed without being asked. A refresh that ends the old access
// token takes it from whoever got it a moment ago: that one waits for the end.
func (g *Grant) margined(conn *connectors.Connector) time.Time {
	if conn.KillsPreviousAccessToken {
		return g.ExpiresAt
	}
	return g.ExpiresAt.Add(-g.margin(conn))
}

// keptEvery is how long a grant may lie unused before it is refreshed for no other reason: a third of the
// time after which the provider forgets it, less up to a tenth that depends on the grant.
func (b *Broker) keptEvery(g *Grant, conn *connectors.Connector) time.Duration {
	idle := conn.RefreshIdle
	if g.RefreshExpiresAt.After(g.ObtainedAt) {
		if says := g.RefreshExpiresAt.Sub(g.ObtainedAt); idle == 0 || says < idle {
			idle = says
		}
	}
	if idle == 0 {
		idle = unknownIdle
	}
	every := max(idle/3, leastKept)
	if b.keepAlive > 0 {
		every = min(every, b.keepAlive)
	}
	return every - time.Duration(g.ID[len(g.ID)-1]%32)*every/320
}

// end is when a grant ends whatever is done with it but a reconnect; zero where that is not known, and for
// grants that last less than a day, whose end surprises nobody. One that a refresh moves is announced only
// if no refresh moved it in time.
func (g *Grant) end(conn *connectors.Connector) time.Time {
	end := g.lastDay(conn)
	if end.Sub(g.GrantedAt) < 24*time.Hour {
		return time.Time{}
	}
	return end
}

func (g *Grant) lastDay(conn *connectors.Connector) time.Time {
	switch {
	case g.refetched():
		return time.Time{}
	case !g.Refreshable:
		return g.ExpiresAt
	}
	end := g.RefreshExpiresAt
	if conn.GrantLifetime > 0 && !g.GrantedAt.IsZero() {
		if fixed := g.GrantedAt.Add(conn.GrantLifetime); end.IsZero() || fixed.Before(end) {
			end = fixed
		}
	}
	return end
}

// maxUses bounds the memory of which grants are in use. Whoever is forgotten counts as idle until the next
// vend, which costs a caller a wait and nothing else.
const maxUses = 200_000

// uses remembers in this process which grants were vended, by the generation that was. It is asked on
// every vend, so reading takes no lock.
type uses struct {
	seen atomic.Pointer[sync.Map] // grantKey → uint64
	kept atomic.Int64
}

func newUses() *uses {
	u := &uses{}
	u.seen.Store(&sync.Map{})
	return u
}

// note marks a generation as used; first reports that it was not marked before.
func (u *uses) note(g *Grant) (first bool) {
	key := keyOf(g)
	known, there := u.seen.Load().Load(key)
	if there && known.(uint64) == g.Generation {
		return false
	}
	if !there && u.kept.Add(1) > maxUses {
		u.seen.Store(&sync.Map{})
		u.kept.Store(1)
	}
	u.seen.Load().Store(key, g.Generation)
	return true
}

// used reports whether this process vended the grant's present generation.
func (u *uses) used(g *Grant) bool {
	known, there := u.seen.Load().Load(keyOf(g))
	return there && known.(uint64) == g.Generation
}
