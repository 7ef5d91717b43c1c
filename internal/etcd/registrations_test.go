package etcd_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/keys"
)

func testRegistrations(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t)
	first := etcd.Registration{Node: "node-1", Host: "a", Dir: "/var/lib/culvert", At: p.ids.Now()}
	second := etcd.Registration{Node: "node-2", Host: "b", Dir: "/srv", At: p.ids.Now()}
	for _, r := range []etcd.Registration{second, first} {
		if made, err := s.Register(t.Context(), r); err != nil || !made {
			t.Fatalf("register %s: %v, %v", r.Node, made, err)
		}
	}
	// A directory keeps the registration it got first.
	moved := first
	moved.Dir = "/elsewhere"
	if made, err := other.Register(t.Context(), moved); err != nil || made {
		t.Errorf("register again: %v, %v", made, err)
	}
	got, err := other.Registrations(t.Context(), p.env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, []etcd.Registration{first, second}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	// One node's registration does not do for another.
	key := "registered/" + string(p.env) + "/"
	genuine := p.rawGet(t, key+"node-1")
	p.rawPut(t, key+"node-1", p.rawGet(t, key+"node-2"))
	_, err = s.Registrations(t.Context(), p.env)
	mustBe(t, "a registration in another's place", err, keys.ErrTampered)
	p.rawPut(t, key+"node-1", genuine)
	if _, err := s.Registrations(t.Context(), p.env); err != nil {
		t.Error(err)
	}
}
