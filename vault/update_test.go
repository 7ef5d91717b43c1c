package vault_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestUpdate(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	updated := s.MustUpdate(t, m.ID, "v2")

	if updated.Value.Len() != 0 || updated.Name != "n" {
		t.Errorf("update answered name %q and a value of %d bytes, want no value", updated.Name, updated.Value.Len())
	}
	got := s.MustGet(t, m.ID)
	if string(got.Value.Reveal()) != "v2" {
		t.Error("get after update gives another value")
	}
	if diff := cmp.Diff(got.Metadata, updated.Metadata, compareContexts()); diff != "" {
		t.Errorf("metadata of get and update differ (-get +update):\n%s", diff)
	}
	if !got.Metadata.Context.Equal(m.Context) || got.Metadata.KeyID != m.KeyID || got.Metadata.ID != m.ID {
		t.Error("an update changed what is immutable")
	}
	if got.Metadata.VersionID <= m.VersionID || !got.Metadata.UpdatedAt.After(m.UpdatedAt) {
		t.Errorf("version %q at %v does not follow %q at %v", got.Metadata.VersionID, got.Metadata.UpdatedAt, m.VersionID, m.UpdatedAt)
	}
	_, err := s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: "nobody", Value: vaulttest.Value("v")})
	if !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("update of nothing: got %v, want ErrNotFound", err)
	}
}

func TestUpdateVersionCheck(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	update := func(value string, check vault.VersionID) error {
		_, err := s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value(value), IfVersion: &check})
		return err
	}
	if err := update("v2", m.VersionID); err != nil {
		t.Fatalf("the current version: %v", err)
	}
	for _, check := range []vault.VersionID{m.VersionID, "", "x", vault.VersionID(m.ID)} {
		if err := update("v3", check); !errors.Is(err, vault.ErrVersion) {
			t.Errorf("version check %q: got %v, want ErrVersion", check, err)
		}
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "v2" {
		t.Error("a refused update changed the object")
	}
	// A version of another object is no version of this one.
	other := s.MustCreate(t, "other", "v")
	if err := update("v3", other.VersionID); !errors.Is(err, vault.ErrVersion) {
		t.Errorf("another object's version: got %v, want ErrVersion", err)
	}
}

// 64 writers with one version check, on two replicas so that no lock of one process helps: exactly one
// wins, and what it wrote is there.
func TestUpdateRaceWithVersionCheck(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	m := s.MustCreate(t, "n", "v0")
	const writers = 64
	results := make([]error, writers)
	versions := make([]vault.VersionID, writers)
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			o, err := r.Vault.Update(t.Context(), r.Call(), vault.UpdateRequest{
				ID: m.ID, Value: vaulttest.Value(fmt.Sprint("writer ", i)), IfVersion: &m.VersionID,
			})
			results[i], versions[i] = err, o.Metadata.VersionID
		})
	}
	group.Wait()
	wantOneWinner(t, results, vault.ErrVersion)
	got := s.MustGet(t, m.ID)
	for i, err := range results {
		if err == nil && (got.Metadata.VersionID != versions[i] || string(got.Value.Reveal()) != fmt.Sprint("writer ", i)) {
			t.Error("what is stored is not what the winner wrote")
		}
	}
}

// Without a version check every writer wins, and none of their versions is lost or doubled.
func TestUpdateRaceLastWriterWins(t *testing.T) {
	const writers = 32
	s := vaulttest.WithConfig(t, vaulttest.Config{Limits: vault.Limits{VersionsKept: writers + 1}})
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	m := s.MustCreate(t, "n", "v0")
	written := make([]vault.VersionID, writers)
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			o, err := r.Vault.Update(t.Context(), r.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v")})
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			written[i] = o.Metadata.VersionID
		})
	}
	group.Wait()
	versions, err := s.Vault.Versions(t.Context(), s.Call(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[vault.VersionID]bool{m.VersionID: true}
	for _, v := range written {
		stored[v] = true
	}
	if len(versions) != writers+1 || len(stored) != writers+1 {
		t.Errorf("%d versions are stored and %d were acknowledged, want %d", len(versions), len(stored), writers+1)
	}
	for i, v := range versions {
		if !stored[v.ID] {
			t.Errorf("version %q was never acknowledged", v.ID)
		}
		if i > 0 && !v.CreatedAt.After(versions[i-1].CreatedAt) {
			t.Errorf("version %d is not later than the one before", i)
		}
	}
}

// A replica whose clock is behind must not take an object back in time.
func TestUpdateTimeNeverGoesBack(t *testing.T) {
	var behind atomic.Int64 // what the clock is slow by
	s := vaulttest.WithConfig(t, vaulttest.Config{Now: func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }})
	m := s.MustCreate(t, "n", "v1")
	behind.Store(int64(time.Second))
	second := s.MustUpdate(t, m.ID, "v2")
	behind.Store(int64(time.Hour))
	third := s.MustUpdate(t, m.ID, "v3")
	if !second.Metadata.UpdatedAt.After(m.UpdatedAt) || !third.Metadata.UpdatedAt.After(second.Metadata.UpdatedAt) {
		t.Errorf("updated at %v, then %v, then %v", m.UpdatedAt, second.Metadata.UpdatedAt, third.Metadata.UpdatedAt)
	}
	if third.Metadata.VersionID <= second.Metadata.VersionID || second.Metadata.VersionID <= m.VersionID {
		t.Error("version ids went back with the clock")
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "v3" {
		t.Error("the last update is not the current version")
	}
}

// The version ids of an object rise although its writers' clocks differ.
func TestUpdateFromSlowReplica(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	slow, err := vault.New(vault.Config{
		Store: s.Store, Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit,
		IDs: id.NewClock(func() time.Time { return time.Now().Add(-id.MaxAhead / 2) }),
	})
	must(t, err)
	o, err := slow.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")})
	must(t, err)
	if o.Metadata.VersionID <= m.VersionID {
		t.Errorf("version %q follows %q", o.Metadata.VersionID, m.VersionID)
	}
}

func TestDelete(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	second := s.MustUpdate(t, m.ID, "v2").Metadata.VersionID
	remove := func(check *vault.VersionID) (string, error) {
		return s.Vault.Delete(t.Context(), s.Call(), vault.DeleteRequest{ID: m.ID, IfVersion: check})
	}
	// Case 1: an old version check deletes nothing.
	if _, err := remove(&m.VersionID); !errors.Is(err, vault.ErrVersion) {
		t.Errorf("old version check: got %v, want ErrVersion", err)
	}
	s.MustGet(t, m.ID)
	// Case 2: the current one deletes, and answers the name.
	if name, err := remove(&second); err != nil || name != "n" {
		t.Fatalf("delete answered %q, %v", name, err)
	}
	// Case 3: nothing finds it any more.
	for what, err := range map[string]error{
		"get":          errOf(s.Vault.Get(t.Context(), s.Call(), m.ID)),
		"get by name":  errOf(s.Vault.GetByName(t.Context(), s.Call(), "n")),
		"describe":     errOf(s.Vault.Describe(t.Context(), s.Call(), m.ID)),
		"versions":     errOf(s.Vault.Versions(t.Context(), s.Call(), m.ID)),
		"update":       errOf(s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID})),
		"delete again": errOf(remove(nil)),
		"delete check": errOf(remove(&second)),
	} {
		if !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("%s after delete: got %v, want ErrNotFound", what, err)
		}
	}
	// Case 4: without a check whatever is current is deleted.
	m = s.MustCreate(t, "n", "v3")
	s.MustUpdate(t, m.ID, "v4")
	if name, err := remove(nil); err != nil || name != "n" {
		t.Errorf("delete without a check answered %q, %v", name, err)
	}
}

func TestDeleteRace(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	m := s.MustCreate(t, "n", "v1")
	results := make([]error, 16)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			_, results[i] = r.Vault.Delete(t.Context(), r.Call(), vault.DeleteRequest{ID: m.ID})
		})
	}
	group.Wait()
	wantOneWinner(t, results, vault.ErrNotFound)
}

func TestChangesNeedPermission(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	guest := s.MustCallAs(t, "guest")
	_, err := s.Vault.Update(t.Context(), guest, vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")})
	if !errors.Is(err, access.ErrDenied) {
		t.Errorf("update: got %v, want ErrDenied", err)
	}
	if _, err = s.Vault.Delete(t.Context(), guest, vault.DeleteRequest{ID: m.ID}); !errors.Is(err, access.ErrDenied) {
		t.Errorf("delete: got %v, want ErrDenied", err)
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "v1" {
		t.Error("a denied call changed the object")
	}
}
