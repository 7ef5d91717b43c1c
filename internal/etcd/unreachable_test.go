package etcd_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
)

// slowest is how long a call may take whatever happens to etcd: its deadline of five seconds, and as
// much again for a busy machine.
const slowest = 10 * time.Second

// callers use a store all the time and note what must hold: no call takes too long, errors are outages of
// etcd, and what was acknowledged is there in the end.
type callers struct {
	p       *place
	store   *etcd.Store
	c       keys.Conditions
	stop    context.CancelFunc
	all     sync.WaitGroup
	mu      sync.Mutex
	longest time.Duration
	// acknowledged and unknown are writes by their outcome. last is when a write was last acknowledged.
	acknowledged, unknown []vault.Write
	failed                int
	last                  time.Time
}

func startCallers(t *testing.T, p *place, s *etcd.Store, c keys.Conditions, writers int) *callers {
	ctx, stop := context.WithCancel(t.Context())
	u := &callers{p: p, store: s, c: c, stop: stop, last: time.Now()}
	known := p.mustCreate(t, s, fmt.Sprintf("known %d", time.Now().UnixNano()), c)
	for i := range writers {
		u.all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				w := p.write(fmt.Sprintf("%d/%d/%d", i, n, time.Now().UnixNano()), c)
				u.call(t, "create", &w, func() error { _, err := s.Create(context.WithoutCancel(ctx), w, nil); return err })
			}
		})
	}
	fence := func() error { return s.Fence(context.WithoutCancel(ctx)) }
	for range 3 {
		u.all.Go(func() {
			for ctx.Err() == nil {
				u.call(t, "fence", nil, fence)
				sleep(ctx, 5*time.Millisecond)
			}
		})
	}
	u.all.Go(func() {
		for ctx.Err() == nil {
			u.call(t, "fence", nil, fence)
			u.call(t, "header", nil, func() error {
				_, err := s.Header(context.WithoutCancel(ctx), p.env, known.Header.ID)
				return err
			})
			u.call(t, "header by name", nil, func() error {
				_, err := s.HeaderByName(context.WithoutCancel(ctx), p.env, known.Header.Name)
				return err
			})
			u.call(t, "list", nil, func() error {
				_, err := s.List(context.WithoutCancel(ctx), p.env, vault.Query{Limit: 10})
				return err
			})
			u.call(t, "events", nil, func() error {
				_, err := s.Page(context.WithoutCancel(ctx), p.env, events.Query{Types: allTypes(), Limit: 10, Order: events.Descending})
				return err
			})
		}
	})
	return u
}

// call makes one call and judges it.
func (u *callers) call(t *testing.T, name string, w *vault.Write, call func() error) {
	began := time.Now()
	err := call()
	took := time.Since(began)
	if took > slowest {
		t.Errorf("%s took %s", name, took)
	}
	o := outage.Of(err)
	if err != nil && (o == nil || o.Dependency != outage.Etcd) {
		t.Errorf("%s: got %v, want an outage of etcd", name, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.longest = max(u.longest, took)
	switch {
	case err != nil:
		if u.failed++; w != nil && o != nil && o.Kind == outage.Unknown {
			u.unknown = append(u.unknown, *w)
		}
		time.Sleep(time.Millisecond)
	case w != nil:
		u.acknowledged, u.last = append(u.acknowledged, *w), time.Now()
	}
}

// mustRecover waits until writes are acknowledged again.
func (u *callers) mustRecover(t *testing.T) {
	t.Helper()
	since := time.Now()
	eventually(t, "writes to go on", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.last.After(since)
	})
	eventually(t, "reads from memory", func() bool { return u.store.Fence(t.Context()) == nil && u.store.Current() })
}

// finish stops the callers and looks for everything that was acknowledged.
func (u *callers) finish(t *testing.T, witness *etcd.Store) {
	t.Helper()
	u.stop()
	u.all.Wait()
	mustFence(t, witness)
	for _, w := range u.acknowledged {
		got, err := witness.HeaderByName(t.Context(), u.p.env, w.Header.Name)
		if err != nil || got.ID != w.Header.ID {
			t.Fatalf("an acknowledged write is gone: %v", err)
		}
	}
	// What nobody knows of is there as a whole or not at all.
	logged := map[string]bool{}
	for _, e := range u.p.mustEvents(t, witness, events.DataCreated) {
		logged[what(t, e)] = true
	}
	for _, w := range u.unknown {
		_, err := witness.Header(t.Context(), u.p.env, w.Header.ID)
		_, textErr := witness.Ciphertext(t.Context(), u.p.env, w.Header.ID, 1)
		if there := err == nil; there != (textErr == nil) || there != logged[string(w.Header.ID)] {
			t.Errorf("a write of unknown outcome is half there: %v, %v, event %v", err, textErr, logged[string(w.Header.ID)])
		}
	}
	t.Logf("%d writes acknowledged, %d calls failed, %d outcomes unknown, the longest call took %s",
		len(u.acknowledged), u.failed, len(u.unknown), u.longest)
}

// TestUnreachable takes the network away from a store, once with an error and once in silence.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	endpoint := etcdtest.Listening(t)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
	witness := p.mustStore(t)
	c := p.mustKEK(t, witness, nil)
	t.Run("faults", func(t *testing.T) { // returns when both are over, before the witness is closed
		for name, fault := range map[string]func(*etcdtest.Proxy){
			"cut": (*etcdtest.Proxy).Cut, "stalled": (*etcdtest.Proxy).Stall,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testUnreachable(t, p, witness, c, endpoint, fault)
			})
		}
	})
}

func testUnreachable(t *testing.T, p *place, witness *etcd.Store, c keys.Conditions, endpoint string, fault func(*etcdtest.Proxy)) {
	proxy := etcdtest.NewProxy(t, endpoint)
	behind := *p
	behind.client = etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	s := behind.mustStore(t)
	u := startCallers(t, &behind, s, c, 4)
	time.Sleep(200 * time.Millisecond)
	fault(proxy)
	time.Sleep(time.Second) // what was answered before has been noted
	u.mu.Lock()
	before := len(u.acknowledged)
	u.mu.Unlock()
	// Nobody else is kept from anything.
	w := p.mustCreate(t, witness, "meanwhile "+t.Name(), c)
	u.call(t, "health", nil, func() error {
		err := s.Health(t.Context())
		if err == nil {
			t.Error("healthy without etcd")
		}
		return err
	})
	eventually(t, "calls to fail, and writes of unknown outcome", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.failed > 0 && len(u.unknown) > 0
	})
	time.Sleep(500 * time.Millisecond)
	u.mu.Lock()
	if n := len(u.acknowledged) - before; n != 0 {
		t.Errorf("without etcd: %d writes acknowledged", n)
	}
	u.mu.Unlock()
	proxy.Restore()
	u.mustRecover(t)
	p.mustSee(t, s, w)
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
	u.finish(t, witness)
}
