package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/vault"
)

// TestListFromEtcdIsOneMoment walks through many ranges while objects come and go. One is deleted only
// after another was created, so every list shows at least one of the two.
func TestListFromEtcdIsOneMoment(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t, func(c *etcd.StoreConfig) { c.IndexObjects = 10 })
	const window = 100
	s.SetWindow(window)
	c := p.mustKEK(t, s, nil)
	bad := 0
	old := time.Now().Add(-24 * time.Hour)
	oldIDs := id.NewClock(func() time.Time { return old })
	// Objects in between, which the filter passes over: more than one range holds, so that it takes time.
	var headers []vault.Header
	mid := time.Now().Add(-12 * time.Hour)
	midIDs := id.NewClock(func() time.Time { mid = mid.Add(2 * time.Millisecond); return mid })
	for i := range 5 * window {
		w := p.write(fmt.Sprintf("filler-%d", i), c)
		w.Header.ID = vault.ObjectID(midIDs.UUID())
		w.Header.Versions[0].CreatedAt = time.Unix(1000, 0).UTC()
		headers = append(headers, w.Header)
	}
	if err := s.PutHeaders(t.Context(), headers); err != nil {
		t.Fatal(err)
	}
	const rounds = 20
	for round := range rounds {
		b := p.write(fmt.Sprintf("b-%d", round), c)
		b.Header.ID = vault.ObjectID(oldIDs.UUID())
		if _, err := s.Create(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
		mustFence(t, s)
		done := make(chan vault.Page)
		go func() {
			page, err := s.List(context.Background(), p.env, vault.Query{Limit: 100, Descending: true, UpdatedAfter: time.Unix(2000, 0)})
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		time.Sleep(time.Duration(round%6) * time.Millisecond)
		a := p.mustCreate(t, s, fmt.Sprintf("a-%d", round), c)
		p.mustDelete(t, s, b.Header.ID)
		page := <-done
		seen := false
		for _, d := range page.Data {
			seen = seen || d.ID == a.Header.ID || d.ID == b.Header.ID
		}
		if !seen {
			bad++
		}
		p.mustDelete(t, s, a.Header.ID)
	}
	if bad > 0 {
		t.Fatalf("%d of %d lists showed neither the object that was created first nor the one deleted after it", bad, rounds)
	}
}

// TestListFromEtcdHasWhatIsOlder: that a list knows where it began does not hide what comes in before that.
func TestListFromEtcdHasWhatIsOlder(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t, func(c *etcd.StoreConfig) { c.IndexObjects = 1 })
	c := p.mustKEK(t, s, nil)
	want := []vault.ObjectID{p.mustCreate(t, s, "second", c).Header.ID, p.mustCreate(t, s, "third", c).Header.ID}
	for round := range 3 {
		mustFence(t, s)
		page, err := s.List(t.Context(), p.env, vault.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var got []vault.ObjectID
		for _, d := range page.Data {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
		old := time.Now().Add(-time.Duration(round+1) * 24 * time.Hour)
		w := p.write(fmt.Sprintf("first-%d", round), c)
		w.Header.ID = vault.ObjectID(id.NewClock(func() time.Time { return old }).UUID())
		if _, err := s.Create(t.Context(), w, nil); err != nil {
			t.Fatal(err)
		}
		want = slices.Insert(want, 0, w.Header.ID)
	}
}

// TestIndexAfterCompaction: a replica that loads its index while another compacts the revision away loads
// it again.
func TestIndexAfterCompaction(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	s0 := p.mustStore(t)
	c := p.mustKEK(t, s0, nil)
	var headers []vault.Header
	for i := range 30000 {
		headers = append(headers, p.write(fmt.Sprintf("o-%d", i), c).Header)
	}
	if err := s0.PutHeaders(t.Context(), headers); err != nil {
		t.Fatal(err)
	}
	cfg := p.config()
	var once sync.Once // another replica compacts just now
	s, err := etcd.NewStoreWithLoad(t.Context(), cfg, func() {
		once.Do(func() {
			p.rawPut(t, "node/x", []byte("1"))
			h, _ := p.client.KV().Get(context.Background(), "x")
			if _, err := p.client.KV().Compact(context.Background(), h.Header.Revision); err != nil {
				t.Log(err)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	eventually(t, "ready", s.Ready)
	for range 300 {
		if s.Indexed(p.env) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	begin := time.Now()
	_, err = s.List(t.Context(), p.env, vault.Query{Limit: 100, Search: "nothing-like-it"})
	t.Fatalf("no index after 30 s; a search takes %v: %v", time.Since(begin), err)
}
