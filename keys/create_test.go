package keys_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/keystest"
)

// mustStore seals and commits as a use case does: after a conflict it begins again.
func mustStore(t testing.TB, s *keystest.Stack, k *keys.Keys, c keys.Context, b keys.ObjectBinding, v string) keys.Sealed {
	t.Helper()
	permit := s.MustPermit(t, c)
	for range 10 {
		s.MustFence(t)
		sealed, conditions, err := k.Seal(t.Context(), permit, c, b, value(v), keys.SealMeta{})
		if err != nil {
			t.Error(err)
			return sealed
		}
		if conditions.Create == nil {
			return sealed
		}
		err = s.Store.CreateKEK(t.Context(), conditions)
		if err == nil {
			return sealed
		}
		if !errors.Is(err, keys.ErrConflict) {
			t.Error(err)
			return sealed
		}
	}
	t.Error("ten conflicts in a row")
	return keys.Sealed{}
}

// 64 callers on two replicas meet at a new context: one KEK comes of it, with one event, and everything
// that anyone was told is stored opens.
func TestOneKEKForManyCreators(t *testing.T) {
	s := keystest.New(t)
	s.Root.Slow(2 * time.Millisecond)
	replicas := []*keys.Keys{s.Keys, s.MustKeys(t, keys.Config{})}
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Object
	all := make([]keys.Sealed, 64)
	var work sync.WaitGroup
	for i := range all {
		work.Go(func() { all[i] = mustStore(t, s, replicas[i%2], c, b, fmt.Sprint(i)) })
	}
	work.Wait()
	if t.Failed() {
		return
	}
	permit := s.MustPermit(t, c)
	for i, sealed := range all {
		if sealed.KeyID != all[0].KeyID {
			t.Fatalf("two KEKs for one context: %s and %s", sealed.KeyID, all[0].KeyID)
		}
		got, err := s.Keys.Open(t.Context(), permit, sealed, b)
		if err != nil || !got.Equal(value(fmt.Sprint(i))) {
			t.Errorf("value %d: %v", i, err)
		}
	}
	page, err := s.Store.Page(t.Context(), keystest.Environment, events.Query{Types: []events.Type{events.KEKCreated}, Limit: 10})
	if err != nil || len(page.Data) != 1 {
		t.Errorf("%d events of a created KEK, %v; want 1", len(page.Data), err)
	}
	// One creation and one unwrap per replica are the least; coalescing keeps it near that.
	if wraps := s.Root.Wraps(); wraps > 16 {
		t.Errorf("%d calls of the root key to create one KEK", wraps)
	}
}

// A draft is shared while it is made, and each caller's own name is on the event he would commit.
func TestConcurrentDraftsAreOne(t *testing.T) {
	s := keystest.New(t)
	wrapsBefore := s.Root.Wraps()
	s.Root.Slow(time.Second) // until all are there
	c, b := keystest.MustContext(t, "a", "b"), goldenInput(t).Object
	permit := s.MustPermit(t, c)
	all := make([]keys.Conditions, 8)
	var work sync.WaitGroup
	for i := range all {
		work.Go(func() {
			var err error
			_, all[i], err = s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{Index: uint64(i)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for i, conditions := range all {
		if conditions.KeyID != all[0].KeyID || conditions.Create.Event.Index != uint64(i) {
			t.Errorf("caller %d: KEK %s, event of intent %d", i, conditions.KeyID, conditions.Create.Event.Index)
		}
	}
	if wraps := s.Root.Wraps() - wrapsBefore; wraps != 1 {
		t.Errorf("%d calls of the root key for drafts made at once, want 1", wraps)
	}
	s.Root.Slow(0)
	// Nobody committed: the next caller drafts another.
	_, again, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{})
	if err != nil || again.KeyID == all[0].KeyID {
		t.Errorf("a draft that was never committed came back: %v", err)
	}
}

func TestSealAgainAfterAConflict(t *testing.T) {
	s := keystest.New(t)
	c, b := keystest.MustContext(t, "a", "b"), goldenInput(t).Object
	permit := s.MustPermit(t, c)
	_, lost, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	winner := mustStore(t, s, s.MustKeys(t, keys.Config{}), c, b, "v")
	if err := s.Store.CreateKEK(t.Context(), lost); !errors.Is(err, keys.ErrConflict) {
		t.Fatalf("second creation: %v, want %v", err, keys.ErrConflict)
	}
	s.MustFence(t)
	again, conditions, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{})
	if err != nil || again.KeyID != winner.KeyID || conditions.Create != nil {
		t.Errorf("seal after a conflict: KEK %s, %v; want %s", again.KeyID, err, winner.KeyID)
	}
}

func TestCreationIsRateLimited(t *testing.T) {
	s := keystest.New(t)
	k := s.MustKeys(t, keys.Config{CreateRate: 0.001, CreateBurst: 2})
	b := goldenInput(t).Object
	seal := func(name string) error {
		c := keystest.MustContext(t, "name", name)
		_, conditions, err := k.Seal(t.Context(), s.MustPermit(t, c), c, b, value("v"), keys.SealMeta{})
		if err == nil && conditions.Create != nil {
			err = s.Store.CreateKEK(t.Context(), conditions)
			s.MustFence(t)
		}
		return err
	}
	for _, name := range []string{"one", "two"} {
		if err := seal(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := seal("three"); !errors.Is(err, keys.ErrCreateRate) {
		t.Errorf("third creation: %v, want %v", err, keys.ErrCreateRate)
	}
	c := keystest.MustContext(t, "name", "three")
	if _, err := k.CreateDataKey(t.Context(), s.MustPermit(t, c), c, keys.SealMeta{}); !errors.Is(err, keys.ErrCreateRate) {
		t.Errorf("data key in a third context: %v, want %v", err, keys.ErrCreateRate)
	}
	if err := seal("one"); err != nil {
		t.Errorf("a context that exists: %v", err)
	}
}

// A root key that is away stops new contexts, and leaves nothing behind that would stop them later.
func TestCreationFailsWithTheRootKey(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	s.Keys = s.MustKeys(t, keys.Config{Now: clock.Now})
	c, b := keystest.MustContext(t, "a", "b"), goldenInput(t).Object
	permit := s.MustPermit(t, c)
	s.Root.Down()
	if _, _, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{}); outage.Of(err) == nil {
		t.Errorf("root key down: %v, want an outage", err)
	}
	clock.advance(keys.BreakerPause)
	s.Root.Refuse()
	if _, _, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{}); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("root key disabled: %v, want %v", err, keys.ErrRefused)
	}
	s.Root.Fail(nil)
	if _, _, err := s.Keys.Seal(t.Context(), permit, c, b, value("v"), keys.SealMeta{}); err != nil {
		t.Errorf("root key back: %v", err)
	}
}
