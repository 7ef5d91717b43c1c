package environments_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/environments"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// useCases are all of them, by the names of the methods.
func useCases() map[string]struct {
	action access.Action
	call   func(context.Context, *environments.Environments, access.Call) (any, error)
} {
	type row = struct {
		action access.Action
		call   func(context.Context, *environments.Environments, access.Call) (any, error)
	}
	return map[string]row{
		"Create": {access.EnvironmentsCreate, func(ctx context.Context, es *environments.Environments, call access.Call) (any, error) {
			made, err := es.Create(ctx, call, environments.CreateRequest{Name: "made"})
			return made.Environment, err
		}},
		"All": {access.EnvironmentsRead, func(ctx context.Context, es *environments.Environments, call access.Call) (any, error) {
			all, err := es.All(ctx, call)
			return all, err
		}},
		"Environment": {access.EnvironmentsRead, func(ctx context.Context, es *environments.Environments, call access.Call) (any, error) {
			return es.Environment(ctx, call, keys.FirstEnvironment)
		}},
	}
}

// TestDenied: no method does anything for who may not, and each leaves one record of the denial.
func TestDenied(t *testing.T) {
	s := vaulttest.New(t)
	all := useCases()
	for m := range reflect.TypeFor[*environments.Environments]().Methods() {
		u, ok := all[m.Name]
		if !ok {
			t.Errorf("%s is no row of this test", m.Name)
			continue
		}
		guest := s.MustCallAs(t, access.RoleAuditor)
		result, err := u.call(t.Context(), s.Others, guest)
		if v := reflect.ValueOf(result); !errors.Is(err, access.ErrDenied) || !v.IsZero() {
			t.Errorf("%s: got %v, %v", m.Name, result, err)
		}
		records := s.MustAuditOf(t, guest.RequestID)
		if len(records) != 1 || records[0].Result != audit.Denied || records[0].Action != u.action || records[0].ObjectID != "" {
			t.Errorf("%s: records of a denial: %+v", m.Name, records)
		}
		if _, err := u.call(t.Context(), s.Others, s.Call()); err != nil {
			t.Errorf("%s: an administrator's call: %v", m.Name, err)
		}
	}
}

// as is a request by an API key at a replica.
func as(t *testing.T, s *vaulttest.Stack, key access.APIKey) access.Call {
	t.Helper()
	return access.Call{Actor: s.MustActor(t, key), RequestID: "req_" + id.ULID(time.Now())}
}

func create(t *testing.T, s *vaulttest.Stack, name string) access.APIKey {
	t.Helper()
	made, err := s.Others.Create(t.Context(), s.Call(), environments.CreateRequest{Name: name})
	must(t, err)
	key, err := access.ParseAPIKey(string(made.APIKey.Text.Reveal()))
	must(t, err)
	return key
}

// TestReplicas: what one replica has made, another one serves that was running before, with what was stored there
// meanwhile; and each keeps to itself.
func TestReplicas(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	replica := s.Replica(t)
	const n = 3
	for i := range n {
		key := create(t, s, fmt.Sprintf("env-%d", i))
		stored, err := s.Vault.Create(t.Context(), as(t, s, key), vault.CreateRequest{
			Name: "thing", Value: vaulttest.Value(fmt.Sprint(i)), Context: vaulttest.MustContext(t, "organization_id", "org_1"),
		})
		must(t, err)
		// At once, by the key alone: nothing waits for the watch.
		there := as(t, replica, key)
		read, err := replica.Vault.Get(t.Context(), there, stored.ID)
		must(t, err)
		if got := string(read.Value.Reveal()); got != fmt.Sprint(i) {
			t.Errorf("environment %d: %q", i, got)
		}
		page, err := replica.Vault.List(t.Context(), there, vault.Query{Limit: 10})
		must(t, err)
		if len(page.Data) != 1 || page.Data[0].Name != "thing" {
			t.Errorf("environment %d: list %+v", i, page.Data)
		}
		if _, err := replica.Vault.Get(t.Context(), replica.Call(), stored.ID); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("environment %d: read from the first one: %v", i, err)
		}
	}
	all, err := replica.Others.All(t.Context(), replica.Call())
	must(t, err)
	if len(all) != n+1 {
		t.Errorf("%d environments at the other replica", len(all))
	}
}

// TestNobodyComes: a replica opens what others made also if nobody comes with a key of it, for what it does by itself.
func TestNobodyComes(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	replica := s.Replica(t)
	key := create(t, s, "sandbox")
	eventually(t, "the other replica has the environment", func() bool {
		_, err := replica.Environments.Environment(key.Environment)
		return err == nil
	})
}

// TestOneName: of many who make an environment of one name at once, at two replicas, one does, and nothing is left of
// the others.
func TestOneName(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{etcdtest.Listening(t)}})
	replica := s.Replica(t)
	const each = 3
	errs := make([]error, 2*each)
	var work sync.WaitGroup
	for i := range errs {
		at := []*vaulttest.Stack{s, replica}[i%2]
		name := "same"
		if i >= 4 {
			name = fmt.Sprintf("other-%d", i) // they are in each other's way, and both come to be
		}
		call := at.Call()
		work.Go(func() { _, errs[i] = at.Others.Create(t.Context(), call, environments.CreateRequest{Name: name}) })
	}
	work.Wait()
	made := 0
	for i, err := range errs {
		switch {
		case err == nil:
			made++
		case i >= 4 || !errors.Is(err, environments.ErrExists):
			t.Errorf("%d: %v", i, err)
		}
	}
	all, err := s.Others.All(t.Context(), s.Call())
	must(t, err)
	if made != 3 || len(all) != 4 {
		t.Errorf("%d made, %d there", made, len(all))
	}
}

// TestBounds: a store has no more environments than its bound.
func TestBounds(t *testing.T) {
	s := vaulttest.New(t)
	few, err := environments.New(environments.Config{Store: s.Store, Gate: s.Gate, Audit: s.Audit, Roots: keys.NewRootKeys(s.Root), Max: 2})
	must(t, err)
	_, err = few.Create(t.Context(), s.Call(), environments.CreateRequest{Name: "second"})
	must(t, err)
	if _, err := few.Create(t.Context(), s.Call(), environments.CreateRequest{Name: "third"}); !errors.Is(err, environments.ErrTooMany) {
		t.Errorf("above the bound: %v", err)
	}
	if _, err := environments.New(environments.Config{}); err == nil {
		t.Error("an empty config was taken")
	}
}

// TestRefusedEnvironment: an environment whose root key a replica does not have is an outage there and no bad key, is
// told by readiness, and works on where the root key is. One that somebody put there is none.
func TestRefusedEnvironment(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	var reported []string
	s := vaulttest.WithConfig(t, vaulttest.Config{
		Endpoints: []string{endpoint}, Report: func(_ context.Context, _ access.EnvironmentID, keyID string, _ error) {
			reported = append(reported, keyID)
		},
	})
	var refusal sync.Mutex
	var refused int
	poor := s.Replica(t, func(c *vaulttest.Config) {
		c.Open = func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error) {
			refusal.Lock()
			defer refusal.Unlock()
			refused++
			return nil, fmt.Errorf("open: %w", keys.ErrRefused)
		}
	})
	key := create(t, s, "sandbox")
	for range 50 {
		if _, err := poor.Gate.Authenticate(t.Context(), key); err == nil || errors.Is(err, access.ErrUnauthenticated) {
			t.Fatalf("without the root key: %v", err)
		}
	}
	refusal.Lock()
	if refused == 0 || refused > 40 {
		t.Errorf("the root key was asked %d times", refused)
	}
	refusal.Unlock()
	eventually(t, "readiness tells of it", func() bool {
		return strings.Contains(strings.Join(poor.Store.Degraded(), "\n"), "environment "+string(key.Environment)+" cannot be opened: its root key is not at hand")
	})
	_, err := s.Gate.Authenticate(t.Context(), key)
	must(t, err)

	// A key of no environment costs nobody anything.
	writer := etcdtest.NewWriter(t, "/culvert", endpoint)
	forged := access.EnvironmentID(id.ULID(time.Now()))
	writer.MustPut(t, "env/"+string(forged), []byte("\x01xsomething"))
	stranger, err := access.GenerateAPIKey(forged, time.Now())
	must(t, err)
	if _, err := s.Gate.Authenticate(t.Context(), stranger); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("key of a forged environment: %v", err)
	}
	if len(reported) != 1 || reported[0] != stranger.ID {
		t.Errorf("reported: %q", reported)
	}
	if _, err := s.Others.All(t.Context(), s.Call()); !errors.Is(err, environments.ErrTampered) {
		t.Errorf("list with a forged environment: %v", err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
