package etcd_test

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/outage"
)

// beats are heartbeats of one node: how long ago each arrived, and how far the node's clock was ahead of
// ours when it was sent. late is by how much it arrived late.
type beats struct {
	node      string
	ago       []time.Duration
	off, late time.Duration
}

// TestClocks: of three replicas one whose clock is off refuses writes. News that a slow watch brings late
// is no reason to.
func TestClocks(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	second := time.Second
	steady := []time.Duration{9 * second, 6 * second, 3 * second, 0}
	for _, tc := range []struct {
		name     string
		heard    []beats
		refuses  bool
		degraded bool
	}{
		{"alone", nil, false, false},
		{"all agree", []beats{{"a", steady, 0, 0}, {"b", steady, second, 0}, {"c", steady, -second, 0}}, false, false},
		{"two are no majority", []beats{{"a", steady, 5 * second, 0}, {"b", steady, 0, 0}}, false, true},
		{"two of three are ahead", []beats{{"a", steady, 5 * second, 0}, {"b", steady, 5 * second, 0}, {"c", steady, 0, 0}}, true, true},
		{"two of three are behind", []beats{{"a", steady, -3 * second, 0}, {"b", steady, -3 * second, 0}, {"c", steady, 0, 0}}, true, true},
		{"the one that is off is another", []beats{{"a", steady, time.Hour, 0}, {"b", steady, 0, 0}, {"c", steady, 0, 0}}, false, false},
		{"those that are off are gone", []beats{
			{"a", []time.Duration{20 * second, 17 * second}, 5 * second, 0},
			{"b", []time.Duration{20 * second, 17 * second}, 5 * second, 0},
			{"c", steady, 0, 0},
		}, false, false},
		{"caught up after a while of silence", []beats{
			{"a", []time.Duration{8 * second}, 0, 0}, {"b", []time.Duration{8 * second}, 0, 0}, {"c", []time.Duration{8 * second}, 0, 0},
			{"a", []time.Duration{0, 0}, 0, 5 * second}, {"b", []time.Duration{0, 0}, 0, 5 * second}, {"c", []time.Duration{0}, 0, 5 * second},
		}, false, false},
		{"first heard of late", []beats{
			{"a", []time.Duration{0, 0, 0}, 0, 5 * second}, {"b", []time.Duration{0, 0, 0}, 0, 5 * second}, {"c", steady, 0, 0},
		}, false, false},
	} {
		s := p.mustStore(t)
		for _, b := range tc.heard {
			for _, ago := range b.ago {
				arrived := time.Now().Add(-ago)
				s.Hear(b.node, arrived.Add(b.off-b.late), arrived)
			}
		}
		o := outage.Of(s.ForWrite())
		if (o != nil) != tc.refuses || o != nil && o.Dependency != outage.Clock {
			t.Errorf("%s: %v, want a refusal %v", tc.name, o, tc.refuses)
		}
		if got := len(s.Degraded()) > 0; got != tc.degraded {
			t.Errorf("%s: degraded %v, want %v", tc.name, got, tc.degraded)
		}
		_, err := s.Create(t.Context(), p.write(tc.name, p.newKEK(map[string]string{"case": tc.name})), nil)
		if o := outage.Of(err); (err != nil) != tc.refuses || err != nil && (o == nil || o.Dependency != outage.Clock) {
			t.Errorf("%s: create %v", tc.name, err)
		}
		s.HearBytes("d", []byte("rubbish"))
		s.HearBytes("a", nil)
	}
}

// TestHeartbeats: three replicas of one external etcd hear of each other.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	client := etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}})
	p := newPlace(t, client)
	stores := []*etcd.Store{p.mustStore(t), p.mustStore(t), p.mustStore(t)}
	eventually(t, "all to be heard of", func() bool { return p.count(t, "node/") == int64(len(stores)) })
	for _, s := range stores {
		eventually(t, "three live nodes", func() bool { return s.Live() == len(stores) })
		if err := s.ForWrite(); err != nil {
			t.Errorf("replicas of one machine: %v", err)
		}
	}
	p.rawPut(t, "node/intruder", []byte(fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())))
	mustFence(t, stores[0])
	if err := stores[0].ForWrite(); err != nil {
		t.Errorf("one clock of four is off: %v", err)
	}
}
