package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/outage"
	"culvert/vault"
)

func slowWatch(c *etcd.StoreConfig) { c.WatchDelay = 50 * time.Millisecond }

// testSlowWatch: a replica whose watch is slow waits for it, and is never stale.
func testSlowWatch(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	a, b := p.mustStore(t), p.mustStore(t, slowWatch)
	c := p.mustKEK(t, a, nil)
	p.changes(t, a, b, c, 2)
	// Without the fence it is stale, or this test shows nothing.
	w := p.mustCreate(t, a, "unfenced", c)
	mustFence(t, b)
	h := p.mustHeader(t, a, w.Header.ID)
	for range 2 {
		if _, err := b.Header(t.Context(), p.env, w.Header.ID); err != nil {
			t.Fatal(err)
		}
	}
	// A busy machine can be slower than the slow watch: once is enough.
	for tries := 1; ; tries++ {
		next, _ := p.next(h.Header, c, 10)
		if err := a.Update(t.Context(), next, h.Revision, 0); err != nil {
			t.Fatal(err)
		}
		got, err := b.Header(t.Context(), p.env, w.Header.ID)
		if err != nil || got.Revision != h.Revision && tries == 20 {
			t.Fatalf("the slow watch is not slow: revision %d after %d, %v", got.Revision, h.Revision, err)
		}
		p.mustSee(t, b, next)
		if got.Revision == h.Revision {
			return
		}
		h = p.mustHeader(t, a, w.Header.ID)
	}
}

// testFencesAtOnce: many callers share rounds, and each still sees what was acknowledged before it came.
func testFencesAtOnce(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	a, b := p.mustStore(t), p.mustStore(t, func(c *etcd.StoreConfig) { c.WatchDelay = 10 * time.Millisecond })
	c := p.mustKEK(t, a, nil)
	// sequence is that of the version acknowledged last.
	var sequence atomic.Uint64
	w := p.mustCreate(t, a, "counter", c)
	sequence.Store(1)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	reads := atomic.Int64{}
	for range 32 {
		all.Go(func() {
			for ctx.Err() == nil {
				sleep(ctx, time.Duration(rand.IntN(15))*time.Millisecond) // or all of them wait for one round
				before := sequence.Load()
				if err := b.Fence(t.Context()); err != nil {
					t.Errorf("fence: %v", err)
					return
				}
				h, err := b.Header(t.Context(), p.env, w.Header.ID)
				if err != nil || h.Current().Sequence < before {
					t.Errorf("read version %v, %v; version %d was acknowledged before", h.Header, err, before)
					return
				}
				reads.Add(1)
			}
		})
	}
	h := p.mustHeader(t, a, w.Header.ID)
	tried := func() bool { return reads.Load() >= 100 && sequence.Load() >= 20 }
	for began := time.Now(); time.Since(began) < time.Second || !tried() && time.Since(began) < 30*time.Second; {
		// Two at a time: whoever came for the second must not leave with those who wait for the first.
		for range 2 {
			next, pruneTo := p.next(h.Header, c, 3)
			if err := a.Update(t.Context(), next, h.Revision, pruneTo); err != nil {
				t.Fatal(err)
			}
			sequence.Add(1)
			h = p.mustHeader(t, a, w.Header.ID)
		}
		time.Sleep(30 * time.Millisecond)
	}
	stop()
	all.Wait()
	if !tried() {
		t.Errorf("%d reads of %d versions: nothing was tried", reads.Load(), sequence.Load())
	}
}

// testForeignWrites: etcd's revision moves with every write of anybody; a fence must not wait for events
// that this root never gets.
func testForeignWrites(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	w := p.mustCreate(t, s, "ours", p.mustKEK(t, s, nil))
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	foreign := atomic.Int64{}
	for i := range 2 {
		writing.Go(func() {
			for ctx.Err() == nil {
				if _, err := p.client.KV().Put(t.Context(), fmt.Sprintf("/elsewhere/%s/%d", p.env, i), "x"); err != nil {
					t.Errorf("foreign write: %v", err)
				}
				foreign.Add(1)
			}
		})
	}
	fences, slow := 0, 0
	for ; fences < 60 || foreign.Load() < 100; fences++ {
		began := time.Now()
		mustFence(t, s)
		if time.Since(began) > 900*time.Millisecond {
			slow++
		}
		if !s.Current() {
			t.Fatal("the watch was given up for want of events")
		}
		if _, err := s.Header(t.Context(), p.env, w.Header.ID); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	writing.Wait()
	// Asking etcd how far the watch is takes milliseconds, giving the watch up a second: of every fence.
	if slow > fences/10 {
		t.Errorf("%d of %d fences took a second beside %d foreign writes", slow, fences, foreign.Load())
	}
}

func TestFenceEnds(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	proxy := etcdtest.NewProxy(t, endpoint)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	s := p.mustStore(t)
	proxy.Stall()
	defer proxy.Restore()
	// A caller that gives up is let go at once, whatever the round does.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.Fence(ctx)
	mustBeOutage(t, "a fence given up", err, outage.Unavailable)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 4*time.Second { // a round takes five
		t.Errorf("a fence given up: %v after %s", err, took)
	}
	// One that hangs up, too, and no outage is told of: there is none that he has met.
	ctx, hangUp := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- s.Fence(ctx) }()
	time.Sleep(50 * time.Millisecond)
	hangUp()
	for when, err := range map[string]error{"hung up": <-left, "hung up before": s.Fence(ctx)} {
		if !errors.Is(err, context.Canceled) || outage.Of(err) != nil {
			t.Errorf("a fence whose caller %s: %v", when, err)
		}
	}
	// A store that closes lets its callers go too, and takes no new ones.
	waiting := make(chan error)
	go func() { waiting <- s.Fence(t.Context()) }()
	time.Sleep(50 * time.Millisecond)
	began = time.Now()
	s.Close()
	mustBeOutage(t, "a fence of a store that closes", <-waiting, outage.Unavailable)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("close took %s", took)
	}
	mustBeOutage(t, "a fence of a closed store", s.Fence(t.Context()), outage.Unavailable)
}

// TestNetworkCuts cuts the connections of a replica again and again, and looks for stale reads meanwhile.
func TestNetworkCuts(t *testing.T) {
	t.Parallel()
	endpoint := etcdtest.Listening(t)
	proxy := etcdtest.NewProxy(t, endpoint)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
	a := p.mustStore(t)
	c := p.mustKEK(t, a, nil)
	behind := *p
	behind.client = etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	b := behind.mustStore(t)
	ctx, stop := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for ctx.Err() == nil {
			sleep(ctx, 80*time.Millisecond)
			proxy.Cut()
			proxy.Restore()
		}
	})
	w := p.mustCreate(t, a, "cut", c)
	stale, served := 0, 0
	for began := time.Now(); time.Since(began) < 3*time.Second || served < 10 && time.Since(began) < 30*time.Second; {
		h := p.mustHeader(t, a, w.Header.ID)
		next, pruneTo := p.next(h.Header, c, 3)
		if err := a.Update(t.Context(), next, h.Revision, pruneTo); err != nil {
			t.Fatal(err)
		}
		if b.Fence(t.Context()) != nil {
			continue // an outage is an honest answer
		}
		got, err := b.HeaderByName(t.Context(), p.env, "cut")
		switch {
		case err == nil && got.Current().Sequence == next.Header.Current().Sequence:
			served++
		case outage.Of(err) == nil || errors.Is(err, vault.ErrNotFound):
			stale++
		}
	}
	stop()
	cutting.Wait()
	if stale > 0 || served < 10 {
		t.Errorf("%d reads were stale, %d right", stale, served)
	}
	eventually(t, "memory to serve again", func() bool { return b.Fence(t.Context()) == nil && b.Current() })
}
