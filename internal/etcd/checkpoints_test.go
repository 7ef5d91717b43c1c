package etcd_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
)

func testCheckpoints(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	kept := s.Checkpoints(p.env)
	day := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, put := range []struct {
		node, signed string
		at           time.Time
	}{
		{"node-1", "long ago", day.AddDate(0, 0, -401)},
		{"node-1", "yesterday", day.AddDate(0, 0, -1)},
		{"node-1", "morning", day.Add(-4 * time.Hour)},
		{"node-1", "noon", day},
		{"node-2", "other", day.AddDate(0, 0, -401)},
	} {
		if err := kept.Put(t.Context(), put.node, put.at, []byte(put.signed)); err != nil {
			t.Fatal(err)
		}
	}
	// One a day, for as long as the node signs; what another signs takes nothing away.
	list := func(node string, limit int) (all []string) {
		signed, err := kept.List(t.Context(), node, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range signed {
			all = append(all, string(s))
		}
		return all
	}
	if diff := cmp.Diff([]string{"noon", "yesterday"}, list("node-1", 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	newest := func() map[string]string {
		got, err := kept.Newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for node, signed := range got {
			all[node] = string(signed)
		}
		return all
	}
	if diff := cmp.Diff(map[string]string{"node-1": "noon", "node-2": "other"}, newest()); diff != "" {
		t.Errorf("newest (-want +got):\n%s", diff)
	}
	// One that was moved is none, and keeps nobody from the others.
	p.rawPut(t, "checkpoint/"+string(p.env)+"/node-2/2026-11-29", p.rawGet(t, "checkpoint/"+string(p.env)+"/node-1/2026-11-28"))
	if diff := cmp.Diff(map[string]string{"node-1": "noon", "node-2": ""}, newest()); diff != "" {
		t.Errorf("newest beside one that was moved (-want +got):\n%s", diff)
	}
	if _, err := s.Register(t.Context(), etcd.Registration{Node: "node-1", At: day}); err != nil {
		t.Fatal(err)
	}
	if nodes, err := kept.Nodes(t.Context()); err != nil || !cmp.Equal(nodes, []string{"node-1"}) {
		t.Errorf("nodes: got %v, %v", nodes, err)
	}
}
