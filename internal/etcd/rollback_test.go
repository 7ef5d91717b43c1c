package etcd_test

import (
	"errors"
	"testing"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/outage"
	"culvert/vault"
)

// mustWarm fills the memory of a store: what a replaced etcd no longer has must not come from there.
func (p *place) mustWarm(t *testing.T, s *etcd.Store, name string) vault.Write {
	t.Helper()
	w := p.mustCreate(t, s, name, p.mustKEK(t, s, map[string]string{"for": name}))
	for range 2 {
		p.mustSee(t, s, w)
	}
	if !s.Cached(etcd.KeyObject(p.env, w.Header.ID)) {
		t.Fatal("the cache is cold: nothing is tried")
	}
	return w
}

// mustFindReplaced waits for health to name the cause, and wants nothing to come from memory.
func (p *place) mustFindReplaced(t *testing.T, s *etcd.Store, w vault.Write) {
	t.Helper()
	eventually(t, "a red health", func() bool {
		err := s.Health(t.Context())
		if err != nil && outage.Of(err) == nil && !errors.Is(err, etcd.ErrReplaced) {
			t.Fatalf("health: %v", err)
		}
		return errors.Is(err, etcd.ErrReplaced)
	})
	eventually(t, "a fence", func() bool { return s.Fence(t.Context()) == nil })
	_, err := s.Header(t.Context(), p.env, w.Header.ID)
	mustBe(t, "what the other etcd does not have", err, vault.ErrNotFound)
	// It does not pass by itself: only a person knows what was meant.
	mustBe(t, "health later", s.Health(t.Context()), etcd.ErrReplaced)
}

// TestRevisionWentBack restores an etcd without its history under a store. The cluster is the same by
// name, only older.
func TestRevisionWentBack(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.NewClusterOf(t, 1)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: cluster.Endpoints()}))
	s := p.mustStore(t)
	w := p.mustWarm(t, s, "lost")
	// The twin: an etcd that was merely restarted is the same.
	member := cluster.Members[0]
	member.Kill()
	member.MustStart(t)
	eventually(t, "a fence after the restart", func() bool { return s.Fence(t.Context()) == nil })
	p.mustSee(t, s, w)
	if err := s.Health(t.Context()); err != nil {
		t.Fatalf("health after a restart: %v", err)
	}
	member.Kill()
	member.MustWipe(t)
	member.MustStart(t)
	p.mustFindReplaced(t, s, w)
}

// TestAnotherCluster puts another etcd in the place of the one a store began with, at a revision that is
// not older.
func TestAnotherCluster(t *testing.T) {
	t.Parallel()
	proxy := etcdtest.NewProxy(t, etcdtest.Listening(t))
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	s := p.mustStore(t)
	w := p.mustWarm(t, s, "elsewhere")

	other := etcdtest.Listening(t)
	newer := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{other}}))
	for range 200 {
		newer.rawPut(t, "node/x", []byte("0"))
	}
	proxy.Cut()
	proxy.Retarget(t, other)
	proxy.Restore()
	p.mustFindReplaced(t, s, w)
}

// TestEmbeddedIsNotReplaced: etcd tells a watch of a write a moment before its revision counts it, and a
// busy server comes to see that moment. It is no etcd that went back, which is for ever.
func TestEmbeddedIsNotReplaced(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t)
	w := p.mustWarm(t, s, "kept")
	eventually(t, "a fence behind the watch", func() bool {
		tried, err := s.FenceAhead()
		if err != nil {
			t.Fatalf("fence: %v", err)
		}
		return tried
	})
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	p.mustSee(t, s, w)
}
