package etcd_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault"
)

// idempotent is the request record of a create.
func idempotent(key string, w *vault.Write) *vault.IdempotencyRecord {
	h := &w.Header
	return &vault.IdempotencyRecord{Method: "POST", Path: "/vault/v1/kv", Key: key, Request: vault.Request{
		BodyMAC: []byte("mac of the body"), Status: 201, ObjectID: h.ID, VersionID: h.Current().ID, KeyID: h.KeyID,
		At: h.UpdatedAt(), Author: h.Current().Author,
	}}
}

func testRequestRecords(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	ctx := t.Context()
	c := p.mustKEK(t, s, nil)
	// Case 1: the first one creates.
	first := p.write("one", c)
	want := idempotent("key-1", &first)
	if replayed, err := s.Create(ctx, first, want); err != nil || replayed != nil {
		t.Fatalf("first create: replayed %+v, %v", replayed, err)
	}
	// Case 2: what comes back under the same key creates nothing and gives the first record, although
	// its own name is taken by then; nor does another name, since only the caller can judge the body.
	mustReplay := func(what, name string) {
		t.Helper()
		again := p.write(name, c)
		replayed, err := s.Create(ctx, again, idempotent("key-1", &again))
		if err != nil || replayed == nil {
			t.Fatalf("%s: replayed %+v, %v", what, replayed, err)
		}
		if diff := cmp.Diff(*replayed, want.Request); diff != "" {
			t.Errorf("%s (-got +want):\n%s", what, diff)
		}
	}
	mustReplay("the same again", "one")
	mustReplay("another name", "two")
	if n := p.count(t, "object/"); n != 1 {
		t.Errorf("%d objects, want 1", n)
	}
	// Case 3: another key, method or path is another request; a refused one leaves no record.
	taken := p.write("one", c)
	_, err := s.Create(ctx, taken, idempotent("key-2", &taken))
	mustBe(t, "another key, the name taken", err, vault.ErrExists)
	if n := p.count(t, "req/"); n != 1 {
		t.Errorf("%d request records, want 1", n)
	}
	for i, change := range []func(*vault.IdempotencyRecord){
		func(r *vault.IdempotencyRecord) { r.Key = "key-2" },
		func(r *vault.IdempotencyRecord) { r.Method = "PUT" },
		func(r *vault.IdempotencyRecord) { r.Path = "/vault/v2/kv" },
	} {
		w := p.write("other "+string(rune('a'+i)), c)
		idem := idempotent("key-1", &w)
		change(idem)
		if replayed, err := s.Create(ctx, w, idem); err != nil || replayed != nil {
			t.Errorf("another request %d: replayed %+v, %v", i, replayed, err)
		}
	}
	// Case 4: the first answer holds when the object is long gone.
	p.mustDelete(t, s, first.Header.ID)
	mustReplay("after the delete", "one")
	// Case 5: an edited record answers for nobody.
	key := etcd.PrefixRequests(p.env, first.Header.CreatedAt) + p.environment.RequestIndex(want.Method, want.Path, want.Key)
	p.rawPut(t, key, []byte("edited"))
	again := p.write("one", c)
	_, err = s.Create(ctx, again, idempotent("key-1", &again))
	mustBe(t, "an edited record", err, keys.ErrTampered)
	// Case 6: at once, one of them creates, and the others are told of it.
	const callers = 16
	type answer struct {
		own      vault.ObjectID
		replayed *vault.Request
	}
	answers := make([]answer, callers)
	var wg sync.WaitGroup
	for i := range callers {
		w := p.write("at once", c)
		wg.Go(func() {
			replayed, err := s.Create(ctx, w, idempotent("key-3", &w))
			if err != nil {
				t.Errorf("create at once: %v", err)
			}
			answers[i] = answer{w.Header.ID, replayed}
		})
	}
	wg.Wait()
	mustFence(t, s)
	h, err := s.HeaderByName(ctx, p.env, "at once")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if a.replayed == nil && a.own != h.ID || a.replayed != nil && a.replayed.ObjectID != h.ID {
			t.Errorf("an answer names another object than %s: %+v", h.ID, a)
		}
	}
	if n := len(p.mustEvents(t, s, events.DataCreated)); n != 5 {
		t.Errorf("%d events of creates, want 5", n)
	}
}

// testRequestDays: records stand under the day of whoever wrote them, whose clock need not be ours.
func testRequestDays(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	at := func(name string, day int) vault.Write {
		w := p.write(name, c)
		w.Header.Versions[0].CreatedAt = time.Now().UTC().Truncate(time.Microsecond).AddDate(0, 0, day)
		return w
	}
	for _, tc := range []struct {
		first, second int // days from today
		replays       bool
	}{{0, 0, true}, {-1, 0, true}, {0, -1, true}, {0, 1, true}, {1, 0, true}, {-1, 1, false}, {-2, 0, false}} {
		key := "from " + string(rune('5'+tc.first)) + " to " + string(rune('5'+tc.second))
		first, second := at(key+" first", tc.first), at(key+" second", tc.second)
		if _, err := s.Create(t.Context(), first, idempotent(key, &first)); err != nil {
			t.Fatal(err)
		}
		replayed, err := s.Create(t.Context(), second, idempotent(key, &second))
		if err != nil || (replayed != nil) != tc.replays {
			t.Errorf("day %d and then day %d: replayed %v, %v; want %v", tc.first, tc.second, replayed != nil, err, tc.replays)
		}
	}
	// What a store finds of past days when it starts goes, but for yesterday.
	today, index := time.Now().UTC(), p.environment.RequestIndex("POST", "/", "old")
	for day := -30; day <= 1; day += 1 {
		p.rawPut(t, etcd.PrefixRequests(p.env, today.AddDate(0, 0, day))+index, []byte("record"))
	}
	p.mustStore(t)
	eventually(t, "the request records of past days to go", func() bool {
		return p.rawGet(t, etcd.PrefixRequests(p.env, today.AddDate(0, 0, -2))+index) == nil &&
			p.rawGet(t, etcd.PrefixRequests(p.env, today.AddDate(0, 0, -30))+index) == nil
	})
	for _, day := range []int{0, 1} {
		if p.rawGet(t, etcd.PrefixRequests(p.env, today.AddDate(0, 0, day))+index) == nil {
			t.Errorf("the request record of day %d is gone", day)
		}
	}
	if time.Now().UTC().YearDay() == today.YearDay() && p.rawGet(t, etcd.PrefixRequests(p.env, today.AddDate(0, 0, -1))+index) == nil {
		t.Error("the request record of yesterday is gone")
	}
}
