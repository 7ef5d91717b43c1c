package admission_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// held stalls the watch of a replica as long as it is closed.
type held struct {
	mu   sync.Mutex
	open chan struct{} // guarded by mu; nil is open
}

func (h *held) wait(ctx context.Context) {
	h.mu.Lock()
	open := h.open
	h.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case <-open:
	case <-ctx.Done():
	}
}

// close stalls the watch until what it returns is called.
func (h *held) close() (release func()) {
	open := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = open
	return sync.OnceFunc(func() {
		h.mu.Lock()
		h.open = nil
		h.mu.Unlock()
		close(open)
	})
}

// TestChangesHoldOnEveryReplica: from the acknowledgement of a change on, no call on another replica goes by what
// was before. It asks for an order and not for a time: the other replica's memory is held back on purpose, so that
// it lets the caller in by what it remembers, and only the fence stands between.
func TestChangesHoldOnEveryReplica(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	var watch held
	replica := s.Replica(t, func(c *vaulttest.Config) { c.HoldWatch = watch.wait })
	m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
		Name: "thing", Value: vaulttest.Value("v"), Context: vaulttest.MustContext(t, "organization_id", "org_1"),
	})
	must(t, err)
	rules := func(scope access.Scope) admission.RoleRequest {
		return admission.RoleRequest{Name: "changing", Rules: []access.Rule{{Effect: access.Allow, Actions: []access.Action{access.DataRead}, Scope: scope}}}
	}
	must(t, errOf(s.Register.CreateRole(t.Context(), s.Call(), rules(access.Scope{}))))
	for _, c := range []struct {
		name   string
		role   access.Role
		change func(keyID string) error
		want   error
	}{
		{"revoked", access.RoleReader, func(keyID string) error {
			return s.Register.Revoke(t.Context(), s.Call(), admission.RevokeRequest{ID: keyID})
		}, access.ErrUnauthenticated},
		{"expired", access.RoleReader, func(keyID string) error {
			return errOf(s.Register.Expire(t.Context(), s.Call(), admission.ExpireRequest{ID: keyID}))
		}, access.ErrUnauthenticated},
		{"replaced at once", access.RoleReader, func(keyID string) error {
			return errOf(s.Register.Rotate(t.Context(), s.Call(), admission.RotateRequest{ID: keyID, Overlap: new(time.Duration)}))
		}, access.ErrUnauthenticated},
		{"role with another scope", "changing", func(string) error {
			return errOf(s.Register.ReplaceRole(t.Context(), s.Call(), rules(access.Scope{Organization: "org_2"})))
		}, access.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, err := s.Register.Create(t.Context(), s.Call(), admission.CreateRequest{Name: c.name, Role: c.role})
			must(t, err)
			key, err := access.ParseAPIKey(string(made.Text.Reveal()))
			must(t, err)
			get := func(key access.APIKey) error {
				call := access.Call{Actor: replica.MustActor(t, key), RequestID: "req_" + id.ULID(time.Now())}
				return errOf(replica.Vault.Get(t.Context(), call, m.ID))
			}
			must(t, get(key)) // before
			release := watch.close()
			defer release()
			must(t, c.change(made.ID))
			// The replica lets it in: it does not know yet. The twin is another key, which goes on.
			calls := []access.Call{{Actor: replica.MustActor(t, key)}, {Actor: replica.MustActor(t, s.APIKey)}}
			errs := make([]error, len(calls))
			var work sync.WaitGroup
			for i, call := range calls {
				work.Go(func() { errs[i] = errOf(replica.Vault.Get(t.Context(), call, m.ID)) })
			}
			release()
			work.Wait()
			if !errors.Is(errs[0], c.want) || errs[1] != nil {
				t.Errorf("behind the change: %v, want %v; with another key: %v", errs[0], c.want, errs[1])
			}
		})
	}
}

// TestTheLastTwoKeys: of two administrators who revoke each other, on two replicas, one stays.
func TestTheLastTwoKeys(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	replica := s.Replica(t)
	for round := range 5 {
		one, other := s.MustAPIKey(t, access.RoleAdmin), s.MustAPIKey(t, access.RoleAdmin)
		must(t, s.Store.Fence(t.Context()))
		calls := []access.Call{{Actor: s.MustActor(t, one), RequestID: "req_1"}, {Actor: replica.MustActor(t, other), RequestID: "req_2"}}
		if round == 0 { // a key that goes, so that there are two
			must(t, s.Register.Revoke(t.Context(), calls[0], admission.RevokeRequest{ID: s.APIKey.ID}))
		}
		mustRevokeOthers(t, s, calls[0], one.ID, other.ID)
		errs := make([]error, 2)
		var work sync.WaitGroup
		work.Go(func() { errs[0] = s.Register.Revoke(t.Context(), calls[0], admission.RevokeRequest{ID: other.ID}) })
		work.Go(func() { errs[1] = replica.Register.Revoke(t.Context(), calls[1], admission.RevokeRequest{ID: one.ID}) })
		work.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("they ended with %v and %v", errs[0], errs[1])
		}
		must(t, s.Store.Fence(t.Context()))
		all, _, err := s.Store.APIKeys(t.Context(), s.Environment.ID())
		must(t, err)
		left := 0
		for _, k := range all {
			if k.Record.Unlimited() && k.Record.Usable(time.Now()) {
				left++
			}
		}
		if left != 1 {
			t.Fatalf("%d keys with every right are left", left)
		}
	}
}

// TestRotationKeepsAnAdministrator: the last key with every right is not replaced by one that ends sooner; another one
// may be, and so may the last once there is a key that stays.
func TestRotationKeepsAnAdministrator(t *testing.T) {
	s := vaulttest.New(t)
	ctx, now := t.Context(), time.Duration(0)
	q := admission.RotateRequest{ID: s.APIKey.ID, Overlap: &now, Lifetime: admission.Lifetime{In: time.Hour}}
	if _, err := s.Register.Rotate(ctx, s.Call(), q); !errors.Is(err, admission.ErrLastKey) {
		t.Errorf("the last key with every right: %v", err)
	}
	reader, err := s.Register.Create(ctx, s.Call(), admission.CreateRequest{Name: "reader", Role: access.RoleReader})
	must(t, err)
	must(t, errOf(s.Register.Rotate(ctx, s.Call(), admission.RotateRequest{ID: reader.ID, Lifetime: q.Lifetime})))
	s.MustAPIKey(t, access.RoleAdmin)
	must(t, errOf(s.Register.Rotate(ctx, s.Call(), q)))
}

// mustRevokeOthers leaves two keys.
func mustRevokeOthers(t *testing.T, s *vaulttest.Stack, call access.Call, but ...string) {
	t.Helper()
	all, _, err := s.Store.APIKeys(t.Context(), s.Environment.ID())
	must(t, err)
	for _, k := range all {
		if k.Record.ID != but[0] && k.Record.ID != but[1] {
			must(t, s.Register.Revoke(t.Context(), call, admission.RevokeRequest{ID: k.Record.ID}))
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// eventually waits for a condition, however loaded the machine is.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}
