package keys_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/keystest"
)

// isRootOutage reports the error that clients get as a 503 which names the root key.
func isRootOutage(err error) bool {
	o := outage.Of(err)
	return o != nil && o.Dependency == outage.RootKey
}

// waitFor polls until something has become true.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// calls is how many calls of the root key an open takes that may fail.
func (o *opener) calls(t *testing.T) (int64, error) {
	t.Helper()
	before := o.s.Root.Unwraps()
	err := o.open(t)
	return o.s.Root.Unwraps() - before, err
}

// wantCalls opens once.
func (o *opener) wantCalls(t *testing.T, what string, want int64, is func(error) bool) {
	t.Helper()
	if got, err := o.calls(t); got != want || !is(err) {
		t.Errorf("%s: %d calls, want %d; %v", what, got, want, err)
	}
}

func opens(err error) bool       { return err == nil }
func isRefused(err error) bool   { return errors.Is(err, keys.ErrRefused) }
func isIntegrity(err error) bool { return errors.Is(err, keys.ErrTampered) }

// A refusal is remembered for a moment, of one generation: a revoked key is not a call per request, and one
// that is allowed again works soon.
func TestRefusalIsRememberedForAMoment(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	store := &hostileStore{Store: s.Store}
	o := newOpener(t, s, keys.Config{Store: store, Now: clock.Now}, "a")
	other := newOpener(t, s, keys.Config{}, "b")
	other.k = o.k
	s.Root.Refuse()
	o.wantCalls(t, "refused", 1, isRefused)
	for range 10 {
		o.wantCalls(t, "refused again", 0, isRefused)
	}
	other.wantCalls(t, "another KEK", 1, isRefused)
	clock.advance(keys.RefusalTTL - 1)
	o.wantCalls(t, "refused a moment later", 0, isRefused)
	// Another generation, of a rotation or a repair, is asked for at once.
	s.Root.Fail(nil)
	o.wantCalls(t, "allowed again, too soon", 0, isRefused)
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) { return r, g + 1, nil })
	o.wantCalls(t, "another generation", 1, opens)
	other.wantCalls(t, "another generation of the other KEK", 1, opens)
	store.onKEK(nil)
	o.wantCalls(t, "the old generation", 1, opens)
	// And the same one soon.
	s.Root.Refuse()
	k := s.MustKeys(t, keys.Config{Now: clock.Now})
	o.k = k
	o.wantCalls(t, "refused", 1, isRefused)
	s.Root.Fail(nil)
	clock.advance(keys.RefusalTTL)
	o.wantCalls(t, "allowed again", 1, opens)
}

// What does not open is not unwrapped again and again.
func TestIntegrityFailureIsRememberedForAMoment(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	store := &hostileStore{Store: s.Store}
	o := newOpener(t, s, keys.Config{Store: store, Now: clock.Now}, "a")
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Sealed = eachDamage(r.Sealed)[40]
		return r, g, nil
	})
	o.wantCalls(t, "broken", 1, isIntegrity)
	o.wantCalls(t, "broken, again", 0, isIntegrity)
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) { return r, g + 1, nil })
	o.wantCalls(t, "repaired", 1, opens)
}

// Without a cache nothing is remembered, refusals neither.
func TestNoCacheRemembersNoRefusal(t *testing.T) {
	s := keystest.New(t)
	o := newOpener(t, s, keys.Config{NoCache: true}, "a")
	s.Root.Refuse()
	o.wantCalls(t, "refused", 1, isRefused)
	o.wantCalls(t, "refused", 1, isRefused)
	s.Root.Fail(nil)
	o.wantCalls(t, "allowed", 1, opens)
	if o.k.Warm() {
		t.Error("warm without a cache")
	}
}

// Once the root key is known to be away, cold contexts fail without asking it, but for one call after each
// pause; a new context, which would wrap, fails like them. An answer to one is an answer to all.
func TestColdContextsFailFastInAnOutage(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	a, b := newOpener(t, s, keys.Config{Now: clock.Now}, "a"), newOpener(t, s, keys.Config{}, "b")
	b.k = a.k
	s.Root.Down()
	a.wantCalls(t, "who finds out", 1, isRootOutage)
	for range 10 {
		a.wantCalls(t, "known", 0, isRootOutage)
		b.wantCalls(t, "known, another context", 0, isRootOutage)
	}
	wraps := s.Root.Wraps()
	c := keystest.MustContext(t, "name", "new")
	if _, _, err := a.k.Seal(t.Context(), s.MustPermit(t, c), c, a.object, value("v"), keys.SealMeta{}); !isRootOutage(err) || s.Root.Wraps() != wraps {
		t.Errorf("a new context: %v, %d calls", err, s.Root.Wraps()-wraps)
	}
	clock.advance(keys.BreakerPause)
	b.wantCalls(t, "after a pause", 1, isRootOutage)
	a.wantCalls(t, "after another failure", 0, isRootOutage)
	clock.advance(keys.BreakerPause)
	s.Root.Refuse()
	a.wantCalls(t, "it answers again, if only by refusing", 1, isRefused)
	s.Root.Fail(nil)
	b.wantCalls(t, "without another pause", 1, opens)
}

// While the one call after a pause waits for a root key that hangs, nobody else does.
func TestOneCallAsksAfterAPause(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	a, b := newOpener(t, s, keys.Config{Now: clock.Now}, "a"), newOpener(t, s, keys.Config{}, "b")
	b.k = a.k
	s.Root.Down()
	a.wantCalls(t, "down", 1, isRootOutage)
	clock.advance(keys.BreakerPause)
	// The call gets in, and then nothing happens until the test lets it go.
	s.Root.Fail(nil)
	release := s.Root.Hang(t)
	before := s.Root.Unwraps()
	var work sync.WaitGroup
	work.Go(func() {
		if err := a.open(t); err != nil {
			t.Errorf("the call that asked: %v", err)
		}
	})
	waitFor(t, "the call to begin", func() bool { return s.Root.Unwraps() == before+1 })
	b.wantCalls(t, "meanwhile", 0, isRootOutage)
	release()
	work.Wait()
	b.wantCalls(t, "afterwards", 1, opens)
}

// Warm contexts go on for the extension, and not longer; the root key is asked again behind their backs,
// and what it says counts.
func TestOutageExtension(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	o := newOpener(t, s, keys.Config{CacheTTL: time.Minute, OutageExtension: time.Hour, Now: clock.Now}, "a")
	if o.k.Warm() {
		t.Error("warm before anything was opened")
	}
	o.wantCalls(t, "cold", 1, opens)
	clock.advance(time.Minute)
	o.wantCalls(t, "the TTL counts while the root key answers", 1, opens)
	s.Root.Down()
	clock.advance(time.Minute)
	o.wantCalls(t, "who finds out", 1, opens)
	o.wantCalls(t, "extended", 0, opens)
	if !o.k.Warm() {
		t.Error("not warm within the extension")
	}
	clock.advance(30 * time.Minute)
	before := s.Root.Unwraps()
	if err := o.open(t); err != nil {
		t.Errorf("half an hour into it: %v", err)
	}
	waitFor(t, "the question behind the caller's back", func() bool { return s.Root.Unwraps() > before })
	clock.advance(30*time.Minute - 1)
	if err := o.open(t); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	clock.advance(1)
	if err := o.open(t); !isRootOutage(err) {
		t.Errorf("at its end: %v, want an outage", err)
	}
	if o.k.Warm() {
		t.Error("warm after the extension")
	}
}

// A refusal ends the extension, whoever asked.
func TestRefusalEndsTheExtension(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	o := newOpener(t, s, keys.Config{CacheTTL: time.Minute, OutageExtension: time.Hour, Now: clock.Now}, "a")
	o.wantCalls(t, "cold", 1, opens)
	s.Root.Down()
	clock.advance(time.Minute)
	o.wantCalls(t, "who finds out", 1, opens)
	s.Root.Refuse()
	clock.advance(keys.BreakerPause)
	if err := o.open(t); err != nil {
		t.Errorf("the one behind whose back it is asked: %v", err)
	}
	waitFor(t, "the refusal", func() bool { return isRefused(o.open(t)) })
	s.Root.Down()
	clock.advance(keys.RefusalTTL)
	o.wantCalls(t, "an outage after a refusal", 1, isRootOutage)
}

// Only a KEK that the root key alone wraps may outlive its TTL.
func TestCustomersKeysAreNotExtended(t *testing.T) {
	root := keys.Share{Slot: keys.RootSlot}
	if !(&keys.KEKRecord{Shares: []keys.Share{root}}).Extendable() {
		t.Error("the root key alone: not extendable")
	}
	for _, shares := range [][]keys.Share{{{Slot: "organization_id=1"}, root}, {{Slot: "organization_id=1"}}, nil} {
		if (&keys.KEKRecord{Shares: shares}).Extendable() {
			t.Errorf("%v: extendable", shares)
		}
	}
}

// What has expired does not stay in memory until something comes in its place.
func TestExpiredKEKsAreSweptOut(t *testing.T) {
	clock := newHandClock()
	s := keystest.New(t)
	o := newOpener(t, s, keys.Config{CacheTTL: time.Minute, OutageExtension: time.Minute, Now: clock.Now}, "a")
	o.wantCalls(t, "cold", 1, opens)
	clock.advance(2*time.Minute - 1)
	o.k.Sweep()
	if o.k.Cached() != 1 {
		t.Error("swept out before its end")
	}
	clock.advance(1)
	o.k.Sweep()
	if o.k.Cached() != 0 {
		t.Error("still there after its end")
	}
}
