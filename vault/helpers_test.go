package vault_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// compareContexts lets cmp compare key contexts, whose fields it may not see.
func compareContexts() cmp.Option {
	return cmp.Comparer(func(a, b keys.Context) bool { return a.Equal(b) })
}

// wantOneWinner checks that exactly one of many racing calls succeeded and all others got want.
func wantOneWinner(t *testing.T, results []error, want error) {
	t.Helper()
	winners := 0
	for i, err := range results {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, want):
			t.Errorf("caller %d: got %v, want success or %v", i, err, want)
		}
	}
	if winners != 1 {
		t.Errorf("%d callers won, want exactly one", winners)
	}
}

// compareSecrets lets cmp compare secrets, which reflect cannot.
func compareSecrets() cmp.Option {
	return cmp.Comparer(func(a, b secret.Bytes) bool { return a.Equal(b) })
}

// errOf keeps the error of a call.
func errOf[T any](_ T, err error) error { return err }

// mustFence lets a test read the store itself, behind the vault's back.
func mustFence(t *testing.T, s *vaulttest.Stack) {
	t.Helper()
	if err := s.Store.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
