package keys

import (
	"context"
	"errors"
	"sync"
)

// flightTimeout bounds what a flight does for all who wait for it: a store read and a root key call.
const flightTimeout = 2 * rootTimeout

// flight lets callers who want the same thing at the same time do it once. It is not a cache: when the
// last result is out, the next caller begins anew.
type flight[K comparable, V any] struct {
	mu    sync.Mutex // guards calls, for the time of a map operation
	calls map[K]*call[V]
}

type call[V any] struct {
	done chan struct{} // closed when value and err are final
	// value and err are written by the caller who began the call, before done is closed.
	value V
	err   error
}

var errFlightFailed = errors.New("keys: shared work did not finish")

func newFlight[K comparable, V any]() *flight[K, V] {
	return &flight[K, V]{calls: map[K]*call[V]{}}
}

// do returns what fn returned, to this caller or to the one who began. The first caller does the work
// on his own goroutine and finishes it also if he is cancelled meanwhile: others wait for it, and they
// are not to fail because he hung up. A caller who waits leaves when his own context ends.
func (f *flight[K, V]) do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	f.mu.Lock()
	if c, ok := f.calls[key]; ok {
		f.mu.Unlock()
		select {
		case <-c.done:
			return c.value, c.err
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
	c := &call[V]{done: make(chan struct{}), err: errFlightFailed}
	f.calls[key] = c
	f.mu.Unlock()

	// Deferred, so that a panic in fn leaves no one waiting.
	defer func() {
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	}()
	shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	defer cancel()
	c.value, c.err = fn(shared)
	return c.value, c.err
}
