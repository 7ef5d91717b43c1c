package etcd_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault"
)

func mustContext(t testing.TB, items map[string]string) keys.Context {
	t.Helper()
	c, err := keys.ParseContext(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testKEK(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	ctx := t.Context()
	items := map[string]string{"organization_id": "org_1", "region": "eu"}
	c := p.newKEK(items)
	_, _, err := s.KEK(ctx, p.env, c.KeyID)
	mustBe(t, "a KEK before its creation", err, keys.ErrKEKNotFound)
	_, err = s.KEKOf(ctx, p.env, mustContext(t, items))
	mustBe(t, "its context", err, keys.ErrKEKNotFound)
	_, _, err = s.KEK(ctx, p.env, "../env")
	mustBe(t, "an id that is none", err, keys.ErrKEKNotFound)

	if err := s.CreateKEK(ctx, c); err != nil {
		t.Fatal(err)
	}
	mustFence(t, s)
	record, generation, err := s.KEK(ctx, p.env, c.KeyID)
	if err != nil || generation == 0 {
		t.Fatalf("KEK: generation %d, %v", generation, err)
	}
	if diff := cmp.Diff(*record, c.Create.Record); diff != "" {
		t.Errorf("record (-got +want):\n%s", diff)
	}
	keyID, err := s.KEKOf(ctx, p.env, mustContext(t, items))
	if err != nil || keyID != c.KeyID {
		t.Errorf("KEK of the context: got %s, %v; want %s", keyID, err, c.KeyID)
	}
	_, err = s.KEKOf(ctx, p.env, mustContext(t, map[string]string{"organization_id": "org_1"}))
	mustBe(t, "a part of the context", err, keys.ErrKEKNotFound)
	if got := p.mustEvents(t, s, events.KEKCreated); len(got) != 1 {
		t.Errorf("%d events of the creation, want 1", len(got))
	}
}

// testKEKConditions: whatever is sealed is stored only while its KEK is as it was.
func testKEKConditions(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, writer := p.mustStore(t, slowWatch), p.mustStore(t)
	ctx := t.Context()
	items := map[string]string{"organization_id": "org_1"}
	c := p.mustKEK(t, s, items)
	w := p.mustCreate(t, s, "kept", c)
	// Case 1: the KEK was rotated, so its generation is another.
	record, _, err := s.KEK(ctx, p.env, c.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Put(ctx, p.env, etcd.KeyKEK(p.env, c.KeyID), record); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(ctx, p.write("refused", c), nil)
	mustBe(t, "create under the old generation", err, keys.ErrConflict)
	// The conflict was told behind a fence: what is read now is what it was with, and seals again.
	_, generation, err := s.KEK(ctx, p.env, c.KeyID)
	if err != nil || generation == c.Generation {
		t.Errorf("after the conflict: generation %d, %v; want a newer one than %d", generation, err, c.Generation)
	}
	h := p.mustHeader(t, s, w.Header.ID)
	next, _ := p.next(h.Header, c, 10)
	mustBe(t, "update under the old generation", s.Update(ctx, next, h.Revision, 0), keys.ErrConflict)
	fresh := p.mustConditions(t, s, c.KeyID)
	if _, err := s.Create(ctx, p.write("refused", fresh), nil); err != nil {
		t.Errorf("create under the new generation: %v", err)
	}
	next, _ = p.next(h.Header, fresh, 10)
	if err := s.Update(ctx, next, h.Revision, 0); err != nil {
		t.Errorf("update under the new generation: %v", err)
	}
	// A delete needs no key.
	p.mustDelete(t, s, w.Header.ID)

	// Case 2: both causes at once: the taken name is what the caller is told.
	_, err = s.Create(ctx, p.write("refused", c), nil)
	mustBe(t, "a taken name under the old generation", err, vault.ErrExists)

	// Case 3: two callers make the KEK of one context; one wins, and one object is lost to neither.
	context := map[string]string{"organization_id": "org_2"}
	const callers = 8
	results := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		object := p.write("race "+string(rune('a'+i)), p.newKEK(context))
		wg.Go(func() { _, results[i] = s.Create(ctx, object, nil) })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, keys.ErrConflict) {
			t.Errorf("create: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d made the KEK of one context", won, callers)
	}
	mustBe(t, "a KEK by itself for a context that has one", s.CreateKEK(ctx, p.newKEK(context)), keys.ErrConflict)
	if err := s.CreateKEK(ctx, p.newKEK(map[string]string{"organization_id": "org_3"})); err != nil {
		t.Errorf("a KEK by itself for another context: %v", err)
	}
}

// testKEKGuards: a new KEK waits for a shred of one of its items, and follows the CMK map.
func testKEKGuards(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	ctx := t.Context()
	items := map[string]string{"organization_id": "org_1", "region": "eu"}
	living := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})

	// Case 1: the CMK map changes between the seal and the transaction.
	empty, before, err := s.CMKMap(ctx, p.env)
	if err != nil || before != 0 || len(empty.CMKs) != 0 {
		t.Fatalf("without a map: revision %d, %v", before, err)
	}
	cmk := keys.CMK{ID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5b", Item: keys.Item{Name: "organization_id", Value: "org_9"}, KeyURI: "local:x"}
	if err := s.Put(ctx, p.env, etcd.KeyCMKMap(p.env), keys.CMKMap{CMKs: []keys.CMK{cmk}}); err != nil {
		t.Fatal(err)
	}
	c := p.newKEK(items)
	mustBe(t, "a KEK from before the map", s.CreateKEK(ctx, c), keys.ErrConflict)
	mustFence(t, s)
	m, now, err := s.CMKMap(ctx, p.env)
	if err != nil || now == 0 || len(m.CMKs) != 1 || m.CMKs[0] != cmk {
		t.Fatalf("with a map: %+v, revision %d, %v", m, now, err)
	}
	c.Create.CMKMapRevision = now
	if err := s.CreateKEK(ctx, c); err != nil {
		t.Errorf("a KEK that knows the map: %v", err)
	}

	// Case 2: a shred of one item begins between the seal and the transaction.
	marker := etcd.KeyShred(p.env, p.environment.ItemIndex("region", "us"))
	shredded := map[string]string{"organization_id": "org_1", "region": "us"}
	if err := s.Put(ctx, p.env, marker, "job"); err != nil {
		t.Fatal(err)
	}
	c = p.newKEK(shredded)
	c.Create.CMKMapRevision = now
	mustBe(t, "a KEK under shred", s.CreateKEK(ctx, c), keys.ErrConflict)
	_, err = s.Create(ctx, p.write("under shred", c), nil)
	mustBe(t, "an object under shred", err, keys.ErrConflict)
	mustFence(t, s)
	if waits, err := s.Shredding(ctx, p.env, shredded); err != nil || !waits {
		t.Errorf("asking for it: %v, %v", waits, err)
	}
	// Twins: another context goes on, and so does this one when the marker is gone.
	if waits, err := s.Shredding(ctx, p.env, items); err != nil || waits {
		t.Errorf("asking for another context: %v, %v", waits, err)
	}
	p.mustCreate(t, s, "beside the shred", living)
	if _, err := p.client.KV().Delete(ctx, p.client.Abs(marker)); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateKEK(ctx, c); err != nil {
		t.Errorf("after the shred: %v", err)
	}
}
