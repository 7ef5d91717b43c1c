// Package ratelimit bounds how many requests an API key and an environment make within a window of time, on all
// replicas together.
//
// # How
//
// A window has a budget for each subject, and one record in the store of how much of it was taken. A replica takes
// a fiftieth of the budget at a time, or with more than five replicas a tenth of its share, and admits from that in
// memory: so a request writes nothing, and a window costs fifty small transactions, or ten for each replica, however
// many requests come. Who finds the budget spent asks no more until the window ends.
//
// # What holds
//
// All replicas together admit at most the budget while the store answers. Each but the one that is refused can be left
// with one batch that it does not use, a tenth of all of them at most: at least nine tenths of the budget are admitted
// if that many come, however many replicas there are. A store that does not answer within [Config.Wait] refuses nobody:
// for the rest of that window the replica has what it has not yet used of its share: the budget divided by the
// replicas that there were when the store last answered. What one has used beyond its share before is not taken
// from the others, so a window in which the store falls silent can admit up to twice its budget.
//
// Windows are counted by each replica's own clock. One that is behind takes from the window that the record is in,
// if that is the next one; clocks further apart than a window are not kept together, and such a replica refuses
// writes anyway (internal/etcd, nodes.go).
//
// # What does not
//
// The record has no MAC. A writer of etcd can have requests refused or admitted; he can also take etcd away, and
// nothing but a 429 hangs on it.
package ratelimit

import (
	"context"
	"errors"
	"sync"
	"time"

	"culvert/internal/access"
)

// Window is the time that budgets are for.
const Window = 10 * time.Second

const (
	// batches is how many times a budget is taken from, or batchesEach for each replica if that is more.
	batches     = 50
	batchesEach = 10
)

// Store is asked for parts of budgets. It is safe for concurrent use.
type Store interface {
	// TakeRate takes up to n of the budget of a subject in a window, the number of windows since 1970. It says
	// which window it took from, that one or the next, and how many it got; 0 is a budget that is spent. A
	// record of an older window, or of one further ahead, is begun anew. Any error may leave n taken.
	TakeRate(ctx context.Context, env access.EnvironmentID, subject string, window int64, n, budget int) (from int64, got int, err error)
	// Replicas is how many replicas there are as far as this one knows, itself among them; at least 1.
	Replicas() int
}

// Config is what a [Limiter] needs.
type Config struct {
	Store Store
	// PerKey and PerEnvironment are budgets in requests for each [Window]; 0 is no limit.
	PerKey, PerEnvironment int
	// Wait is how long a request waits for the store; default 100 ms.
	Wait time.Duration
	// Now is the clock; default [time.Now].
	Now func() time.Time
}

// Limiter admits requests. A nil Limiter admits all. It is safe for concurrent use.
type Limiter struct {
	config Config

	// mu guards the two maps, never what stands in them. Subjects of a window are in current; those of the one before
	// are in earlier until they are asked for again, or a window later forgotten, all at once: no request looks through
	// them.
	mu               sync.Mutex
	window           int64
	current, earlier map[subjectKey]*subject
}

type subjectKey struct {
	env access.EnvironmentID
	// id is an API key's, or empty for the environment as a whole.
	id string
}

// subject is what this replica knows of one budget. Its mutex is held while the store is asked, by one request for
// all that come meanwhile.
type subject struct {
	mu     sync.Mutex
	window int64
	// left are the requests of the window that may still be admitted without asking.
	left int
	// closed says that there is no more to be had in the window.
	closed bool
	// admitted are the requests of the window that came through here.
	admitted int
	// replicas is how many there were when the store answered last: one that is out of reach tells of none.
	replicas int
}

// New returns a Limiter, or nil where nothing is limited.
func New(c Config) (*Limiter, error) {
	if c.PerKey < 0 || c.PerEnvironment < 0 {
		return nil, errors.New("ratelimit: a budget is not negative")
	}
	if c.PerKey == 0 && c.PerEnvironment == 0 {
		return nil, nil
	}
	if c.Store == nil {
		return nil, errors.New("ratelimit: limiter needs a Store")
	}
	if c.Wait <= 0 {
		c.Wait = 100 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Limiter{config: c, current: map[subjectKey]*subject{}}, nil
}

// Admit counts one request of an API key. A wait of more than 0 refuses it, and is when the next window begins:
// at most one window ahead, and two for a replica whose clock is behind.
// The key's budget comes first: what it is refused takes nothing from the others of its environment.
func (l *Limiter) Admit(ctx context.Context, env access.EnvironmentID, key string) (wait time.Duration) {
	if l == nil {
		return 0
	}
	if wait := l.take(ctx, subjectKey{env, key}, l.config.PerKey); wait > 0 {
		return wait
	}
	return l.take(ctx, subjectKey{env: env}, l.config.PerEnvironment)
}

func (l *Limiter) take(ctx context.Context, key subjectKey, budget int) time.Duration {
	if budget == 0 {
		return 0
	}
	s := l.subject(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.config.Now()
	if window := now.UnixNano() / int64(Window); window > s.window {
		s.window, s.left, s.closed, s.admitted = window, 0, false, 0
	}
	if s.left == 0 && !s.closed {
		l.fill(ctx, key, s, budget)
	}
	if s.left == 0 {
		return max(time.Unix(0, (s.window+1)*int64(Window)).Sub(now), time.Millisecond)
	}
	s.left--
	s.admitted++
	return 0
}

// fill asks for the next batch. The caller's own end does not cut it off: others wait for the same answer.
func (l *Limiter) fill(ctx context.Context, key subjectKey, s *subject, budget int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.config.Wait)
	defer cancel()
	n := max(budget/max(batches, batchesEach*l.config.Store.Replicas()), 1)
	window, got, err := l.config.Store.TakeRate(ctx, key.env, key.id, s.window, n, budget)
	if err != nil {
		share := max(budget/max(s.replicas, l.config.Store.Replicas()), 1)
		s.left, s.closed = max(share-s.admitted, 0), true
		return
	}
	s.replicas = l.config.Store.Replicas()
	if window != s.window {
		s.window, s.admitted = window, 0
	}
	s.left, s.closed = got, got == 0
}

func (l *Limiter) subject(key subjectKey) *subject {
	l.mu.Lock()
	defer l.mu.Unlock()
	if window := l.config.Now().UnixNano() / int64(Window); window > l.window {
		l.window, l.earlier, l.current = window, l.current, map[subjectKey]*subject{}
	}
	s := l.current[key]
	if s == nil {
		if s = l.earlier[key]; s == nil {
			s = &subject{}
		}
		l.current[key] = s
	}
	return s
}
