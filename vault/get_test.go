package vault_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestGet(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	s.MustCreate(t, "bystander", "other")

	// Case 1: by id and by name give the same; describe gives it without the value.
	byID := s.MustGet(t, m.ID)
	byName, err := s.Vault.GetByName(t.Context(), s.Call(), "n")
	if err != nil {
		t.Fatal(err)
	}
	described, err := s.Vault.Describe(t.Context(), s.Call(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(byID.Value.Reveal()) != "v1" || !byName.Value.Equal(byID.Value) {
		t.Error("the value came back changed")
	}
	if described.Value.Len() != 0 {
		t.Error("describe opened the value")
	}
	byID.Value, byName.Value = described.Value, described.Value
	for _, got := range []vault.Object{byName, described} {
		if diff := cmp.Diff(got, byID, compareContexts(), compareSecrets()); diff != "" {
			t.Errorf("differs from get by id:\n%s", diff)
		}
	}

	// Case 2: what no object has or can have is not found, by any method.
	for _, id := range []string{
		"", "x", "..", "name", strings.Repeat("0", 36), strings.ToUpper(string(m.ID)), string(m.ID) + " ",
		string(m.ID) + "/", string(m.VersionID), "../" + string(m.ID), strings.Repeat("a", 1<<16),
	} {
		if _, err := s.Vault.Get(t.Context(), s.Call(), vault.ObjectID(id)); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("get %.40q: got %v, want ErrNotFound", id, err)
		}
		if _, err := s.Vault.Describe(t.Context(), s.Call(), vault.ObjectID(id)); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("describe %.40q: got %v, want ErrNotFound", id, err)
		}
	}
	for _, name := range []string{"", ".", "N", "n ", "nn", "\xff", "\x00", strings.Repeat("n", 201)} {
		if _, err := s.Vault.GetByName(t.Context(), s.Call(), name); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("get by name %.40q: got %v, want ErrNotFound", name, err)
		}
	}
}

// A revoked or foreign caller is stopped behind the fence, although it was authenticated before.
func TestGetOfUnknownActor(t *testing.T) {
	s, other := vaulttest.New(t), vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	if _, err := s.Vault.Get(t.Context(), other.Call(), m.ID); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("an actor of another store: got %v, want ErrUnauthenticated", err)
	}
	if _, err := s.Vault.Get(t.Context(), access.Call{}, m.ID); !errors.Is(err, access.ErrDenied) {
		t.Errorf("the zero actor: got %v, want ErrDenied", err)
	}
	s.MustGet(t, m.ID)
}

// interposed fails, delays or changes single reads of the real store.
type interposed struct {
	vault.Store
	header     func(vault.Stored, error) (vault.Stored, error)
	ciphertext func(vault.ObjectID, uint64) ([]byte, error)
}

func (i *interposed) Header(ctx context.Context, env access.EnvironmentID, id vault.ObjectID) (vault.Stored, error) {
	found, err := i.Store.Header(ctx, env, id)
	if i.header != nil {
		return i.header(found, err)
	}
	return found, err
}

func (i *interposed) HeaderByName(ctx context.Context, env access.EnvironmentID, name string) (vault.Stored, error) {
	found, err := i.Store.HeaderByName(ctx, env, name)
	if i.header != nil {
		return i.header(found, err)
	}
	return found, err
}

func (i *interposed) Ciphertext(ctx context.Context, env access.EnvironmentID, id vault.ObjectID, sequence uint64) ([]byte, error) {
	if i.ciphertext != nil {
		return i.ciphertext(id, sequence)
	}
	return i.Store.Ciphertext(ctx, env, id, sequence)
}

// withInterposed is a stack whose vault reads through an interposed store.
func withInterposed(t *testing.T, limits vault.Limits) (*vaulttest.Stack, *interposed) {
	t.Helper()
	i := new(interposed)
	s := vaulttest.WithConfig(t, vaulttest.Config{
		Limits: limits,
		Wrap:   func(store vault.Store) vault.Store { i.Store = store; return i },
	})
	return s, i
}

// Between the reads of header and ciphertext the version can be pruned: the read starts again.
func TestGetWhileVersionIsPruned(t *testing.T) {
	s, store := withInterposed(t, vault.Limits{VersionsKept: 1})
	m := s.MustCreate(t, "n", "v1")
	updater := s.Replica(t)
	rounds := 0
	store.ciphertext = func(id vault.ObjectID, sequence uint64) ([]byte, error) {
		if rounds++; rounds <= 3 {
			updater.MustUpdate(t, id, "v2")
			if err := store.Fence(t.Context()); err != nil {
				t.Error(err)
			}
		}
		return store.Store.Ciphertext(t.Context(), m.Environment, id, sequence)
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "v2" || rounds != 4 {
		t.Errorf("value of %d bytes after %d rounds", got.Value.Len(), rounds)
	}

	// Twin 1: deleted meanwhile is not found.
	store.ciphertext = func(id vault.ObjectID, sequence uint64) ([]byte, error) {
		updater.MustDelete(t, id)
		return nil, vault.ErrNotFound
	}
	if _, err := s.Vault.Get(t.Context(), s.Call(), m.ID); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("deleted meanwhile: got %v, want ErrNotFound", err)
	}

	// Twin 2: a version that is gone under a header that stands was removed by someone else.
	store.ciphertext = nil
	m = s.MustCreate(t, "n", "v1")
	store.ciphertext = func(vault.ObjectID, uint64) ([]byte, error) { return nil, vault.ErrNotFound }
	if _, err := s.Vault.Get(t.Context(), s.Call(), m.ID); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("missing ciphertext: got %v, want ErrTampered", err)
	}
}

// What the store hands out is compared with what was asked for, and nothing is returned that no seal
// has proved.
func TestGetFromDishonestStore(t *testing.T) {
	s, store := withInterposed(t, vault.Limits{})
	m := s.MustCreate(t, "n", "v1")
	other := s.MustCreate(t, "other", "v2")
	swap := func(change func(*vault.Header)) func(vault.Stored, error) (vault.Stored, error) {
		return func(found vault.Stored, err error) (vault.Stored, error) {
			if err != nil {
				return found, err
			}
			h := *found.Header
			h.Versions = append([]vault.VersionHeader(nil), h.Versions...)
			change(&h)
			h.Prepare() // as the store does with what it has read
			found.Header = &h
			return found, nil
		}
	}
	read := func() map[string]error {
		_, byID := s.Vault.Get(t.Context(), s.Call(), m.ID)
		_, byName := s.Vault.GetByName(t.Context(), s.Call(), "n")
		return map[string]error{"by id": byID, "by name": byName}
	}
	for what, change := range map[string]func(*vault.Header){
		"name":        func(h *vault.Header) { h.Name = "renamed" },
		"id":          func(h *vault.Header) { h.ID = other.ID },
		"environment": func(h *vault.Header) { h.Environment = "01ARZ3NDEKTSV4RRFFQ69G5FAV" },
		"context":     func(h *vault.Header) { h.Items = map[string]string{"organization_id": "org_2"} },
		"key id":      func(h *vault.Header) { h.KeyID = keys.ID(h.ID) },
		"created at":  func(h *vault.Header) { h.CreatedAt = h.CreatedAt.Add(1000) },
		"updated at":  func(h *vault.Header) { h.Versions[0].CreatedAt = h.Versions[0].CreatedAt.Add(1000) },
		"author":      func(h *vault.Header) { h.Versions[0].Author.Name = "someone else" },
		"version id":  func(h *vault.Header) { h.Versions[0].ID = vault.VersionID(h.ID) },
		"sequence":    func(h *vault.Header) { h.Versions[0].Sequence++ },
		"no versions": func(h *vault.Header) { h.Versions = nil },
		"wrapped DEK": func(h *vault.Header) { h.Versions[0].WrappedDEK = append([]byte{1}, h.Versions[0].WrappedDEK...) },
	} {
		store.header = swap(change)
		for how, err := range read() {
			if !errors.Is(err, keys.ErrTampered) && !errors.Is(err, keys.ErrKEKNotFound) {
				t.Errorf("another %s, %s: got %v, want an integrity error", what, how, err)
			}
		}
	}
	store.header = swap(func(*vault.Header) {})
	for how, err := range read() {
		if err != nil {
			t.Errorf("the untouched header, %s: %v", how, err)
		}
	}
	// A whole genuine record in the place of another: only the question tells that it is wrong.
	store.header = func(vault.Stored, error) (vault.Stored, error) {
		return store.Store.Header(t.Context(), m.Environment, other.ID)
	}
	for how, err := range ask(t, s, m.ID, "n") {
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("another object's header, %s: got %v, want ErrTampered", how, err)
		}
	}
	// What is answered without opening anything rests on the record's own environment.
	store.header = swap(func(h *vault.Header) { h.Environment = "01ARZ3NDEKTSV4RRFFQ69G5FAV" })
	for how, err := range ask(t, s, m.ID, "n") {
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("another environment's header, %s: got %v, want ErrTampered", how, err)
		}
	}
	store.header = nil
	// The ciphertext of another object, and of another version of the same one.
	store.ciphertext = func(vault.ObjectID, uint64) ([]byte, error) {
		return store.Store.Ciphertext(t.Context(), m.Environment, other.ID, 1)
	}
	for how, err := range read() {
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("another object's ciphertext, %s: got %v, want ErrTampered", how, err)
		}
	}
	store.ciphertext = nil
	s.MustUpdate(t, m.ID, "v3")
	store.ciphertext = func(id vault.ObjectID, _ uint64) ([]byte, error) {
		return store.Store.Ciphertext(t.Context(), m.Environment, id, 1)
	}
	for how, err := range read() {
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("an older version's ciphertext, %s: got %v, want ErrTampered", how, err)
		}
	}
}

// ask calls everything that begins with an object.
func ask(t *testing.T, s *vaulttest.Stack, id vault.ObjectID, name string) map[string]error {
	t.Helper()
	return map[string]error{
		"get":         errOf(s.Vault.Get(t.Context(), s.Call(), id)),
		"get by name": errOf(s.Vault.GetByName(t.Context(), s.Call(), name)),
		"describe":    errOf(s.Vault.Describe(t.Context(), s.Call(), id)),
		"versions":    errOf(s.Vault.Versions(t.Context(), s.Call(), id)),
		"update":      errOf(s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: id, Value: vaulttest.Value("v")})),
		"delete":      errOf(s.Vault.Delete(t.Context(), s.Call(), vault.DeleteRequest{ID: id})),
	}
}
