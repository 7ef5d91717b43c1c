// Package keystest helps tests of what stands on keys: a root key with faults, and a whole stack of
// keys over a real store. Everything in it is real cryptography with keys of the test's own.
package keystest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/localkms"
)

// Root is a local root key that can be told to refuse, to fail and to be slow, and counts its calls.
// It is safe for concurrent use.
type Root struct {
	key keys.RootKey

	mu    sync.Mutex // guards fault, delay and hung
	fault error
	delay time.Duration
	hung  chan struct{} // what the next call waits for; nil: nothing

	wraps, unwraps atomic.Int64
}

var _ keys.RootKey = (*Root)(nil)

// NewRoot makes a root key of its own for the test.
func NewRoot(t testing.TB) *Root {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	if err := localkms.Create(path); err != nil {
		t.Fatal(err)
	}
	return OpenRoot(t, path)
}

// OpenRoot puts faults around the root key at path.
func OpenRoot(t testing.TB, path string) *Root {
	t.Helper()
	key, err := localkms.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Root{key: key}
}

// Refuse makes every call a definite refusal, as of a key that was disabled.
func (r *Root) Refuse() { r.Fail(fmt.Errorf("%w: disabled by the test", keys.ErrRefused)) }

// Down makes every call an outage, as of a KMS that does not answer.
func (r *Root) Down() { r.Fail(&outage.Error{Dependency: outage.RootKey}) }

// Fail makes every call return err; nil ends it.
func (r *Root) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

// Slow makes every call take d first, or as long as its context lets it.
func (r *Root) Slow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Hang makes the next call wait for release, whatever its context says.
func (r *Root) Hang(t testing.TB) (release func()) {
	hung := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hung = hung
	release = sync.OnceFunc(func() { close(hung) })
	t.Cleanup(release)
	return release
}

// Wraps counts the calls of Wrap, failed ones included.
func (r *Root) Wraps() int64 { return r.wraps.Load() }

// Unwraps counts the calls of Unwrap, failed ones included.
func (r *Root) Unwraps() int64 { return r.unwraps.Load() }

// URI implements [keys.RootKey].
func (r *Root) URI() string { return r.key.URI() }

// Wrap implements [keys.RootKey].
func (r *Root) Wrap(ctx context.Context, share secret.Bytes, b keys.Binding) ([]byte, error) {
	r.wraps.Add(1)
	if err := r.suffer(ctx); err != nil {
		return nil, err
	}
	return r.key.Wrap(ctx, share, b)
}

// Unwrap implements [keys.RootKey].
func (r *Root) Unwrap(ctx context.Context, wrapped []byte, b keys.Binding) (secret.Bytes, error) {
	r.unwraps.Add(1)
	if err := r.suffer(ctx); err != nil {
		return secret.Bytes{}, err
	}
	return r.key.Unwrap(ctx, wrapped, b)
}

// Check implements [keys.RootKey].
func (r *Root) Check(ctx context.Context) error {
	if err := r.suffer(ctx); err != nil {
		return err
	}
	return r.key.Check(ctx)
}

// Describe implements [keys.RootKey].
func (r *Root) Describe(ctx context.Context) (keys.Description, error) {
	if err := r.suffer(ctx); err != nil {
		return keys.Description{}, err
	}
	return r.key.Describe(ctx)
}

func (r *Root) suffer(ctx context.Context) error {
	r.mu.Lock()
	fault, delay, hung := r.fault, r.delay, r.hung
	r.hung = nil
	r.mu.Unlock()
	if hung != nil {
		<-hung
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return &outage.Error{Dependency: outage.RootKey, Cause: ctx.Err()}
		}
	}
	return fault
}
