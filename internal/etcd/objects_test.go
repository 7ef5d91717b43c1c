package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault"
)

func testObject(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	ctx := t.Context()
	// Case 1: nothing there.
	w := p.write("db/password", p.newKEK(map[string]string{"organization_id": "org_1"}))
	absent := func(when string) {
		t.Helper()
		mustFence(t, s)
		_, err := s.Header(ctx, p.env, w.Header.ID)
		mustBe(t, "header "+when, err, vault.ErrNotFound)
		_, err = s.HeaderByName(ctx, p.env, w.Header.Name)
		mustBe(t, "header by name "+when, err, vault.ErrNotFound)
		_, err = s.Ciphertext(ctx, p.env, w.Header.ID, 1)
		mustBe(t, "ciphertext "+when, err, vault.ErrNotFound)
	}
	absent("before the create")
	_, err := s.Header(ctx, p.env, "not/an/id")
	mustBe(t, "an id that is none", err, vault.ErrNotFound)
	// Case 2: created with its KEK in one transaction, it reads back from memory and from etcd.
	if _, err := s.Create(ctx, w, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h := p.mustHeader(t, s, w.Header.ID)
		if diff := diffHeaders(*h.Header, w.Header); diff != "" {
			t.Errorf("header (-got +want):\n%s", diff)
		}
		named, err := s.HeaderByName(ctx, p.env, w.Header.Name)
		if err != nil || named.Revision != h.Revision || named.ID != w.Header.ID {
			t.Errorf("by name: got %+v, %v; want the header at revision %d", named, err, h.Revision)
		}
		text, err := s.Ciphertext(ctx, p.env, w.Header.ID, 1)
		if err != nil || !bytes.Equal(text, w.Ciphertext) {
			t.Errorf("ciphertext: got %q, %v", text, err)
		}
	}
	if _, err := s.Ciphertext(ctx, p.env, w.Header.ID, 2); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("a version that never was: %v", err)
	}
	// Case 3: the other environment sees nothing of it.
	if _, err := s.Header(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV", w.Header.ID); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("in another environment: %v", err)
	}
	// Case 4: deleted.
	p.mustDelete(t, s, w.Header.ID)
	absent("after the delete")
	if n := p.count(t, "object/") + p.count(t, "version/") + p.count(t, "name/"); n != 0 {
		t.Errorf("%d keys of the object are left", n)
	}
}

// count counts the keys below a relative prefix.
func (p *place) count(t testing.TB, prefix string) int64 {
	t.Helper()
	resp, err := p.client.KV().Get(t.Context(), p.client.Abs(prefix), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatalf("count %s: %v", prefix, err)
	}
	return resp.Count
}

func testVersions(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	w := p.mustCreate(t, s, "rotating", c)
	const versions, keep = 8, 3
	for range versions - 1 {
		h := p.mustHeader(t, s, w.Header.ID)
		next, pruneTo := p.next(h.Header, c, keep)
		if err := s.Update(t.Context(), next, h.Revision, pruneTo); err != nil {
			t.Fatalf("update: %v", err)
		}
		if diff := diffHeaders(*p.mustHeader(t, s, w.Header.ID).Header, next.Header); diff != "" {
			t.Fatalf("after an update (-got +want):\n%s", diff)
		}
	}
	for sequence := uint64(1); sequence <= versions; sequence++ {
		text, err := s.Ciphertext(t.Context(), p.env, w.Header.ID, sequence)
		if sequence <= versions-keep {
			if !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("version %d was pruned: got %q, %v", sequence, text, err)
			}
			continue
		}
		if want := fmt.Appendf(nil, "ciphertext %d of rotating", sequence); err != nil || !bytes.Equal(text, want) {
			t.Errorf("version %d: got %q, %v", sequence, text, err)
		}
	}
	if n := p.count(t, "version/"); n != keep {
		t.Errorf("%d versions are stored, want %d", n, keep)
	}
	p.mustDelete(t, s, w.Header.ID)
	if n := p.count(t, "version/"); n != 0 {
		t.Errorf("%d versions outlived their object", n)
	}
}

func testNameReuse(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	first := p.mustCreate(t, s, "name", c)
	taken := p.write("name", c)
	_, err := s.Create(t.Context(), taken, nil)
	mustBe(t, "a name that is taken", err, vault.ErrExists)
	mustFence(t, s)
	_, err = s.Header(t.Context(), p.env, taken.Header.ID)
	mustBe(t, "what was refused", err, vault.ErrNotFound)
	// Names are bytes: another spelling is another name.
	p.mustCreate(t, s, "Name", c)
	p.mustDelete(t, s, first.Header.ID)
	second := p.mustCreate(t, s, "name", c)
	mustFence(t, s)
	h, err := s.HeaderByName(t.Context(), p.env, "name")
	if err != nil || h.ID != second.Header.ID {
		t.Errorf("the name leads to %v, %v; want the second object", h, err)
	}
	_, err = s.Header(t.Context(), p.env, first.Header.ID)
	mustBe(t, "the first object", err, vault.ErrNotFound)
}

func testConflicts(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	w := p.mustCreate(t, s, "contended", c)
	h := p.mustHeader(t, s, w.Header.ID)
	// Case 1: of many updates on one revision one wins, and is told so.
	const writers = 32
	results := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		next, _ := p.next(h.Header, c, 10)
		wg.Go(func() { results[i] = s.Update(t.Context(), next, h.Revision, 0) })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, vault.ErrConflict) {
			t.Errorf("update: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d updates on one revision won", won, writers)
	}
	// Case 2: nothing of the losers stays.
	if n := p.count(t, "version/"); n != 2 {
		t.Errorf("%d versions, want 2", n)
	}
	if n := len(p.mustEvents(t, s, events.DataUpdated)); n != 1 {
		t.Errorf("%d events of updates, want 1", n)
	}
	// Case 3: a delete of the older revision.
	err := s.Delete(t.Context(), *h.Header, h.Revision, p.event(events.DataDeleted, "x"))
	mustBe(t, "delete of an older revision", err, vault.ErrConflict)
	// Case 4: the twin, then a change of what is gone.
	h = p.mustHeader(t, s, w.Header.ID)
	p.mustDelete(t, s, w.Header.ID)
	next, _ := p.next(h.Header, c, 10)
	mustBe(t, "update of a deleted object", s.Update(t.Context(), next, h.Revision, 0), vault.ErrConflict)
	err = s.Delete(t.Context(), *h.Header, h.Revision, p.event(events.DataDeleted, "x"))
	mustBe(t, "delete of a deleted object", err, vault.ErrConflict)
	if n := p.count(t, "version/") + p.count(t, "object/"); n != 0 {
		t.Errorf("%d keys came back", n)
	}
}

// testBrokenRecords plays the writer of etcd who holds none of the keys. What he does is an integrity
// failure, whatever the bytes, and the genuine bytes read again afterwards.
func testBrokenRecords(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	ctx := t.Context()
	items := map[string]string{"organization_id": "org_1"}
	c := p.mustKEK(t, s, items)
	one, two := p.mustCreate(t, s, "one", c), p.mustCreate(t, s, "two", c)
	context, err := keys.ParseContext(items)
	if err != nil {
		t.Fatal(err)
	}
	name := func(n string) string { return etcd.KeyName(p.env, p.environment.NameIndex(n)) }
	kek := etcd.KeyKEK(p.env, c.KeyID)
	for key, read := range map[string]func() error{
		etcd.KeyObject(p.env, one.Header.ID): func() error { _, err := s.Header(ctx, p.env, one.Header.ID); return err },
		name("one"):                          func() error { _, err := s.HeaderByName(ctx, p.env, "one"); return err },
		kek:                                  func() error { _, _, err := s.KEK(ctx, p.env, c.KeyID); return err },
		"kekof/" + string(p.env) + "/" + p.environment.ContextIndex(context): func() error {
			_, err := s.KEKOf(ctx, p.env, context)
			return err
		},
	} {
		genuine := p.rawGet(t, key)
		if genuine == nil {
			t.Fatalf("%s is not there", key)
		}
		swapped := p.rawGet(t, etcd.KeyObject(p.env, two.Header.ID))
		if key == name("one") {
			swapped = p.rawGet(t, name("two"))
		}
		edits := [][]byte{nil, {}, {255}, swapped, genuine[1:], append([]byte{255}, bytes.Repeat([]byte{1}, 600)...)}
		for i := 0; i < len(genuine); i += 1 + len(genuine)/24 {
			edited := bytes.Clone(genuine)
			edited[i] ^= 0x40
			edits = append(edits, edited)
		}
		for i, edited := range edits {
			p.rawPut(t, key, edited)
			mustFence(t, s)
			if err := read(); !errors.Is(err, keys.ErrTampered) {
				t.Errorf("%s, edit %d: got %v, want %v", key, i, err, keys.ErrTampered)
			}
		}
		p.rawPut(t, key, genuine)
		mustFence(t, s)
		if err := read(); err != nil {
			t.Errorf("%s put back: %v", key, err)
		}
	}
}

// diffHeaders compares what is stored of two headers.
func diffHeaders(got, want vault.Header) string {
	return cmp.Diff(got, want, cmpopts.IgnoreUnexported(vault.Header{}))
}
