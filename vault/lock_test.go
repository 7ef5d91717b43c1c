package vault_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// stuck holds back the transactions of one replica, as an etcd that does not answer does.
type stuck struct {
	vault.Store
	release chan struct{}
}

func (s *stuck) Update(ctx context.Context, w vault.Write, revision int64, pruneTo uint64) error {
	<-s.release
	return s.Store.Update(ctx, w, revision, pruneTo)
}

func (s *stuck) Delete(ctx context.Context, h vault.Header, revision int64, e events.Event) error {
	return s.Store.Delete(ctx, h, revision, e)
}

// The lock of an object only saves work: who has waited for it goes on without, and the compare in the
// transaction decides.
func TestLockIsNotWaitedForWithoutEnd(t *testing.T) {
	store := &stuck{release: make(chan struct{})}
	s := vaulttest.WithConfig(t, vaulttest.Config{Wrap: func(real vault.Store) vault.Store { store.Store = real; return store }})
	m := s.MustCreate(t, "n", "v1")
	var holders sync.WaitGroup
	results := make([]error, 2)
	for i := range results {
		holders.Go(func() {
			_, results[i] = s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")})
		})
	}
	began := time.Now()
	time.Sleep(50 * time.Millisecond) // let the holders come first
	s.MustDelete(t, m.ID)
	if waited := time.Since(began); waited > 30*time.Second {
		t.Errorf("a delete waited %v behind a stuck update", waited)
	}
	close(store.release)
	holders.Wait()
	for _, err := range results {
		if !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("an update that lost to a delete: got %v, want ErrNotFound", err)
		}
	}
}

// A caller that gives up is answered and recorded.
func TestCancelledCallIsRecorded(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range []func(access.Call) error{
		func(call access.Call) error { return errOf(s.Vault.Get(ctx, call, m.ID)) },
		func(call access.Call) error {
			return errOf(s.Vault.Update(ctx, call, vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")}))
		},
	} {
		c := s.Call()
		if err := call(c); err == nil {
			t.Error("a cancelled call was answered")
		}
		if len(s.MustAuditOf(t, c.RequestID)) == 0 {
			t.Error("a cancelled call left no record")
		}
	}
}
