package proof_test

import (
	"context"
	"errors"
	"testing"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/proof"
	"culvert/vault/vaulttest"
)

func config(s *vaulttest.Stack) proof.Config {
	return proof.Config{
		Log: s.Audit, Gate: s.Gate, Fence: s.Store.Fence, Checkpoints: s.Store.Checkpoints(s.Environment.ID()),
		Key: func() string { return "" }, Home: s.Environment.ID(),
		Rotate: func(context.Context) (string, error) { return "another", nil },
	}
}

// TestEveryCallIsAuthorizedAndRecorded: who may not gets nothing, and nothing leaves that cannot be recorded.
func TestEveryCallIsAuthorizedAndRecorded(t *testing.T) {
	s := vaulttest.New(t)
	a, err := proof.New(config(s))
	if err != nil {
		t.Fatal(err)
	}
	calls := map[access.Action][]func(access.Call) error{
		access.AuditRead: {
			func(c access.Call) error { _, err := a.Records(t.Context(), c, proof.Query{Limit: 1}); return err },
		},
		access.AuditProve: {
			func(c access.Call) error { _, err := a.Signed(t.Context(), c, ""); return err },
			func(c access.Call) error {
				_, err := a.Inclusion(t.Context(), c, proof.InclusionQuery{Size: 1})
				return err
			},
			func(c access.Call) error {
				_, err := a.Consistency(t.Context(), c, proof.ConsistencyQuery{From: 1, To: 1})
				return err
			},
		},
	}
	each := func(check func(action access.Action, call func(access.Call) error)) {
		for action, list := range calls {
			for _, call := range list {
				check(action, call)
			}
		}
	}
	each(func(action access.Action, call func(access.Call) error) {
		denied := s.MustCallAs(t, "no such role")
		if err := call(denied); !errors.Is(err, access.ErrDenied) {
			t.Errorf("%s without rights: got %v", action, err)
		}
		if r := s.MustAuditOf(t, denied.RequestID); len(r) != 1 || r[0].Action != action || r[0].Result != audit.Denied {
			t.Errorf("%s without rights: recorded %+v", action, r)
		}
		allowed := s.Call()
		if err := call(allowed); err != nil {
			t.Errorf("%s: got %v", action, err)
		}
		if r := s.MustAuditOf(t, allowed.RequestID); len(r) != 1 || r[0].Action != action || r[0].Result != audit.Allowed {
			t.Errorf("%s: recorded %+v", action, r)
		}
	})
	if err := s.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	each(func(action access.Action, call func(access.Call) error) {
		if err := call(s.Call()); outage.Of(err) == nil {
			t.Errorf("%s without audit log: got %v", action, err)
		}
	})
}

// TestKeyOfTheHouse: the signing key is one for all environments, and only the one that has it rotates it.
func TestKeyOfTheHouse(t *testing.T) {
	s := vaulttest.New(t)
	c := config(s)
	home, err := proof.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := home.RotateKey(t.Context(), s.Call()); err != nil || r.Key != "another" {
		t.Errorf("at home: got %+v, %v", r, err)
	}
	c.Home = "01KAR8Z3S3Z0C5M2N1V7W9X4YQ"
	elsewhere, err := proof.New(c)
	if err != nil {
		t.Fatal(err)
	}
	call := s.Call()
	if _, err := elsewhere.RotateKey(t.Context(), call); !errors.Is(err, access.ErrDenied) {
		t.Errorf("elsewhere: got %v", err)
	}
	if r := s.MustAuditOf(t, call.RequestID); len(r) != 1 || r[0].Result != audit.Denied {
		t.Errorf("elsewhere: recorded %+v", r)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	s := vaulttest.New(t)
	for name, change := range map[string]func(*proof.Config){
		"log": func(c *proof.Config) { c.Log = nil }, "gate": func(c *proof.Config) { c.Gate = nil },
		"fence": func(c *proof.Config) { c.Fence = nil }, "checkpoints": func(c *proof.Config) { c.Checkpoints = nil },
		"key": func(c *proof.Config) { c.Key = nil }, "home": func(c *proof.Config) { c.Home = "" },
		"rotate": func(c *proof.Config) { c.Rotate = nil },
	} {
		c := config(s)
		change(&c)
		if _, err := proof.New(c); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
}
