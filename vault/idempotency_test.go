package vault_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

// request is a create with an Idempotency-Key, as the server would build it from this body.
func request(t *testing.T, key, name, value string) vault.CreateRequest {
	t.Helper()
	return vault.CreateRequest{
		Name:    name,
		Value:   vaulttest.Value(value),
		Context: vaulttest.MustContext(t, "organization_id", "org_1"),
		Idempotency: &vault.Idempotency{
			Method: "POST", Path: "/vault/v1/kv", Key: key, Body: vaulttest.Value(name + "\x00" + value),
		},
	}
}

func TestIdempotentCreate(t *testing.T) {
	s := vaulttest.New(t)
	first, err := s.Vault.Create(t.Context(), s.Call(), request(t, "k1", "n", "v"))
	if err != nil {
		t.Fatal(err)
	}

	// Case 1: the same request again gives the first answer, on another replica too.
	for _, replica := range []*vaulttest.Stack{s, s.Replica(t)} {
		again, err := replica.Vault.Create(t.Context(), replica.Call(), request(t, "k1", "n", "v"))
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
		if diff := cmp.Diff(again, first, compareContexts()); diff != "" {
			t.Errorf("replayed answer (-again +first):\n%s", diff)
		}
	}

	// Case 2: another body under the key is refused, and stores nothing.
	_, err = s.Vault.Create(t.Context(), s.Call(), request(t, "k1", "other", "v"))
	if !errors.Is(err, vault.ErrIdempotency) {
		t.Errorf("another body: got %v, want ErrIdempotency", err)
	}
	if _, err := s.Vault.GetByName(t.Context(), s.Call(), "other"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("the refused create stored something: %v", err)
	}

	// Case 3: another key is another request.
	if _, err = s.Vault.Create(t.Context(), s.Call(), request(t, "k2", "n", "v")); !errors.Is(err, vault.ErrExists) {
		t.Errorf("another key: got %v, want ErrExists", err)
	}
	if _, err = s.Vault.Create(t.Context(), s.Call(), request(t, "k2", "n2", "v")); err != nil {
		t.Errorf("a key whose first request was refused: %v", err)
	}

	// Case 4: the first answer stays what it was when the object has changed, and when it is gone.
	s.MustUpdate(t, first.ID, "v2")
	for _, after := range []string{"update", "delete"} {
		again, err := s.Vault.Create(t.Context(), s.Call(), request(t, "k1", "n", "v"))
		if err != nil {
			t.Fatalf("replay after %s: %v", after, err)
		}
		if diff := cmp.Diff(again, first, compareContexts()); diff != "" {
			t.Errorf("answer replayed after %s (-again +first):\n%s", after, diff)
		}
		if after == "update" {
			s.MustDelete(t, first.ID)
		}
	}
	if _, err := s.Vault.GetByName(t.Context(), s.Call(), "n"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("a replay brought a deleted object back: %v", err)
	}
}

func TestIdempotentCreateRace(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	answers := make([]vault.Metadata, 16)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			var err error
			r := replicas[i%len(replicas)]
			answers[i], err = r.Vault.Create(t.Context(), r.Call(), request(t, "k", "n", "v"))
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	group.Wait()
	for i := range answers {
		if diff := cmp.Diff(answers[i], answers[0], compareContexts()); diff != "" {
			t.Fatalf("caller %d got another answer (-got +first):\n%s", i, diff)
		}
	}
	got := s.MustGet(t, answers[0].ID)
	if got.Metadata.VersionID != answers[0].VersionID {
		t.Error("the answer is not of the object that was stored")
	}
}
