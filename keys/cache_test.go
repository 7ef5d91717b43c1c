package keys_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/keystest"
)

// handClock is a clock that tests set. Its readings are safe from other goroutines.
type handClock struct{ ns atomic.Int64 }

func newHandClock() *handClock {
	c := &handClock{}
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *handClock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *handClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// opener opens one object again and again and tells how many calls of the root key that took.
type opener struct {
	s      *keystest.Stack
	k      *keys.Keys
	c      keys.Context
	sealed keys.Sealed
	object keys.ObjectBinding
}

func newOpener(t *testing.T, s *keystest.Stack, cfg keys.Config, name string) *opener {
	t.Helper()
	o := &opener{s: s, k: s.MustKeys(t, cfg), c: keystest.MustContext(t, "name", name), object: goldenInput(t).Object}
	o.sealed = s.MustSeal(t, o.c, o.object, "value")
	return o
}

func (o *opener) open(t *testing.T) error {
	t.Helper()
	_, err := o.k.Open(t.Context(), o.s.MustPermit(t, o.c), o.sealed, o.object)
	return err
}

// unwraps is how many calls of the root key one open takes.
func (o *opener) unwraps(t *testing.T) int64 {
	t.Helper()
	before := o.s.Root.Unwraps()
	if err := o.open(t); err != nil {
		t.Fatal(err)
	}
	return o.s.Root.Unwraps() - before
}

func TestCacheHoldsForTheTTLFromTheUnwrap(t *testing.T) {
	clock := newHandClock()
	o := newOpener(t, keystest.New(t), keys.Config{CacheTTL: time.Minute, Now: clock.Now}, "a")
	if got := o.unwraps(t); got != 1 {
		t.Errorf("cold: %d calls, want 1", got)
	}
	// Use does not prolong it.
	for range 59 {
		clock.advance(time.Second)
		if got := o.unwraps(t); got != 0 {
			t.Fatalf("warm: %d calls, want 0", got)
		}
	}
	clock.advance(time.Second)
	if got := o.unwraps(t); got != 1 {
		t.Errorf("at the TTL: %d calls, want 1", got)
	}
	if got := o.unwraps(t); got != 0 {
		t.Errorf("warm again: %d calls, want 0", got)
	}
}

func TestNoCacheAsksEveryTime(t *testing.T) {
	o := newOpener(t, keystest.New(t), keys.Config{NoCache: true}, "a")
	for range 3 {
		if got := o.unwraps(t); got != 1 {
			t.Errorf("%d calls, want 1", got)
		}
	}
}

func TestCacheIsOfOneGeneration(t *testing.T) {
	s := keystest.New(t)
	store := &hostileStore{Store: s.Store}
	o := newOpener(t, s, keys.Config{Store: store}, "a")
	o.unwraps(t)
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) { return r, g + 1, nil })
	if got := o.unwraps(t); got != 1 {
		t.Errorf("new generation: %d calls, want 1", got)
	}
	if got := o.unwraps(t); got != 0 {
		t.Errorf("new generation again: %d calls, want 0", got)
	}
	// A new generation that does not open must not fall back on the old one.
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Sealed = eachDamage(r.Sealed)[40]
		return r, g + 2, nil
	})
	if err := o.open(t); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("broken generation: %v, want %v", err, keys.ErrTampered)
	}
	// Shredding holds at once, however warm the cache is.
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Shares, r.Sealed, r.ShreddedAt = nil, nil, r.CreatedAt
		return r, g + 1, nil
	})
	if err := o.open(t); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("shredded: %v, want %v", err, keys.ErrShredded)
	}
}

func TestRefusalDropsTheCachedKEK(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	store := &hostileStore{Store: s.Store}
	o := newOpener(t, s, keys.Config{Store: store, Now: clock.Now}, "a")
	o.unwraps(t)
	s.Root.Refuse()
	if err := o.open(t); err != nil {
		t.Errorf("within the TTL nobody asks the root key: %v", err)
	}
	// Another generation makes it ask, and the answer counts for the old one too.
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) { return r, g + 1, nil })
	if err := o.open(t); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("refused: %v, want %v", err, keys.ErrRefused)
	}
	store.onKEK(nil)
	if err := o.open(t); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("old generation after a refusal: %v, want %v", err, keys.ErrRefused)
	}
	s.Root.Fail(nil)
	clock.advance(keys.RefusalTTL)
	if err := o.open(t); err != nil {
		t.Errorf("allowed again: %v", err)
	}
}

func TestOutageEndsAtTheTTL(t *testing.T) {
	clock := newHandClock()
	s := keystest.New(t)
	o := newOpener(t, s, keys.Config{CacheTTL: time.Minute, Now: clock.Now}, "a")
	o.unwraps(t)
	s.Root.Down()
	clock.advance(59 * time.Second)
	if err := o.open(t); err != nil {
		t.Errorf("within the TTL: %v", err)
	}
	clock.advance(time.Second)
	if err := o.open(t); outage.Of(err) == nil || outage.Of(err).Dependency != outage.RootKey {
		t.Errorf("after the TTL: %v, want an outage of the root key", err)
	}
	s.Root.Fail(nil)
	clock.advance(keys.BreakerPause)
	if err := o.open(t); err != nil {
		t.Errorf("root key back: %v", err)
	}
}

// 1000 readers of one cold context are one call of the root key, whether it is slow, so that all wait
// for it, or fast.
func TestColdReadersShareOneUnwrap(t *testing.T) {
	s := keystest.New(t)
	o := newOpener(t, s, keys.Config{}, "a")
	permit := s.MustPermit(t, o.c)
	for _, delay := range []time.Duration{20 * time.Millisecond, 0} {
		s.Root.Slow(delay)
		k := s.MustKeys(t, keys.Config{})
		before := s.Root.Unwraps()
		var work sync.WaitGroup
		for range 1000 {
			work.Go(func() {
				if _, err := k.Open(t.Context(), permit, o.sealed, o.object); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		if got := s.Root.Unwraps() - before; got != 1 {
			t.Errorf("%d calls of a root key that takes %v, want 1", got, delay)
		}
	}
}

// Who found the cache empty just before the flight landed looks again before he begins another.
func TestLateMissFindsWhatTheFlightBrought(t *testing.T) {
	s := keystest.New(t)
	o := newOpener(t, s, keys.Config{}, "a")
	o.unwraps(t)
	r, generation, err := s.Store.KEK(t.Context(), keystest.Environment, o.sealed.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Root.Unwraps()
	if err := o.k.Unwrap(t.Context(), r, generation); err != nil {
		t.Fatal(err)
	}
	if got := s.Root.Unwraps() - before; got != 0 {
		t.Errorf("%d calls of the root key, want 0", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := keystest.New(t)
	for _, bound := range []int{1, 3, 100} {
		k := s.MustKeys(t, keys.Config{CacheEntries: bound})
		for i := range 2 * bound {
			o := newOpener(t, s, keys.Config{}, fmt.Sprint(i))
			o.k = k
			if err := o.open(t); err != nil {
				t.Fatal(err)
			}
			if got := k.Cached(); got > bound {
				t.Fatalf("%d entries, want at most %d", got, bound)
			}
		}
		if k.Cached() == 0 {
			t.Error("nothing is cached")
		}
	}
}
