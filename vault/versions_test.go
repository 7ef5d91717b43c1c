package vault_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestVersions(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Limits: vault.Limits{VersionsKept: 3}})
	m := s.MustCreate(t, "n", "value 1")
	made := []vault.VersionID{m.VersionID}
	for i := range 5 {
		made = append(made, s.MustUpdate(t, m.ID, fmt.Sprint("value ", i+2)).Metadata.VersionID)
		versions, err := s.Vault.Versions(t.Context(), s.Call(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		// Kept are the newest three, oldest first, and the last of them is current.
		want := made[max(0, len(made)-3):]
		if len(versions) != len(want) {
			t.Fatalf("after %d updates %d versions are listed, want %d", i+1, len(versions), len(want))
		}
		for j, v := range versions {
			if v.ID != want[j] || v.Current != (j == len(want)-1) {
				t.Errorf("version %d is %q (current: %v), want %q", j, v.ID, v.Current, want[j])
			}
			checkStoredVersion(t, s, m.ID, uint64(len(made)-len(want)+j+1), v)
		}
		mustFence(t, s)
		// What was pruned is gone from the store, not only from the list.
		for sequence := 1; sequence <= len(made)-len(want); sequence++ {
			_, err := s.Store.Ciphertext(t.Context(), m.Environment, m.ID, uint64(sequence))
			if !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("ciphertext of pruned version %d: got %v, want ErrNotFound", sequence, err)
			}
		}
	}
	if _, err := s.Vault.Versions(t.Context(), s.Call(), vault.ObjectID(m.VersionID)); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("versions of nothing: got %v, want ErrNotFound", err)
	}
}

// checkStoredVersion compares etag and size with the stored ciphertext.
func checkStoredVersion(t *testing.T, s *vaulttest.Stack, id vault.ObjectID, sequence uint64, v vault.Version) {
	t.Helper()
	ciphertext, err := s.Store.Ciphertext(t.Context(), s.Environment.ID(), id, sequence)
	if err != nil {
		t.Fatalf("ciphertext of version %d: %v", sequence, err)
	}
	sum := sha256.Sum256(ciphertext)
	if want := hex.EncodeToString(sum[:])[:32]; v.ETag != want || v.Size != len(ciphertext) {
		t.Errorf("version %d has etag %q and size %d, want %q and %d", sequence, v.ETag, v.Size, want, len(ciphertext))
	}
}

// Every version has a DEK of its own: the same value twice leaves nothing equal in the store.
func TestVersionsShareNothing(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "same")
	s.MustUpdate(t, m.ID, "same")
	mustFence(t, s)
	found, err := s.Store.Header(t.Context(), m.Environment, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	a, b := found.Versions[0], found.Versions[1]
	if string(a.WrappedDEK) == string(b.WrappedDEK) || a.ETag == b.ETag {
		t.Error("two versions of one value have the same wrapped DEK or ciphertext")
	}
}

// A lower limit prunes an object at its next update, by as many versions as it takes.
func TestVersionsKeptLowered(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	for range 5 {
		s.MustUpdate(t, m.ID, "v")
	}
	lowered, err := vault.New(vault.Config{
		Store: s.Store, Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit, IDs: s.IDs,
		Limits: vault.Limits{VersionsKept: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := lowered.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("last")})
	if err != nil {
		t.Fatal(err)
	}
	versions, err := lowered.Versions(t.Context(), s.Call(), m.ID)
	if err != nil || len(versions) != 1 || versions[0].ID != o.Metadata.VersionID || !versions[0].Current {
		t.Errorf("versions after lowering the limit: %v, %v", versions, err)
	}
	mustFence(t, s)
	for sequence := range uint64(6) {
		if _, err := s.Store.Ciphertext(t.Context(), m.Environment, m.ID, sequence+1); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("ciphertext of pruned version %d: got %v, want ErrNotFound", sequence+1, err)
		}
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "last" {
		t.Error("the last value is not there")
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	s := vaulttest.New(t)
	good := vault.Config{
		Store: s.Store, Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit, IDs: s.IDs,
	}
	if _, err := vault.New(good); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*vault.Config){
		"no store":          func(c *vault.Config) { c.Store = nil },
		"no keys":           func(c *vault.Config) { c.Keys = nil },
		"no environments":   func(c *vault.Config) { c.Environments = nil },
		"no gate":           func(c *vault.Config) { c.Gate = nil },
		"no audit":          func(c *vault.Config) { c.Audit = nil },
		"no ids":            func(c *vault.Config) { c.IDs = nil },
		"negative value":    func(c *vault.Config) { c.Limits.MaxValueBytes = -1 },
		"too large a value": func(c *vault.Config) { c.Limits.MaxValueBytes = 1<<20 + 1 },
		"negative versions": func(c *vault.Config) { c.Limits.VersionsKept = -1 },
		"too many versions": func(c *vault.Config) { c.Limits.VersionsKept = 101 },
	} {
		c := good
		spoil(&c)
		if _, err := vault.New(c); err == nil {
			t.Errorf("%s: New accepted it", what)
		}
	}
}
