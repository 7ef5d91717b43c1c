package vault_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestCreateThenGet(t *testing.T) {
	s := vaulttest.New(t)
	before := time.Now()
	c := vaulttest.MustContext(t, "organization_id", "org_1", "region", "eu")
	m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
		Name: "db/password é", Value: vaulttest.Value("p4ss"), Context: c,
	})
	if err != nil {
		t.Fatal(err)
	}

	got := s.MustGet(t, m.ID)
	if got.Name != "db/password é" || string(got.Value.Reveal()) != "p4ss" {
		t.Errorf("got %q with a value of %d bytes", got.Name, got.Value.Len())
	}
	if diff := cmp.Diff(got.Metadata, m, compareContexts()); diff != "" {
		t.Errorf("metadata of get and create differ (-get +create):\n%s", diff)
	}
	if diff := cmp.Diff(got.Metadata.Context.Items(), c.Items()); diff != "" {
		t.Errorf("context (-got +want):\n%s", diff)
	}
	actor := s.Call().Actor
	if want := (vault.Author{ID: actor.ID(), Name: actor.Name()}); got.Metadata.UpdatedBy != want {
		t.Errorf("updated by %v, want %v", got.Metadata.UpdatedBy, want)
	}
	if m.Environment != s.Environment.ID() || m.KeyID == "" {
		t.Errorf("environment %q, key id %q", m.Environment, m.KeyID)
	}
	at := m.UpdatedAt
	if at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) || at.Location() != time.UTC || at.Nanosecond()%1000 != 0 {
		t.Errorf("updated at %v is not a moment of the test in UTC microseconds", at)
	}
	for _, text := range []string{string(m.ID), string(m.VersionID)} {
		if _, ok := id.UUIDTime(text); !ok {
			t.Errorf("id %q is no UUIDv7", text)
		}
	}
}

func TestCreateNames(t *testing.T) {
	s := vaulttest.New(t)
	for name, legal := range map[string]bool{
		"a":                            true,
		" leading and trailing ":       true,
		"...":                          true,
		"a/../b":                       true,
		"ÅÅ nfc\u00c5 and nfd A\u030a": true,
		"日本語":                          true,
		`"quotes" & <tags>`:            true,
		strings.Repeat("é", 200):       true,
		strings.Repeat("é", 201):       false,
		"":                             false,
		".":                            false,
		"..":                           false,
		"nul\x00":                      false,
		"line\nbreak":                  false,
		"c1\u0085":                     false,
		"bidi\u202e":                   false,
		"invalid\xff":                  false,
	} {
		m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: name, Value: vaulttest.Value("v")})
		if !legal {
			var invalid *vault.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "name" {
				t.Errorf("create %q: got %v, want an InvalidError of name", name, err)
			} else if name != "" && name != "." && name != ".." && strings.Contains(err.Error(), name) {
				t.Errorf("the refusal of %q repeats it", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("create %q: %v", name, err)
			continue
		}
		o, err := s.Vault.GetByName(t.Context(), s.Call(), name)
		if err != nil || o.ID != m.ID || o.Name != name {
			t.Errorf("get by name %q: %q, %v", name, o.Name, err)
		}
	}
}

func TestCreateValueLimit(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Limits: vault.Limits{MaxValueBytes: 10}})
	// Case 1: the limit counts bytes, and is itself allowed.
	m := s.MustCreate(t, "fits", strings.Repeat("é", 5))
	// Case 2: one byte more is refused, on create and on update, and nothing is stored.
	tooLong := vaulttest.Value(strings.Repeat("é", 5) + "x")
	var invalid *vault.InvalidError
	_, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: "too long", Value: tooLong})
	if !errors.As(err, &invalid) || invalid.Field != "value" {
		t.Errorf("create: got %v, want an InvalidError of value", err)
	}
	_, err = s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: tooLong})
	if !errors.As(err, &invalid) || invalid.Field != "value" {
		t.Errorf("update: got %v, want an InvalidError of value", err)
	}
	if _, err := s.Vault.GetByName(t.Context(), s.Call(), "too long"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("get of the refused object: %v", err)
	}
	// Case 3: nothing is a value too.
	if got := s.MustGet(t, s.MustCreate(t, "empty", "").ID); got.Value.Len() != 0 {
		t.Errorf("the empty value came back with %d bytes", got.Value.Len())
	}
}

func TestCreateLargestValue(t *testing.T) {
	s := vaulttest.New(t)
	value := strings.Repeat("0123456789abcdef", 1<<16)
	m := s.MustCreate(t, "large", value)
	s.MustUpdate(t, m.ID, value+"")
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != value {
		t.Errorf("1 MiB came back as %d bytes, or changed", got.Value.Len())
	}
}

func TestCreateSameName(t *testing.T) {
	s := vaulttest.New(t)
	first := s.MustCreate(t, "taken", "v1")
	_, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: "taken", Value: vaulttest.Value("v2")})
	if !errors.Is(err, vault.ErrExists) {
		t.Fatalf("second create: got %v, want ErrExists", err)
	}
	if got := s.MustGet(t, first.ID); string(got.Value.Reveal()) != "v1" {
		t.Error("the refused create changed the object")
	}
	// Twins: another spelling is another name, and a deleted object's name is free.
	s.MustCreate(t, "Taken", "v3")
	s.MustDelete(t, first.ID)
	second := s.MustCreate(t, "taken", "v4")
	if second.ID == first.ID {
		t.Error("a new object has a deleted one's id")
	}
	if got, err := s.Vault.GetByName(t.Context(), s.Call(), "taken"); err != nil || got.ID != second.ID {
		t.Errorf("get by the name in use again: %q, %v", got.ID, err)
	}
}

func TestCreateContexts(t *testing.T) {
	s := vaulttest.New(t)
	create := func(name string, c keys.Context) keys.ID {
		t.Helper()
		m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: name, Value: vaulttest.Value("v"), Context: c})
		if err != nil {
			t.Fatal(err)
		}
		return m.KeyID
	}
	// One KEK per full context, whatever the spelling looks like to a human.
	one := create("a", vaulttest.MustContext(t, "organization_id", "org_1"))
	if again := create("b", vaulttest.MustContext(t, "organization_id", "org_1")); again != one {
		t.Error("one context has two KEKs")
	}
	for i, other := range []keys.Context{
		{},
		vaulttest.MustContext(t, "organizationId", "org_1"),
		vaulttest.MustContext(t, "organization_id", "org_2"),
		vaulttest.MustContext(t, "organization_id", "org_1", "x", ""),
	} {
		if create(fmt.Sprint("other ", i), other) == one {
			t.Errorf("context %d has the KEK of another", i)
		}
	}
}

// Creates that meet in a new context race for its KEK; all must succeed under the same one.
func TestCreateRaceForNewContext(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	const callers = 16
	ids := make([]keys.ID, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			m, err := r.Vault.Create(t.Context(), r.Call(), vault.CreateRequest{
				Name: fmt.Sprint("object ", i), Value: vaulttest.Value("v"), Context: vaulttest.MustContext(t, "new", "context"),
			})
			if err != nil {
				t.Errorf("create %d: %v", i, err)
			}
			ids[i] = m.KeyID
		})
	}
	group.Wait()
	for i := range ids {
		if ids[i] != ids[0] {
			t.Fatalf("creates of one new context ended under two KEKs: %q and %q", ids[0], ids[i])
		}
	}
}

func TestCreateRaceForName(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	results := make([]error, 16)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			_, results[i] = r.Vault.Create(t.Context(), r.Call(), vault.CreateRequest{Name: "one", Value: vaulttest.Value("v")})
		})
	}
	group.Wait()
	wantOneWinner(t, results, vault.ErrExists)
}

func TestCreateNeedsPermission(t *testing.T) {
	s := vaulttest.New(t)
	_, err := s.Vault.Create(t.Context(), s.MustCallAs(t, "guest"), vault.CreateRequest{Name: "n", Value: vaulttest.Value("v")})
	if !errors.Is(err, access.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	if _, err := s.Vault.GetByName(t.Context(), s.Call(), "n"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("the denied create stored something: %v", err)
	}
}
