package etcd_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/vault"
)

// gate holds back the end of loads while it is shut.
type gate struct {
	mu      sync.Mutex
	shut    atomic.Bool
	waiting atomic.Bool
}

func (g *gate) pass() {
	if g.shut.Load() {
		g.waiting.Store(true)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Store(false)
}

func (g *gate) close() { g.mu.Lock(); g.shut.Store(true) }
func (g *gate) open()  { g.shut.Store(false); g.mu.Unlock() }

// TestFloor takes a fence while the watch is down, and lets the watch become ready from before what the
// fence has seen: memory is then older than the fence, and must not be believed until it caught up.
func TestFloor(t *testing.T) {
	for name, open := range map[string]opener{
		"embedded": etcdtest.Embedded,
		"gRPC": func(t testing.TB) *etcd.Client {
			return etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}})
		},
	} {
		t.Run(name, func(t *testing.T) { testFloor(t, open) })
	}
}

func testFloor(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	a := p.mustStore(t)
	c := p.mustKEK(t, a, nil)
	key := access.KeyRecord{
		ID: id.ULID(time.Now()), Environment: p.env, Name: "a key", Role: access.RoleAdmin,
		Hash: bytes.Repeat([]byte{1}, 32), CreatedAt: p.ids.Now(),
	}
	if err := a.CreateAPIKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	gone := p.mustCreate(t, a, "deleted meanwhile", c)

	cfg, g := p.config(), &gate{}
	const delay = 2 * time.Second
	cfg.WatchDelay = delay
	b, err := etcd.NewStoreWithLoad(t.Context(), cfg, g.pass)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	p.mustSee(t, b, gone)
	eventually(t, "lists from memory", func() bool { return b.Indexed(p.env) })

	// The watch ends; the next one has read memory anew, and is not ready yet.
	g.close()
	b.RestartWatch()
	eventually(t, "the load to have read", g.waiting.Load)
	// Meanwhile the key is revoked, one object goes and one comes; and a caller takes his fence.
	key.RevokedAt = p.ids.Now()
	if err := a.Put(t.Context(), p.env, etcd.KeyAPIKey(p.env, key.ID), key); err != nil {
		t.Fatal(err)
	}
	p.mustDelete(t, a, gone.Header.ID)
	came := p.mustCreate(t, a, "created meanwhile", c)
	if err := a.AdvanceEpoch(t.Context(), p.env); err != nil {
		t.Fatal(err)
	}
	last := p.mustCreate(t, a, "in another epoch", c)
	mustFence(t, b)
	revision := revisionOf(t, p)
	mustSeeAll := func(when string) {
		t.Helper()
		if got, _, err := b.APIKey(t.Context(), p.env, key.ID); err != nil || got.RevokedAt.IsZero() {
			t.Errorf("%s: the key is not revoked (%v)", when, err)
		}
		_, err := b.Header(t.Context(), p.env, gone.Header.ID)
		mustBe(t, when+": what was deleted", err, vault.ErrNotFound)
		if _, err := b.HeaderByName(t.Context(), p.env, came.Header.Name); err != nil {
			t.Errorf("%s: what was created: %v", when, err)
		}
		page, err := b.List(t.Context(), p.env, vault.Query{Limit: 10})
		if err != nil || len(page.Data) != 2 || page.Data[0].ID != came.Header.ID {
			t.Errorf("%s: list %+v, %v", when, page.Data, err)
		}
		log, err := b.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 1, Order: events.Descending})
		if err != nil || len(log.Data) != 1 || what(t, log.Data[0]) != string(last.Header.ID) {
			t.Errorf("%s: last event %+v, %v", when, log.Data, err)
		}
	}
	mustSeeAll("while the watch is down")
	g.open()
	eventually(t, "the watch to be ready", b.Ready)
	if b.Applied() >= revision {
		t.Fatal("the watch is ready at a revision that is not older: nothing is tried")
	}
	mustSeeAll("when the watch is ready at an older revision")
	if b.Applied() >= revision {
		t.Error("the reads took so long that memory caught up: nothing was tried")
	}
	eventually(t, "memory to catch up", func() bool { return b.Current() && b.Applied() >= revision })
	mustSeeAll("from memory")
}

func revisionOf(t testing.TB, p *place) int64 {
	t.Helper()
	resp, err := p.client.KV().Get(t.Context(), p.client.Abs("fence"))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
