package keys

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/internal/secret"
)

// CMKSource opens customers' keys. It is safe for concurrent use.
type CMKSource interface {
	// Name is the URI of the key that somebody calls so: the URI itself, or a provider's own name such as
	// an ARN. ok is false if that is no key that a customer may have here.
	Name(text string) (uri string, ok bool)
	// Key is the key with that URI. Errors are as of [RootKey].
	Key(ctx context.Context, uri string) (RootKey, error)
}

// Refusal is an [ErrRefused] with the provider's word for why, from a list in its package: nothing that a
// KMS has worded itself.
type Refusal struct{ Code string }

func (r *Refusal) Error() string { return ErrRefused.Error() + ": " + r.Code }
func (r *Refusal) Unwrap() error { return ErrRefused }

// ErrCMKRefused means that a customer's key says no for good: the customer has taken it back, or it was never
// theirs to give. It is an [ErrRefused] as well.
var ErrCMKRefused error = cmkRefused{}

type cmkRefused struct{}

func (cmkRefused) Error() string        { return "keys: CMK refuses" }
func (cmkRefused) Is(target error) bool { return target == ErrRefused }

// CMKError says which CMK refused or was out of reach.
type CMKError struct {
	RootKeyRef
	// Reason is a [Refusal]'s code; empty if there is none.
	Reason string
	// Err is [ErrCMKRefused] or an outage.Error of dependency cmk.
	Err error
}

func (e *CMKError) Error() string {
	text := "CMK " + e.URI + ": " + e.Err.Error()
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (e *CMKError) Unwrap() error { return e.Err }

// cmkError is rootError for a customer's key.
func cmkError(ref RootKeyRef, err error) error {
	down := outage.Of(err)
	switch {
	case errors.Is(err, ErrTampered):
		return fmt.Errorf("CMK %s: %w", ref.URI, ErrTampered)
	case errors.Is(err, ErrRefused):
		failed := &CMKError{RootKeyRef: ref, Err: ErrCMKRefused}
		var why *Refusal
		if errors.As(err, &why) {
			failed.Reason = why.Code
		}
		return failed
	case down != nil:
		return &CMKError{RootKeyRef: ref, Err: &outage.Error{Dependency: outage.CMK, RetryAfter: down.RetryAfter, Cause: down.Cause}}
	}
	return &CMKError{RootKeyRef: ref, Err: &outage.Error{Dependency: outage.CMK, Cause: fmt.Errorf("%T", err)}}
}

// rememberedFor is how long a CMK that has refused or not answered is not asked again, and how often it is asked
// then: so many requests a second are one call of the customer's KMS, and a key that is given back works again
// after it.
const rememberedFor = time.Second

// customers are the CMKs of a [Keys], and what it knows of those that refuse. It is safe for concurrent use.
type customers struct {
	source CMKSource // nil: there are none
	now    func() time.Time
	// cache loses every KEK under a CMK that refuses; nil if there is none.
	cache *cache

	mu sync.Mutex // guards what follows, for the time of map operations
	// failures are the last ones, for as long as an unwrap may take that began before.
	failures map[customerRef]failure
}

// customerRef is a CMK where it is used: its policy may let it be used in one place and not in another.
type customerRef struct {
	env access.EnvironmentID
	RootKeyRef
}

// failure is how calls of a CMK failed.
type failure struct {
	// err is nil once a later call was answered.
	err error
	// retry is when the next call is let through.
	retry time.Time
	// refusedAt is when it last refused; zero if it was out of reach, about which nothing has to be forgotten.
	refusedAt time.Time
}

func newCustomers(source CMKSource, c *cache, now func() time.Time) *customers {
	return &customers{source: source, now: now, cache: c, failures: map[customerRef]failure{}}
}

// name is the URI of the key that somebody calls so.
func (c *customers) name(text string) (uri string, ok bool) {
	if c.source == nil {
		return "", false
	}
	return c.source.Name(text)
}

// key is the CMK with that URI.
func (c *customers) key(ctx context.Context, uri string) (RootKey, error) {
	if c.source == nil {
		return nil, &Refusal{Code: "this server uses no keys of customers"}
	}
	return c.source.Key(ctx, uri)
}

// ask makes a call of a CMK, unless one has failed a moment ago. fresh asks in any case.
func (c *customers) ask(ctx context.Context, ref customerRef, fresh bool, call func(RootKey) error) error {
	if !fresh {
		if err := c.admit(ref); err != nil {
			return err
		}
	}
	key, err := c.key(ctx, ref.URI)
	if err == nil {
		err = call(key)
	}
	if err != nil {
		err = cmkError(ref.RootKeyRef, err)
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // a caller who hung up says nothing of the key
		c.note(ref, err)
	}
	return err
}

// admit lets a call through, or returns the failure of a moment ago. Once a moment has passed one caller finds out
// for all: whoever else needs the key would wait as long as he does, and hold what others need to be served.
func (c *customers) admit(ref customerRef) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.failures[ref]
	now := c.now()
	if f.err == nil {
		return nil
	}
	if now.Before(f.retry) {
		return f.err
	}
	f.retry = now.Add(rememberedFor)
	c.failures[ref] = f
	return nil
}

// recent is the failure that admit would return; nil if there was none.
func (c *customers) recent(ref customerRef) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.failures[ref]; c.now().Before(f.retry) {
		return f.err
	}
	return nil
}

// failing is why a set of shares cannot be had at this moment, as far as that is known; nil if it is not.
func (c *customers) failing(env access.EnvironmentID, cmks []RootKeyRef) error {
	for _, ref := range cmks {
		if err := c.recent(customerRef{env, ref}); err != nil {
			return err
		}
	}
	return nil
}

// note remembers how a call ended. After a refusal nothing that is cached under the key for that item is used any
// more, whatever else its context has; first it is remembered, then dropped (see [customers.refusedSince]). What
// is under the key elsewhere stays: whoever attaches somebody else's key to an item of his own is refused, and
// must not be able to empty the cache of its owner with that.
func (c *customers) note(ref customerRef, err error) {
	refused := errors.Is(err, ErrCMKRefused)
	c.mu.Lock()
	now := c.now()
	last, known := c.failures[ref]
	if refused {
		last.refusedAt = now
	}
	switch {
	case err == nil && known:
		last.err = nil // an unwrap that began before it refused may still be on its way
		c.failures[ref] = last
	case refused || outage.Of(err) != nil:
		last.err, last.retry = err, now.Add(rememberedFor)
		c.failures[ref] = last
	}
	for old, f := range c.failures {
		if now.Sub(f.retry) > 2*flightTimeout {
			delete(c.failures, old)
		}
	}
	c.mu.Unlock()
	if refused && c.cache != nil {
		c.cache.dropUnder(ref)
	}
}

// refusedSince tells which of a KEK's keys has refused since its unwrap began: the unwrap may have been granted
// before that, and must not outlive it in the cache. Who puts a KEK into the cache asks afterwards, so that
// either this sees the refusal or the refusal sees the KEK.
func (c *customers) refusedSince(opened *kek, began time.Time) (ref customerRef, ok bool) {
	if len(opened.cmks) == 0 {
		return customerRef{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, used := range opened.cmks {
		ref := customerRef{opened.env, used}
		if f := c.failures[ref]; !f.refusedAt.IsZero() && !f.refusedAt.Before(began) {
			return ref, true
		}
	}
	return customerRef{}, false
}

// verificationScope stands where a KEK's scope has its key id, for shares that seal nothing. It is no UUID.
const verificationScope = "verification"

// verify tries a CMK as it will be used: the binding names its item, which its policy may ask for. The error
// is a [*CMKError].
func (c *customers) verify(ctx context.Context, env access.EnvironmentID, cmk *CMK) error {
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	ref := customerRef{env, cmk.ref()}
	in := scope{env: env, id: verificationScope, context: newContext(map[string]string{cmk.Item.Name: cmk.Item.Value}).Canonical()}
	share := make([]byte, ShareSize)
	_, _ = rand.Read(share) // never fails: it ends the process rather than return less
	err := c.ask(ctx, ref, true, func(key RootKey) error {
		wrapped, err := key.Wrap(ctx, secret.New(bytes.Clone(share)), in.binding(ref.Slot))
		if err != nil {
			return err
		}
		opened, err := key.Unwrap(ctx, wrapped, in.binding(ref.Slot))
		if err == nil && !opened.Equal(secret.New(share)) {
			err = ErrTampered
		}
		if errors.Is(err, ErrTampered) {
			// Nothing of ours can have been tampered with: the key is not what it seems.
			err = &Refusal{Code: "what it wraps does not come back"}
		}
		return err
	})
	clear(share)
	return err
}
