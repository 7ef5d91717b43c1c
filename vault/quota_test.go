package vault_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

// TestQuotaOfObjects: creates of three replicas at once fill an environment to the object, none passes the quota, and
// a restart counts the same. What is there is read, updated and deleted on; the repetition of a create that took the
// last of the quota is still answered.
func TestQuotaOfObjects(t *testing.T) {
	const quota = 7
	s := vaulttest.WithConfig(t, vaulttest.Config{Quota: vault.Quota{Objects: quota}})
	kept, err := s.Vault.Create(t.Context(), s.Call(), request(t, "k", "first", "v"))
	must(t, err)
	replicas := []*vaulttest.Stack{s, s.Replica(t), s.Replica(t)}
	var group sync.WaitGroup
	var mu sync.Mutex
	made := 1
	for i := range 5 * quota {
		group.Go(func() {
			r := replicas[i%len(replicas)]
			_, err := r.Vault.Create(t.Context(), r.Call(), create(t, fmt.Sprintf("n-%d", i), "v"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case !errors.Is(err, vault.ErrTooManyObjects):
				t.Errorf("create: %v", err)
			}
		})
	}
	group.Wait()
	if made != quota {
		t.Errorf("%d objects, the quota is %d", made, quota)
	}
	for _, r := range append(replicas, s.Replica(t)) {
		has, err := r.Vault.Usage(t.Context(), r.Call())
		must(t, err)
		if has.Objects != quota || has.Quota.Objects != quota || has.AtLeast {
			t.Errorf("usage %+v", has)
		}
	}
	again, err := s.Vault.Create(t.Context(), s.Call(), request(t, "k", "first", "v"))
	if err != nil || again.ID != kept.ID {
		t.Errorf("a repetition at the quota: %v", err)
	}
	s.MustUpdate(t, kept.ID, "v2")
	s.MustGet(t, kept.ID)
	s.MustDelete(t, kept.ID)
	last := replicas[1]
	if _, err := last.Vault.Create(t.Context(), last.Call(), create(t, "room", "v")); err != nil {
		t.Errorf("in the place of a deleted one: %v", err)
	}
	if _, err := s.Vault.Create(t.Context(), s.Call(), create(t, "beyond", "v")); !errors.Is(err, vault.ErrTooManyObjects) {
		t.Errorf("beyond: %v", err)
	}
}

// TestQuotaOfBytes: all kept versions count, of whatever replica; what shrinks, and what is pruned, makes room.
func TestQuotaOfBytes(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Quota: vault.Quota{Bytes: 10_000}, Limits: vault.Limits{VersionsKept: 2}})
	r := s.Replica(t)
	object := s.MustCreate(t, "n", strings.Repeat("v", 4000)).ID
	update := func(s *vaulttest.Stack, n int) error {
		_, err := s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: object, Value: vaulttest.Value(strings.Repeat("w", n))})
		return err
	}
	must(t, update(r, 4000))
	for _, each := range []*vaulttest.Stack{s, r} {
		if _, err := each.Vault.Create(t.Context(), each.Call(), create(t, "m", strings.Repeat("v", 3000))); !errors.Is(err, vault.ErrTooManyBytes) {
			t.Errorf("a create beyond: %v", err)
		}
		if err := update(each, 7000); !errors.Is(err, vault.ErrTooManyBytes) {
			t.Errorf("an update beyond: %v", err)
		}
	}
	must(t, update(s, 4000)) // in the place of the oldest, which is pruned
	must(t, update(s, 100))
	must(t, update(r, 100))
	has, err := s.Vault.Usage(t.Context(), s.Call())
	must(t, err)
	if has.Bytes < 200 || has.Bytes > 600 {
		t.Errorf("two versions of 100 bytes take %d", has.Bytes)
	}
	s.MustCreate(t, "m", strings.Repeat("v", 3000))
	s.MustDelete(t, object)
	if has, err = r.Vault.Usage(t.Context(), r.Call()); err != nil || has.Objects != 1 || has.Bytes < 3000 || has.Bytes > 3200 {
		t.Errorf("after a delete: %+v, %v", has, err)
	}
}

func create(t *testing.T, name, value string) vault.CreateRequest {
	t.Helper()
	return vault.CreateRequest{Name: name, Value: vaulttest.Value(value), Context: vaulttest.MustContext(t, "organization_id", "org_1")}
}
