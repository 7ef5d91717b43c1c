package etcd_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/ratelimit"
)

// testRates: limiters of three replicas admit a budget together, and not more; a key that comes too often takes
// nothing from another; the next window has a budget of its own, and whoever's clock is in it early takes from that.
func testRates(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	const budget = 100
	// The end of a window, so that a clock which is a second ahead is in the next.
	now := time.Unix(0, 0).Add(1000 * ratelimit.Window)
	var limiters []*ratelimit.Limiter
	var ahead time.Duration
	for i := range 3 {
		l, err := ratelimit.New(ratelimit.Config{
			Store: p.mustStore(t), PerKey: budget, PerEnvironment: 2 * budget, Wait: time.Minute,
			Now: func() time.Time {
				if i == 0 {
					return now.Add(ahead)
				}
				return now
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		limiters = append(limiters, l)
	}
	// admitted is how many of n requests come through, as many at each replica, all at once.
	admitted := func(key string, n int) int {
		var wg sync.WaitGroup
		counts := make([]int, len(limiters))
		for i, l := range limiters {
			wg.Go(func() {
				for range n / len(limiters) {
					if l.Admit(t.Context(), p.env, key) == 0 {
						counts[i]++
					}
				}
			})
		}
		wg.Wait()
		return counts[0] + counts[1] + counts[2]
	}
	within := func(what string, got, want int) {
		t.Helper()
		if got > want || got < want*9/10 {
			t.Errorf("%s: %d were admitted, want %d and not a tenth less", what, got, want)
		}
	}
	within("one key", admitted("key_1", 600), budget)
	within("another", admitted("key_2", 90), 90)
	if wait := limiters[1].Admit(t.Context(), p.env, "key_1"); wait <= 0 || wait > ratelimit.Window {
		t.Errorf("a refused request has to wait %s", wait)
	}
	// Of the environment's two hundred a third key gets what the first two have left.
	if got := admitted("key_3", 300); got > 20 {
		t.Errorf("%d were admitted beyond the environment's budget", got)
	}
	now = now.Add(ratelimit.Window)
	within("the next window", admitted("key_1", 600), budget)
	// A replica that is ahead begins the next window, and the others take from the same.
	now, ahead = now.Add(2*ratelimit.Window-time.Second), time.Second
	if wait := limiters[0].Admit(t.Context(), p.env, "key_4"); wait > 0 {
		t.Errorf("the first request of a window waits %s", wait)
	}
	within("a clock that is ahead", 1+admitted("key_4", 600), budget)
}

// crowd is a store of many replicas.
type crowd struct{ ratelimit.Store }

func (crowd) Replicas() int { return 20 }

// testManyRates: also of twenty replicas, each of which keeps what it has taken and not used, at least nine tenths of a
// budget are admitted, and never more than all of it.
func testManyRates(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	store := crowd{p.mustStore(t)}
	const budget = 400
	now := time.Unix(0, 0).Add(1000 * ratelimit.Window)
	admitted := 0
	for i := range store.Replicas() {
		l, err := ratelimit.New(ratelimit.Config{Store: store, PerKey: budget, Wait: time.Minute, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		if i == store.Replicas()-1 {
			n = 2 * budget
		}
		for range n {
			if l.Admit(t.Context(), p.env, "key_1") == 0 {
				admitted++
			}
		}
	}
	if admitted > budget || admitted < budget*9/10 {
		t.Errorf("%d of %d were admitted", admitted, budget)
	}
}

// fickle is a store that answers for as long as it is asked for the first window, and then nobody: nor does it know
// of the other replicas any more.
type fickle struct {
	first int64
	taken int
	gone  bool
}

func (f *fickle) TakeRate(ctx context.Context, _ access.EnvironmentID, _ string, window int64, n, budget int) (int64, int, error) {
	if window == f.first && f.taken < 10 {
		f.taken += n
		return window, n, nil
	}
	<-ctx.Done()
	f.gone = true
	return 0, 0, errors.New("no answer")
}

func (f *fickle) Replicas() int {
	if f.gone {
		return 1
	}
	return 4
}

// TestRatesWithoutStore: a store that does not answer refuses nobody: each replica has its share of the window, less
// what it has admitted before, and remembers how many there are to share with.
func TestRatesWithoutStore(t *testing.T) {
	now := time.Unix(0, 0).Add(1000 * ratelimit.Window)
	store := &fickle{first: 1000}
	l, err := ratelimit.New(ratelimit.Config{Store: store, PerKey: 100, Wait: time.Millisecond, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		admitted := 0
		for range 60 {
			if l.Admit(t.Context(), "env", "key_1") == 0 {
				admitted++
			}
		}
		if admitted != 25 {
			t.Errorf("window %d: %d were admitted, want a fourth of a hundred", round, admitted)
		}
		now = now.Add(ratelimit.Window)
	}
	if store.taken != 10 {
		t.Errorf("%d were taken while the store answered, want 10", store.taken)
	}
}
