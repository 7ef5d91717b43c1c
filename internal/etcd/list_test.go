package etcd_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/vault"
)

// testList stores objects as no rate would: crowds within a millisecond, gaps of months, ids ahead of the
// clock. Pages from memory and from etcd must both be those of a plain list.
func testList(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	bounded := p.mustStore(t, func(c *etcd.StoreConfig) { c.IndexObjects = 10 })
	c := p.mustKEK(t, s, nil)
	for _, from := range []*etcd.Store{s, bounded} {
		p.mustAgree(t, from, nil, vault.Query{Limit: 10})
	}
	random := rand.New(rand.NewPCG(3, 4))
	at := time.Now().AddDate(0, -9, 0)
	clock := id.NewClock(func() time.Time { return at })
	var all []etcd.Entry
	for i := range 60 {
		switch random.IntN(8) {
		case 0:
			at = at.AddDate(0, 0, random.IntN(60))
		case 1:
			at = at.Add(time.Duration(random.IntN(3600)) * time.Second)
		case 2, 3:
			at = at.Add(time.Duration(random.IntN(20)) * time.Millisecond)
		}
		if i == 58 { // written by a replica whose clock runs ahead
			at = time.Now().Add(90 * time.Minute)
		}
		w := p.write(fmt.Sprintf("%c/%d", "abc"[random.IntN(3)], i), c)
		w.Header.ID = vault.ObjectID(clock.UUID())
		w.Header.Versions[0].CreatedAt = p.ids.Now().Add(time.Duration(random.IntN(1000)) * time.Hour)
		if _, err := s.Create(t.Context(), w, nil); err != nil {
			t.Fatal(err)
		}
		all = append(all, etcd.Entry{ID: w.Header.ID, Name: w.Header.Name, Updated: w.Header.UpdatedAt()})
	}
	mustFence(t, s)
	mustFence(t, bounded)
	for range 60 {
		q := randomQuery(random, all)
		p.mustAgree(t, s, all, q)
		if q.Search != "" || q.Viewer != nil {
			_, err := bounded.List(t.Context(), p.env, q)
			mustBe(t, "search above the bound of the index", err, vault.ErrSearchUnavailable)
			q.Search, q.Viewer = "", nil
		}
		p.mustAgree(t, bounded, all, q)
	}
	// Another spelling of an id is another key, and what becomes of it is no news of the object.
	alias := etcd.KeyObject(p.env, vault.ObjectID(strings.ReplaceAll(string(all[20].ID), "-", "")))
	p.rawPut(t, alias, p.rawGet(t, etcd.KeyObject(p.env, all[20].ID)))
	mustFence(t, s)
	p.mustAgree(t, s, all, vault.Query{Limit: 100})
	if _, err := p.client.KV().Delete(t.Context(), p.client.Abs(alias)); err != nil {
		t.Fatal(err)
	}
	mustFence(t, s)
	p.mustAgree(t, s, all, vault.Query{Limit: 100})
	// A header that somebody edited fails the page that would show it, and no other.
	broken := all[30]
	key := etcd.KeyObject(p.env, broken.ID)
	genuine := p.rawGet(t, key)
	p.rawPut(t, key, append([]byte{1}, genuine...))
	for _, from := range []*etcd.Store{s, bounded} {
		mustFence(t, from)
		for q, wantErr := range map[vault.Query]bool{
			{Limit: 100}:                   true,
			{Limit: 100, Descending: true}: true,
			{Limit: 30}:                    false,
			{Limit: 31}:                    true,
			{Limit: 5, After: broken.ID}:   false,
			{Limit: 5, Before: broken.ID}:  false,
			{Limit: 29, Descending: true}:  false,
			{Limit: 30, Descending: true}:  true,
			{Limit: 100, UpdatedAfter: time.Now().AddDate(9, 0, 0)}: true,
		} {
			_, err := from.List(t.Context(), p.env, q)
			if wantErr {
				mustBe(t, fmt.Sprintf("page %+v", q), err, keys.ErrTampered)
			} else if err != nil {
				t.Errorf("page %+v: %v", q, err)
			}
		}
	}
	// Cursors that nobody gave out.
	for _, cursor := range []vault.ObjectID{"x", "../name", vault.ObjectID(strings.ToUpper(string(all[0].ID))), "00000000-0000-4000-8000-000000000000"} {
		_, err := s.List(t.Context(), p.env, vault.Query{Limit: 1, After: cursor})
		mustBe(t, "cursor "+string(cursor), err, vault.ErrUnknownCursor)
		_, err = bounded.List(t.Context(), p.env, vault.Query{Limit: 1, Before: cursor})
		mustBe(t, "cursor "+string(cursor)+", from etcd", err, vault.ErrUnknownCursor)
	}
}

// mustAgree compares the page of a store, and of etcd, with that of a plain list.
func (p *place) mustAgree(t testing.TB, s *etcd.Store, all []etcd.Entry, q vault.Query) {
	t.Helper()
	want := modelList(all, q)
	got, err := s.List(t.Context(), p.env, q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatalf("list %+v (-got +want):\n%s", q, diff)
	}
	got, err = s.ListFromEtcd(t.Context(), p.env, q)
	if err != nil {
		t.Fatalf("list %+v from etcd: %v", q, err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatalf("list %+v from etcd (-got +want):\n%s", q, diff)
	}
}

// randomQuery asks for anything a client might, also behind cursors of objects that are gone.
func randomQuery(random *rand.Rand, all []etcd.Entry) vault.Query {
	q := vault.Query{Limit: 1 + random.IntN(12), Descending: random.IntN(2) == 0}
	cursor := all[random.IntN(len(all))].ID
	if random.IntN(4) == 0 {
		cursor = vault.ObjectID(id.NewClock(func() time.Time { return time.UnixMilli(random.Int64N(4e12)) }).UUID())
	}
	switch random.IntN(3) {
	case 0:
		q.After = cursor
	case 1:
		q.Before = cursor
	}
	if random.IntN(3) == 0 {
		q.Search = []string{"a/", "b", "1", "c/2", "nothing"}[random.IntN(5)]
	}
	if random.IntN(3) == 0 {
		q.UpdatedAfter = all[random.IntN(len(all))].Updated
	}
	if random.IntN(3) == 0 {
		q.Viewer = prefixViewer([]string{"a/", "b/1", "nothing"}[random.IntN(3)])
	}
	return q
}

// prefixViewer sees the objects whose names begin with it, as long as their key context comes along.
type prefixViewer string

func (v prefixViewer) Shows(name string, items map[string]string) bool {
	return strings.HasPrefix(name, string(v)) && items["organization_id"] == "org_1"
}

func (v prefixViewer) Within() []access.Bound { return []access.Bound{{NamePrefix: string(v)}} }

// TestListDense puts more objects into one stretch than a window of a walk through etcd may hold.
func TestListDense(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t)
	at := time.Now().Add(-30 * 24 * time.Hour)
	clock := id.NewClock(func() time.Time { at = at.Add(100 * time.Microsecond); return at })
	const window = 200
	s.SetWindow(window)
	all := p.mustBulk(t, s, clock, 3*window)
	random := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		p.mustAgree(t, s, all, randomQuery(random, all))
	}
}

// TestIndexLoad: events go on arriving while the index is loaded from an older revision.
func TestIndexLoad(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t)
	eventually(t, "lists from memory", func() bool { return s.Indexed(p.env) })
	c := p.mustKEK(t, s, nil)
	header := func(w vault.Write) (string, []byte) {
		key := etcd.KeyObject(p.env, w.Header.ID)
		return key, p.rawGet(t, key)
	}
	stays, went, changed, new, back := p.mustCreate(t, s, "stays", c), p.mustCreate(t, s, "went", c),
		p.mustCreate(t, s, "changed", c), p.mustCreate(t, s, "new", c), p.mustCreate(t, s, "back", c)
	changedKey, before := header(changed)
	h := p.mustHeader(t, s, changed.Header.ID)
	changed, _ = p.next(h.Header, c, 10)
	if err := s.Update(t.Context(), changed, h.Revision, 0); err != nil {
		t.Fatal(err)
	}
	_, after := header(changed)
	load := s.BeginLoad()
	if s.Indexed(p.env) {
		t.Error("lists come from an index that is not complete")
	}
	key, value := header(went)
	load.Event(key, nil, 101)
	load.Read(key, value, 50)
	load.Event(changedKey, after, 102)
	load.Read(changedKey, before, 51)
	key, value = header(new)
	load.Event(key, value, 103)
	key, value = header(stays)
	load.Read(key, value, 52)
	key, value = header(back) // by whoever restores a key: an id of ours never comes back
	load.Event(key, nil, 104)
	load.Event(key, value, 105)
	load.Read(key, before, 53)
	load.End()
	page, ok, err := s.ListFromMemory(p.env, vault.Query{Limit: 10})
	if err != nil || !ok {
		t.Fatalf("complete %v, %v", ok, err)
	}
	var all []etcd.Entry
	for _, w := range []vault.Write{stays, changed, new, back} {
		all = append(all, etcd.Entry{ID: w.Header.ID, Name: w.Header.Name, Updated: w.Header.UpdatedAt()})
	}
	if diff := cmp.Diff(page, modelList(all, vault.Query{Limit: 10})); diff != "" {
		t.Errorf("after the load (-got +want):\n%s", diff)
	}
}

// mustBulk stores many headers, whose ids come from the clock, and nothing else of their objects.
func (p *place) mustBulk(t testing.TB, s *etcd.Store, clock *id.Clock, n int) []etcd.Entry {
	t.Helper()
	headers, all := make([]vault.Header, n), make([]etcd.Entry, n)
	for i := range headers {
		h := p.write(fmt.Sprintf("bulk/%c/%d", "abc"[i%3], i), keys.Conditions{}).Header
		h.ID = vault.ObjectID(clock.UUID())
		headers[i], all[i] = h, etcd.Entry{ID: h.ID, Name: h.Name, Updated: h.UpdatedAt()}
	}
	if err := s.PutHeaders(t.Context(), headers); err != nil {
		t.Fatalf("bulk of headers: %v", err)
	}
	mustFence(t, s)
	return all
}
