//go:build pkcs11

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"culvert/internal/secret"
	"culvert/keys"
)

// Built tells whether this program was built with support for PKCS#11.
const Built = true

const (
	// callTimeout bounds how long a caller waits, connecting anew included.
	callTimeout = 5 * time.Second
	// openTimeout bounds the start, where modules look for their hardware.
	openTimeout = 20 * time.Second
	// maxCalls is how many calls of the module are under way at most, those included that nobody waits for
	// any more. Each has a session and a thread of the operating system.
	maxCalls = 8
)

// Key is a root key in a token. It is safe for concurrent use.
type Key struct {
	config Config
	// timeout is callTimeout.
	timeout time.Duration
	// calls has room for those under way.
	calls chan struct{}

	// mu is held to read for as long as a call is in the module, and to write by who connects anew: so no
	// connection is closed under a call. Whoever takes it may wait for the module: only goroutines with a
	// place in calls do, and Close.
	mu sync.RWMutex
	// token is nil after a failure to connect.
	token *token
	// probe is that of the first connection, which tells that a later one finds the same key.
	probe []byte
	// refused is set when the token has refused the PIN, or the key was closed.
	refused error
}

var _ keys.RootKey = (*Key)(nil)

// check is the whole of a config.
func (c Config) check() error {
	err := errors.Join(CheckModule(c.Module), CheckTokenLabel(c.Token), CheckKeyLabel(c.Key))
	if err == nil && c.PIN.Len() == 0 {
		err = errors.New("there is no PIN")
	}
	return err
}

// Open loads the module, logs in and tries the key. The errors for what the token says are those of
// [keys.RootKey]; any other is a mistake in c.
func Open(ctx context.Context, c Config) (*Key, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("pkcs11: %w", err)
	}
	k := &Key{config: c, timeout: callTimeout, calls: make(chan struct{}, maxCalls)}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	_, err := bounded(ctx, k, "open", func() (struct{}, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		return struct{}{}, k.connect()
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// URI is that of RFC 7512, of the labels of token and key. It does not name the module or the serial number:
// a token that was restored or cloned from another holds the same key.
func (k *Key) URI() string {
	return "pkcs11:token=" + url.PathEscape(k.config.Token) + ";object=" + url.PathEscape(k.config.Key)
}

// Wrap implements [keys.RootKey] by C_Encrypt.
func (k *Key) Wrap(ctx context.Context, share secret.Bytes, b keys.Binding) ([]byte, error) {
	return use(ctx, k, "encrypt", func(t *token) ([]byte, error) { return t.wrap(share.Reveal(), b.AssociatedData()) })
}

// Unwrap implements [keys.RootKey] by C_Decrypt. What has not the form of a wrapped share is not shown to
// the token.
func (k *Key) Unwrap(ctx context.Context, wrapped []byte, b keys.Binding) (secret.Bytes, error) {
	if len(wrapped) != wrappedSize || wrapped[0] != format {
		return secret.Bytes{}, keys.ErrTampered
	}
	share, err := use(ctx, k, "decrypt", func(t *token) ([]byte, error) { return t.unwrap(wrapped, b.AssociatedData()) })
	if err != nil {
		return secret.Bytes{}, err
	}
	if len(share) != keys.ShareSize {
		clear(share)
		return secret.Bytes{}, keys.ErrTampered
	}
	return secret.New(share), nil
}

// Check implements [keys.RootKey] by opening what was sealed when the connection was made.
func (k *Key) Check(ctx context.Context) error {
	_, err := use(ctx, k, "check", func(t *token) (struct{}, error) { return struct{}{}, t.check() })
	return err
}

// Describe implements [keys.RootKey]. A token tells of a key no more than that it can be used.
func (k *Key) Describe(ctx context.Context) (keys.Description, error) {
	d := keys.Description{Provider: "pkcs11", URI: k.URI(), State: keys.KeyEnabled}
	switch err := k.Check(ctx); {
	case errors.Is(err, keys.ErrRefused):
		d.State = keys.KeyUnavailable
	case err != nil:
		return keys.Description{}, err
	}
	return d, nil
}

// Close ends the sessions, as soon as all calls have come back. A server has no need of it: its sessions
// end with the process.
func (k *Key) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token != nil {
		k.token.close()
	}
	k.token, k.refused = nil, down("close", errClosed)
}

// use makes a call of the module, and repeats it once on another connection if it was the connection
// that failed.
func use[T any](ctx context.Context, k *Key, op string, call func(*token) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return bounded(ctx, k, op, func() (T, error) {
		result, on, err := attempt(k, call)
		if err == nil || !isLost(err) {
			return result, err
		}
		if err := k.reconnect(on); err != nil {
			return result, err
		}
		result, _, err = attempt(k, call)
		return result, err
	})
}

// bounded waits for work, which may block, for as long as the context allows. Work that nobody waits for
// any more keeps its place until it has ended.
func bounded[T any](ctx context.Context, k *Key, op string, work func() (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, down(op, err)
	}
	select {
	case k.calls <- struct{}{}:
	case <-ctx.Done():
		return none, down(op, fmt.Errorf("%d calls have not come back: %w", maxCalls, ctx.Err()))
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-k.calls }()
		result, err := work()
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return none, failed(op, o.err)
		}
		return o.result, nil
	case <-ctx.Done():
		return none, down(op, ctx.Err())
	}
}

// attempt makes a call on the connection that there is, and tells which one it was.
func attempt[T any](k *Key, call func(*token) (T, error)) (result T, on *token, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.token == nil {
		return result, nil, errClosed
	}
	result, err = call(k.token)
	return result, k.token, err
}

// reconnect replaces a connection that has failed, unless somebody else just did. It waits until every
// call on it has come back, because the module is unloaded in between.
func (k *Key) reconnect(failed *token) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token != failed {
		return nil
	}
	if k.token != nil {
		k.token.close()
		k.token = nil
	}
	err := k.connect()
	if errors.As(err, new(mistake)) { // it was none at the start
		return down("open", err)
	}
	return err
}

// connect makes the connection. The caller holds mu.
func (k *Key) connect() error {
	if k.refused != nil {
		return k.refused
	}
	t, err := connect(k.config, k.probe)
	if isPINRefused(err) {
		k.refused = err
	}
	if err != nil {
		return err
	}
	if k.token = t; k.probe == nil {
		k.probe = t.probe
	}
	return nil
}
