package keys

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
)

// breakerPause is how long a root key that did not answer is left alone. It is as short as a client's first
// retry: when the key is back, nobody waits for more than this.
const breakerPause = time.Second

// breaker is a root key that is not asked while it is known not to answer: whoever needs it fails at once,
// where everybody would wait as long as the caller who found out. After each pause one call is let through,
// and what becomes of it counts for all.
type breaker struct {
	RootKey
	now func() time.Time

	mu sync.Mutex // guards what follows, for the time of an assignment
	// answered is when a call last ended with an answer, be it a refusal.
	answered time.Time
	// retry is when the next call is let through; zero while the key answers.
	retry time.Time
	// asking tells that this call is under way.
	asking bool

	// behind tells that a goroutine of [Keys.askBehind] runs.
	behind atomic.Bool
}

var _ Rewrapper = (*breaker)(nil)

var errNotAsked = errors.New("it did not answer a moment ago, and was not asked")

// Wrap implements [RootKey].
func (b *breaker) Wrap(ctx context.Context, share secret.Bytes, to Binding) (wrapped []byte, err error) {
	err = b.call(ctx, func() error {
		wrapped, err = b.RootKey.Wrap(ctx, share, to)
		return err
	})
	return wrapped, err
}

// Unwrap implements [RootKey].
func (b *breaker) Unwrap(ctx context.Context, wrapped []byte, to Binding) (share secret.Bytes, err error) {
	err = b.call(ctx, func() error {
		share, err = b.RootKey.Unwrap(ctx, wrapped, to)
		return err
	})
	return share, err
}

// RewrapFrom implements [Rewrapper] where the key behind it does. One that was not asked, because its provider
// does not reach from, passes for one that answered: the Wrap that follows tells.
func (b *breaker) RewrapFrom(ctx context.Context, from RootKey, wrapped []byte, to Binding) (rewrapped []byte, ok bool, err error) {
	key, ok := b.RootKey.(Rewrapper)
	if !ok {
		return nil, false, nil
	}
	if behind, is := from.(*breaker); is {
		from = behind.RootKey // a provider knows its own keys
	}
	err = b.call(ctx, func() error {
		rewrapped, ok, err = key.RewrapFrom(ctx, from, wrapped, to)
		return err
	})
	return rewrapped, ok, err
}

func (b *breaker) call(ctx context.Context, ask func() error) (err error) {
	retry, err := b.admit()
	if err != nil {
		return err
	}
	began := b.now()
	// Deferred, so that a panic in a provider does not keep the key closed for good.
	defer func() { b.learn(ctx, began, retry, err) }()
	return ask()
}

// admit lets a call through, or says that it is of no use; retry is the one call after a pause.
func (b *breaker) admit() (retry bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.retry.IsZero() {
		return false, nil
	}
	if b.asking || b.now().Before(b.retry) {
		return false, &outage.Error{Dependency: outage.RootKey, RetryAfter: breakerPause, Cause: errNotAsked}
	}
	b.asking = true
	return true, nil
}

// learn takes note of how a call ended that began at a time.
func (b *breaker) learn(ctx context.Context, began time.Time, retry bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if retry {
		b.asking = false
	}
	now := b.now()
	switch {
	case isAnswer(err):
		b.answered, b.retry = now, time.Time{}
	case errors.Is(ctx.Err(), context.Canceled):
		// The caller hung up, which says nothing of the key.
	case b.answered.After(began):
		// Others were answered meanwhile: this call had bad luck, or was one too many.
	default:
		b.retry = now.Add(breakerPause)
	}
}

// isAnswer reports that a root key answered, be it with a refusal. It follows [rootError].
func isAnswer(err error) bool {
	return err == nil || outage.Of(err) == nil && (errors.Is(err, ErrRefused) || errors.Is(err, ErrTampered))
}

// down reports that the key did not answer the last time.
func (b *breaker) down() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.retry.IsZero()
}

// due reports that the pause is over and nobody has asked since.
func (b *breaker) due() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.retry.IsZero() && !b.asking && !b.now().Before(b.retry)
}

// guarded puts a breaker before each root key.
func (rs *RootKeys) guarded(now func() time.Time) *RootKeys {
	behind := &RootKeys{all: make([]RootKey, len(rs.all))}
	for i, root := range rs.all {
		behind.all[i] = &breaker{RootKey: root, now: now}
	}
	return behind
}

// renew returns a KEK that is not in the cache, or has been there for the TTL. While the root key does not
// answer, one that was there goes on for the extension: what the root key would say now is not known then,
// so this is for keys that nobody but the operator can take back ([KEKRecord.extendable]).
func (k *Keys) renew(ctx context.Context, r *KEKRecord, generation int64) (*kek, error) {
	if !r.extendable() {
		return k.unwrapOnce(ctx, r, generation)
	}
	key := kekKey{r.Environment, r.KeyID}
	if root, ok := k.roots.find(r.Shares[0].KeyURI).(*breaker); ok && root.down() {
		if last := k.cache.extended(key, generation, k.now()); last != nil {
			k.askBehind(ctx, root, r, generation)
			return last, nil
		}
	}
	opened, err := k.unwrapOnce(ctx, r, generation)
	if outage.Of(err) != nil {
		if last := k.cache.extended(key, generation, k.now()); last != nil {
			return last, nil
		}
	}
	return opened, err
}

// askBehind unwraps a KEK behind the back of a caller who has it already, when it is time to ask the root
// key again: nobody who can be served is to wait for a key that may still be away. There is one of these at
// a time, and it ends with [flightTimeout]; what it brings is in the cache, and in the breaker.
func (k *Keys) askBehind(ctx context.Context, root *breaker, r *KEKRecord, generation int64) {
	if !root.due() || !root.behind.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer root.behind.Store(false)
		_, _ = k.unwrapOnce(context.WithoutCancel(ctx), r, generation)
	}()
}

// Warm reports whether there are KEKs that can be used while the root key does not answer.
func (k *Keys) Warm() bool { return k.cache != nil && k.cache.warm(k.now()) }
