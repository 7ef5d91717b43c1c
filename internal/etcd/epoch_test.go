package etcd_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
)

func mustEpoch(t testing.TB, p *place, s *etcd.Store) uint64 {
	t.Helper()
	mustFence(t, s)
	n, err := s.Epoch(t.Context(), p.env)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEpochEnds: an epoch ends after a second with events, or at once after many, and not without any.
func TestEpochEnds(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t)
	first := mustEpoch(t, p, s)
	// Case 1: nothing happens, nothing ends.
	time.Sleep(1200 * time.Millisecond)
	if n := mustEpoch(t, p, s); n != first {
		t.Errorf("epoch %d after %d without an event", n, first)
	}
	// Case 2: one event, and the epoch ends once.
	p.mustLog(t, s, events.DataCreated, time.Now(), "one")
	eventually(t, "the epoch to end", func() bool { return mustEpoch(t, p, s) == first+1 })
	time.Sleep(1200 * time.Millisecond)
	if n := mustEpoch(t, p, s); n != first+1 {
		t.Errorf("epoch %d, want %d", n, first+1)
	}
	// Case 3: many events end it before the second is over.
	const more, overshoot = 2000, 500
	c := p.mustKEK(t, s, map[string]string{"for": "many"})
	var wg sync.WaitGroup
	began := time.Now()
	const writers = 64
	for i := range writers {
		wg.Go(func() {
			for n := range (etcd.EpochEvents + more) / writers {
				if _, err := s.Create(t.Context(), p.write(fmt.Sprintf("%d/%d", i, n), c), nil); err != nil {
					t.Errorf("create: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	sizes := map[uint64]int{}
	for _, e := range p.mustEvents(t, s, events.DataCreated) {
		n, _ := id.EventEpoch(e.ID)
		sizes[n]++
	}
	largest := 0
	for _, n := range sizes {
		largest = max(largest, n)
	}
	t.Logf("%d events in %s, by epoch %v", etcd.EpochEvents+more, took, sizes)
	if largest > etcd.EpochEvents+overshoot || len(sizes) < 3 {
		t.Errorf("epochs hold %v events, want at most about %d", sizes, etcd.EpochEvents)
	}
}

// testEpochsAtOnce: replicas that end epochs at the same moment end each one once, and no event is lost
// or stored twice between them.
func testEpochsAtOnce(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	stores := []*etcd.Store{p.mustStore(t), p.mustStore(t), p.mustStore(t, slowWatch)}
	first := mustEpoch(t, p, stores[0])
	const each, writes = 20, 15
	began := time.Now()
	written := make([]atomic.Int64, len(stores))
	var writers sync.WaitGroup
	for i, s := range stores {
		writers.Go(func() {
			for n := range writes {
				c := p.newKEK(map[string]string{"n": fmt.Sprintf("%d/%d", i, n)})
				if err := s.CreateKEK(t.Context(), c); err != nil {
					t.Errorf("write while epochs end: %v", err)
				}
				written[i].Add(1)
			}
		})
	}
	for range each {
		var atOnce sync.WaitGroup
		for _, s := range stores {
			atOnce.Go(func() {
				if err := s.AdvanceEpoch(t.Context(), p.env); err != nil {
					t.Errorf("advance: %v", err)
				}
			})
		}
		atOnce.Wait()
		// An epoch is long enough for a transaction, however long that takes here.
		for i := range written {
			before := written[i].Load()
			eventually(t, "a write between the ends of epochs", func() bool { n := written[i].Load(); return n > before || n == writes })
		}
	}
	writers.Wait()
	last := mustEpoch(t, p, stores[0])
	byThemselves := uint64(time.Since(began)/time.Second) + 10
	if ended := last - first; ended < each || ended > 3*each+byThemselves {
		t.Errorf("%d epochs ended", ended)
	}
	if n := len(p.mustEvents(t, stores[2], events.KEKCreated)); n != len(stores)*writes {
		t.Errorf("%d events, want %d", n, len(stores)*writes)
	}
	eventually(t, "all replicas to be in one epoch", func() bool {
		a, b, c := mustEpoch(t, p, stores[0]), mustEpoch(t, p, stores[1]), mustEpoch(t, p, stores[2])
		return a == b && b == c
	})
}

// testBrokenEpoch: a writer of etcd who spoils the epoch stops writes with an integrity failure; he opens
// nothing and breaks no read of an object.
func testBrokenEpoch(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	w := p.mustCreate(t, s, "kept", c)
	genuine := p.rawGet(t, etcd.KeyEpoch(p.env))
	for _, edited := range []string{"", "x", "0", "-1", "1e3", fmt.Sprint(uint64(1) << 41), string(slices.Concat(genuine, []byte("\n")))} {
		p.rawPut(t, etcd.KeyEpoch(p.env), []byte(edited))
		p.mustSee(t, s, w)
		_, err := s.Create(t.Context(), p.write("refused", c), nil)
		mustBe(t, fmt.Sprintf("a create with epoch %q", edited), err, keys.ErrTampered)
		_, err = s.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 10, Order: events.Ascending})
		mustBe(t, fmt.Sprintf("events with epoch %q", edited), err, events.ErrTampered)
	}
	p.rawPut(t, etcd.KeyEpoch(p.env), genuine)
	if _, err := s.Create(t.Context(), p.write("refused", c), nil); err != nil {
		t.Errorf("a create with the genuine epoch: %v", err)
	}
}
