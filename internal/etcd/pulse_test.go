package etcd_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/outage"
)

// TestNodeTaken: two stores with one node id are one too many, and the second is told; after the first has
// ended, in order or not, another one goes on.
func TestNodeTaken(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}}))
	cfg := p.config()
	cfg.Node = "node-one"
	first, err := etcd.NewStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := etcd.NewStore(t.Context(), cfg); !errors.Is(err, etcd.ErrNodeTaken) {
		if err == nil {
			second.Close()
		}
		t.Errorf("a second store under the node id: %v", err)
	}
	if err := first.ForWrite(); err != nil {
		t.Errorf("the first store: %v", err)
	}
	other := p.mustStore(t) // with an id of its own
	first.Close()
	eventually(t, "the heartbeat to be gone", func() bool { return p.rawGet(t, "node/node-one") == nil })

	// One that crashed has left its last beat.
	for _, left := range []string{
		fmt.Sprint(time.Now().UnixMilli(), " crashed"), fmt.Sprint(time.Now().Add(time.Hour).UnixMilli(), " of the future"),
		fmt.Sprint(time.Now().UnixMilli()), "rubbish", "",
	} {
		p.rawPut(t, "node/node-one", []byte(left))
		next, err := etcd.NewStore(t.Context(), cfg)
		if err != nil {
			t.Fatalf("after a process that left %q: %v", left, err)
		}
		next.Close()
	}
	if err := other.ForWrite(); err != nil {
		t.Errorf("another node: %v", err)
	}
}

// TestNodeTakenOver: a process that was stopped for so long that another one took its node id over refuses
// writes as long as that one lives.
func TestNodeTakenOver(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}}))
	s := p.mustStore(t, func(c *etcd.StoreConfig) { c.Node = "node-one" })
	beat := func(process string) {
		p.rawPut(t, "node/node-one", []byte(fmt.Sprint(time.Now().UnixMilli(), " ", process)))
	}
	// Case: what a writer of etcd puts there once is no process.
	beat("nobody")
	p.rawPut(t, "node/node-one", []byte("rubbish"))
	eventually(t, "a beat of its own again", func() bool {
		value := string(p.rawGet(t, "node/node-one"))
		return value != "rubbish" && value != ""
	})
	if err := s.ForWrite(); err != nil {
		t.Errorf("after one foreign beat: %v", err)
	}
	// Case: one that goes on is.
	eventually(t, "the other process to be noticed", func() bool {
		beat("another")
		return s.Health(t.Context()) != nil
	})
	if o := outage.Of(s.ForWrite()); o == nil || o.Dependency != outage.Node {
		t.Errorf("writes are let through: %v", s.ForWrite())
	}
	if o := outage.Of(s.Health(t.Context())); o == nil || o.Dependency != outage.Node {
		t.Errorf("health: %v", o)
	}
	// Case: and it is gone.
	eventually(t, "writes to go on", func() bool { return s.ForWrite() == nil })
}
