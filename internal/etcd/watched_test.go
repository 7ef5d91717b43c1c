package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault"
)

// mustSee reads an object every way through a store, and wants all of it to be as it was written.
func (p *place) mustSee(t testing.TB, s *etcd.Store, w vault.Write) {
	t.Helper()
	mustFence(t, s)
	ctx, h := t.Context(), &w.Header
	got, err := s.Header(ctx, p.env, h.ID)
	if err != nil || got.Current().ID != h.Current().ID {
		t.Fatalf("header of %s: %v; want version %d", h.Name, err, h.Current().Sequence)
	}
	if got, err = s.HeaderByName(ctx, p.env, h.Name); err != nil || got.Current().ID != h.Current().ID {
		t.Fatalf("header by name of %s: %v; want version %d", h.Name, err, h.Current().Sequence)
	}
	text, err := s.Ciphertext(ctx, p.env, h.ID, h.Current().Sequence)
	if err != nil || !bytes.Equal(text, w.Ciphertext) {
		t.Fatalf("ciphertext of %s: got %q, %v", h.Name, text, err)
	}
	page, err := s.List(ctx, p.env, vault.Query{Limit: 100, Search: h.Name})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != h.ID || !page.Data[0].UpdatedAt.Equal(h.UpdatedAt()) {
		t.Fatalf("list of %s: %+v, %v", h.Name, page.Data, err)
	}
}

// mustMiss wants nothing of an object to be there.
func (p *place) mustMiss(t testing.TB, s *etcd.Store, w vault.Write) {
	t.Helper()
	mustFence(t, s)
	ctx, h := t.Context(), &w.Header
	_, err := s.Header(ctx, p.env, h.ID)
	mustBe(t, "header of "+h.Name, err, vault.ErrNotFound)
	_, err = s.HeaderByName(ctx, p.env, h.Name)
	mustBe(t, "header by name of "+h.Name, err, vault.ErrNotFound)
	_, err = s.Ciphertext(ctx, p.env, h.ID, h.Current().Sequence)
	mustBe(t, "ciphertext of "+h.Name, err, vault.ErrNotFound)
	page, err := s.List(ctx, p.env, vault.Query{Limit: 100, Search: h.Name})
	if err != nil || len(page.Data) != 0 {
		t.Fatalf("list of %s: %+v, %v", h.Name, page.Data, err)
	}
}

// testTwoStores: whatever is acknowledged through one replica is what the other one reads, from a cache
// that held the state before.
func testTwoStores(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	a, b := p.mustStore(t), p.mustStore(t)
	c := p.mustKEK(t, a, nil)
	p.changes(t, a, b, c, 12)
	// The KEK too: what the other replica rotated is another generation here.
	record, before, err := b.KEK(t.Context(), p.env, c.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), p.env, etcd.KeyKEK(p.env, c.KeyID), record); err != nil {
		t.Fatal(err)
	}
	mustFence(t, b)
	if _, now, err := b.KEK(t.Context(), p.env, c.KeyID); err != nil || now <= before {
		t.Errorf("generation %d after %d, %v", now, before, err)
	}
}

// changes creates, updates, deletes and creates again through one store, and looks through the other
// after each.
func (p *place) changes(t testing.TB, a, b *etcd.Store, c keys.Conditions, rounds int) {
	t.Helper()
	for i := range rounds {
		w := p.write(fmt.Sprintf("object-%d.", i), c)
		p.mustMiss(t, b, w)
		if _, err := a.Create(t.Context(), w, nil); err != nil {
			t.Fatal(err)
		}
		p.mustSee(t, b, w)
		for range 3 {
			h := p.mustHeader(t, a, w.Header.ID)
			next, pruneTo := p.next(h.Header, c, 2)
			if err := a.Update(t.Context(), next, h.Revision, pruneTo); err != nil {
				t.Fatal(err)
			}
			w = next
			p.mustSee(t, b, w)
		}
		if i%2 == 0 {
			p.mustDelete(t, a, w.Header.ID)
			p.mustMiss(t, b, w)
			again := p.mustCreate(t, a, w.Header.Name, c)
			p.mustSee(t, b, again)
		}
	}
}

// testWatchCut ends the watch of the reading replica again and again: no read is stale meanwhile, and
// memory serves again afterwards.
func testWatchCut(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	a, b := p.mustStore(t), p.mustStore(t)
	c := p.mustKEK(t, a, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for ctx.Err() == nil {
			b.RestartWatch()
			sleep(ctx, 20*time.Millisecond)
		}
	})
	p.changes(t, a, b, c, 6)
	cancel()
	cutting.Wait()
	eventually(t, "memory to serve again", func() bool {
		return b.Fence(t.Context()) == nil && b.Current() && b.Indexed(p.env)
	})
	w := p.mustCreate(t, a, "afterwards", c)
	p.mustSee(t, b, w)
	if !b.Current() {
		t.Error("the reads after the cuts did not come from memory")
	}
	if n := len(p.mustEvents(t, b, events.DataDeleted)); n != 3 {
		t.Errorf("%d events of deletions, want 3", n)
	}
	if _, err := b.Header(t.Context(), p.env, w.Header.ID); errors.Is(err, vault.ErrNotFound) {
		t.Error("gone")
	}
}
