package admission_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// caller calls a replica with one API key, over and over, and notes what came of calls that began after the
// change was acknowledged.
type caller struct {
	replica *vaulttest.Stack
	key     access.APIKey
	object  vault.ObjectID
	// acknowledged is set once the change has returned.
	acknowledged *atomic.Bool

	before, after atomic.Int64
	// late is the first call that began afterwards and did not end with want.
	late atomic.Pointer[string]
	want error
}

// call is one call, from the text of the key to the value.
func (c *caller) call(t *testing.T) error {
	actor, err := c.replica.Gate.Authenticate(t.Context(), c.key)
	if err == nil {
		_, err = c.replica.Vault.Get(t.Context(), access.Call{Actor: actor, RequestID: "req_" + id.ULID(time.Now())}, c.object)
	}
	return err
}

// run calls until it has seen enough behind the change, or done is closed.
func (c *caller) run(t *testing.T, done <-chan struct{}) {
	for c.after.Load() < 20 {
		select {
		case <-done:
			return
		default:
		}
		began := c.acknowledged.Load()
		err := c.call(t)
		switch {
		case !began && err == nil:
			c.before.Add(1)
		case began:
			c.after.Add(1)
			if !errors.Is(err, c.want) {
				text := "a call succeeded"
				if err != nil {
					text = err.Error()
				}
				c.late.CompareAndSwap(nil, &text)
			}
		}
	}
}

// TestChangesHoldOnEveryReplica: from the acknowledgement of a change on, no call on another replica goes by what
// was before. It asks for an order and not for a time: the other replica's watch is behind on purpose.
func TestChangesHoldOnEveryReplica(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	replica := s.Replica(t, func(c *vaulttest.Config) { c.WatchDelay = 30 * time.Millisecond })
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
			var acknowledged atomic.Bool
			done := make(chan struct{})
			var work sync.WaitGroup
			callers := []*caller{
				{replica: replica, key: key, want: c.want}, {replica: replica, key: key, want: c.want}, {replica: s, key: key, want: c.want},
				{replica: replica, key: s.APIKey, want: nil}, // the twin: another key goes on
			}
			for _, each := range callers {
				each.acknowledged, each.object = &acknowledged, m.ID
				work.Go(func() { each.run(t, done) })
			}
			for _, each := range callers {
				eventually(t, "calls that succeed", func() bool { return each.before.Load() > 2 })
			}
			must(t, c.change(made.ID))
			acknowledged.Store(true)
			for _, each := range callers {
				eventually(t, "calls behind the change", func() bool { return each.after.Load() >= 20 })
			}
			close(done)
			work.Wait()
			for i, each := range callers {
				if late := each.late.Load(); late != nil {
					t.Errorf("caller %d, behind the change: %s, want %v", i, *late, each.want)
				}
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
