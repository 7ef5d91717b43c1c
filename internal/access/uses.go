package access

import (
	"sync"
	"time"
)

// Use is when an API key was used last, to the minute.
type Use struct {
	Environment EnvironmentID
	KeyID       string
	At          time.Time
}

// uses collects which keys were used, for somebody who writes it down now and then. A key enters it once a
// minute, so that a request costs a look at one number.
type uses struct {
	mu   sync.Mutex
	last map[usedKey]time.Time // guarded by mu
}

type usedKey struct {
	env EnvironmentID
	id  string
}

func newUses() *uses { return &uses{last: map[usedKey]time.Time{}} }

// note takes a use of a key that was let in.
func (u *uses) note(known *remembered, env EnvironmentID, id string, at time.Time) {
	minute := at.Unix() / 60
	was := known.used.Load()
	if minute <= was || !known.used.CompareAndSwap(was, minute) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[usedKey{env, id}] = at.UTC().Truncate(time.Minute)
}

// TakeUses returns the uses since it was called last, each key once.
func (g *Gate) TakeUses() []Use {
	u := g.uses
	u.mu.Lock()
	last := u.last
	u.last = map[usedKey]time.Time{}
	u.mu.Unlock()
	taken := make([]Use, 0, len(last))
	for key, at := range last {
		taken = append(taken, Use{key.env, key.id, at})
	}
	return taken
}
