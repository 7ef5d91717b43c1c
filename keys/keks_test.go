package keys_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// mustStoredKEK makes a KEK by storing an object under its context.
func mustStoredKEK(t testing.TB, s *vaulttest.Stack, pairs ...string) keys.ID {
	t.Helper()
	m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
		Name: fmt.Sprint(pairs), Value: vaulttest.Value("v"), Context: vaulttest.MustContext(t, pairs...),
	})
	must(t, err)
	return m.KeyID
}

// mustListKEKs pages through a list.
func mustListKEKs(t testing.TB, s *vaulttest.Stack, item keys.Item, limit int) []keys.ID {
	t.Helper()
	var all []keys.ID
	for q := (keys.KEKQuery{Item: item, Limit: limit}); ; {
		page, err := s.Operations.KEKs(t.Context(), s.Call(), q)
		must(t, err)
		for _, i := range page.Data {
			all = append(all, i.ID)
		}
		if q.After = page.After; q.After == "" {
			return all
		}
		if len(page.Data) == 0 {
			t.Fatal("an empty page with a cursor")
		}
	}
}

// A list has every KEK once, in order of creation, on every replica; by an item those whose context has
// it, whatever else is in there.
func TestListKEKs(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	if got := mustListKEKs(t, s, keys.Item{}, 10); got != nil {
		t.Errorf("KEKs of a new store: %v", got)
	}
	var all, ofOrg []keys.ID
	for i := range 7 {
		id := mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
		all, ofOrg = append(all, id), append(ofOrg, id)
		all = append(all, mustStoredKEK(t, s, "organization_id", fmt.Sprint("org_", i+2)))
	}
	empty := mustStoredKEK(t, s)
	all = append(all, empty)
	org := keys.Item{Name: "organization_id", Value: "org_1"}
	for _, limit := range []int{1, 3, 7, 15, 100, 1000} {
		if got := mustListKEKs(t, other, keys.Item{}, limit); !slices.Equal(got, all) {
			t.Errorf("by %d: %v, want %v", limit, got, all)
		}
		if got := mustListKEKs(t, other, org, limit); !slices.Equal(got, ofOrg) {
			t.Errorf("of an item by %d: %v, want %v", limit, got, ofOrg)
		}
	}
	for _, item := range []keys.Item{{Name: "organization_id", Value: ""}, {Name: "organization_id", Value: "org_"}, {Name: "org_1", Value: "organization_id"}} {
		if got := mustListKEKs(t, s, item, 10); got != nil {
			t.Errorf("of %v: %v", item, got)
		}
	}
	// A rotation changes neither place nor number.
	_, err := s.Operations.RotateKEK(t.Context(), s.Call(), ofOrg[2])
	must(t, err)
	if got := mustListKEKs(t, other, org, 2); !slices.Equal(got, ofOrg) {
		t.Errorf("after a rotation: %v, want %v", got, ofOrg)
	}
}

func TestRefusedLists(t *testing.T) {
	s := vaulttest.New(t)
	mustStoredKEK(t, s, "a", "b")
	var invalid *keys.InvalidError
	for _, q := range []keys.KEKQuery{{}, {Limit: -1}, {Limit: 1, Item: keys.Item{Value: "v"}}, {Limit: 1, Item: keys.Item{Name: "a\x00"}}} {
		if _, err := s.Operations.KEKs(t.Context(), s.Call(), q); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an InvalidError", q, err)
		}
	}
	for _, after := range []keys.ID{"x", "../kek", "019AB1C2-D3E4-7F60-8A9B-0C1D2E3F4A5B"} {
		if _, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Limit: 1, After: after}); !errors.Is(err, keys.ErrUnknownCursor) {
			t.Errorf("after %q: %v, want %v", after, err, keys.ErrUnknownCursor)
		}
	}
	page, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Limit: 1})
	if err != nil || len(page.Data) != 1 {
		t.Errorf("the twin: %+v, %v", page, err)
	}
}

func TestDescribeKEK(t *testing.T) {
	s := vaulttest.New(t)
	id := mustStoredKEK(t, s, "organization_id", "org_1")
	i, err := s.Operations.KEK(t.Context(), s.Call(), id)
	must(t, err)
	if i.ID != id || i.State != keys.KEKActive || i.Versions != 1 || !i.PrimaryAt.Equal(i.CreatedAt) || len(i.RootKeys) != 1 ||
		i.RootKeys[0] != (keys.RootKeyRef{Slot: keys.RootSlot, URI: s.Root.URI()}) ||
		!i.Context.Equal(vaulttest.MustContext(t, "organization_id", "org_1")) {
		t.Errorf("described as %+v", i)
	}
	for _, unknown := range []keys.ID{"", "x", "../kek", keys.ID(s.IDs.UUID())} {
		if _, err := s.Operations.KEK(t.Context(), s.Call(), unknown); !errors.Is(err, keys.ErrNoKEK) {
			t.Errorf("%q: %v, want %v", unknown, err, keys.ErrNoKEK)
		}
		if _, err := s.Operations.RotateKEK(t.Context(), s.Call(), unknown); !errors.Is(err, keys.ErrNoKEK) {
			t.Errorf("rotate %q: %v, want %v", unknown, err, keys.ErrNoKEK)
		}
	}
}
