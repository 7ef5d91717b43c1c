package vault_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestDataKey(t *testing.T) {
	s := vaulttest.New(t)
	c := vaulttest.MustContext(t, "organization_id", "org_1")
	made, err := s.Vault.CreateDataKey(t.Context(), s.Call(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := id.UUIDTime(made.ID); !ok || made.Key.Len() != 32 || !made.Context.Equal(c) {
		t.Errorf("data key %q of %d bytes", made.ID, made.Key.Len())
	}
	// Case 1: the blob gives the same key back, on any replica.
	for _, replica := range []*vaulttest.Stack{s, s.Replica(t)} {
		opened, err := replica.Vault.DecryptDataKey(t.Context(), replica.Call(), made.Blob)
		if err != nil {
			t.Fatal(err)
		}
		if opened.ID != made.ID || !opened.Key.Equal(made.Key) || !opened.Context.Equal(c) {
			t.Error("decrypt gave another key, id or context")
		}
	}
	// Case 2: no two are alike.
	second, err := s.Vault.CreateDataKey(t.Context(), s.Call(), c)
	if err != nil || second.ID == made.ID || second.Key.Equal(made.Key) {
		t.Errorf("the second data key repeats the first, or: %v", err)
	}
	// Case 3: what is not ours is refused as such, by decrypt and rekey.
	other := vaulttest.New(t)
	foreign, err := other.Vault.CreateDataKey(t.Context(), other.Call(), c)
	if err != nil {
		t.Fatal(err)
	}
	for what, blob := range map[string][]byte{
		"nothing":       nil,
		"garbage":       []byte("garbage"),
		"cut short":     made.Blob[:len(made.Blob)-1],
		"too long":      append(slices.Clone(made.Blob), 0),
		"a foreign one": foreign.Blob,
	} {
		if _, err := s.Vault.DecryptDataKey(t.Context(), s.Call(), blob); !errors.Is(err, keys.ErrNotOurs) {
			t.Errorf("decrypt of %s: got %v, want ErrNotOurs", what, err)
		}
		_, err := s.Vault.Rekey(t.Context(), s.Call(), vault.RekeyRequest{Context: c, Blob: blob})
		if !errors.Is(err, keys.ErrNotOurs) {
			t.Errorf("rekey of %s: got %v, want ErrNotOurs", what, err)
		}
	}
}

func TestRekey(t *testing.T) {
	s := vaulttest.New(t)
	from, to := vaulttest.MustContext(t, "organization_id", "org_1"), vaulttest.MustContext(t, "organization_id", "org_2")
	made, err := s.Vault.CreateDataKey(t.Context(), s.Call(), from)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := s.Vault.Rekey(t.Context(), s.Call(), vault.RekeyRequest{Context: to, Blob: made.Blob})
	if err != nil {
		t.Fatal(err)
	}
	if moved.ID != made.ID || !moved.Key.Equal(made.Key) || !moved.Context.Equal(to) || slices.Equal(moved.Blob, made.Blob) {
		t.Error("rekey must keep id and key, and change context and blob")
	}
	opened, err := s.Vault.DecryptDataKey(t.Context(), s.Call(), moved.Blob)
	if err != nil || !opened.Key.Equal(made.Key) || !opened.Context.Equal(to) {
		t.Errorf("decrypt of the moved key: %v", err)
	}
	// An object sealed under the new context has the KEK that the moved key is under.
	if _, err := s.Vault.Rekey(t.Context(), s.MustCallAs(t, "guest"), vault.RekeyRequest{Context: to, Blob: made.Blob}); !errors.Is(err, access.ErrDenied) {
		t.Errorf("without permission: got %v, want ErrDenied", err)
	}
}

// The trail of a data key: which key, under which KEK and context; a rekey tells both sides of the move.
func TestDataKeyTrail(t *testing.T) {
	s := vaulttest.New(t)
	from, to := vaulttest.MustContext(t, "organization_id", "org_1"), vaulttest.MustContext(t, "organization_id", "org_2")
	call := s.Call()
	made, err := s.Vault.CreateDataKey(t.Context(), call, from)
	must(t, err)
	must(t, errOf(s.Vault.DecryptDataKey(t.Context(), call, made.Blob)))
	moved, err := s.Vault.Rekey(t.Context(), call, vault.RekeyRequest{Context: to, Blob: made.Blob})
	must(t, err)
	old, err := s.Keys.ParseDataKey(made.Blob)
	must(t, err)
	fresh, err := s.Keys.ParseDataKey(moved.Blob)
	must(t, err)

	type line struct {
		Phase                         audit.Phase
		ObjectID, KeyID, Organization string
	}
	var got []line
	for _, r := range s.MustAuditOf(t, call.RequestID) {
		got = append(got, line{r.Phase, r.ObjectID, r.KeyID, r.KeyContext["organization_id"]})
	}
	want := []line{
		{audit.Intent, "", "", "org_1"},
		{audit.Outcome, made.ID, string(old.KeyID), "org_1"},
		{audit.Access, made.ID, string(old.KeyID), "org_1"},
		{audit.Intent, made.ID, string(old.KeyID), "org_1"},
		{audit.Outcome, made.ID, string(fresh.KeyID), "org_2"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("audit records (-got +want):\n%s", diff)
	}
}
