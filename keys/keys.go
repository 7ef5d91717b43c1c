package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/internal/record"
	"culvert/internal/secret"
)

// Keys seals and opens under the KEKs of key contexts. It is safe for concurrent use.
//
// Callers pass the read fence of their request before they call; what a method reads from the store is
// then at least as new. Every method takes a permit that was completed with the key context in question
// and returns access.ErrDenied for any other: a use case that forgets to complete its permit opens
// nothing. Other errors, where a method says no more: [ErrTampered], [ErrShredded], [ErrCMKRefused],
// [ErrRefused], an outage.Error of the store, the root key or a CMK.
type Keys struct {
	store        Store
	environments *Environments
	roots        *RootKeys
	customers    *customers
	codec        *record.Codec
	newID        func() string
	now          func() time.Time
	rates        *rates

	cache   *cache // nil: unwrap every time
	unwraps *flight[unwrapKey, *kek]
	drafts  *flight[contextKey, *draft]
}

// Config is what [New] needs.
type Config struct {
	// Store, Environments, Roots, Codec and NewID are required.
	Store        Store
	Environments *Environments
	Roots        *RootKeys
	Codec        *record.Codec
	// CMKs opens customers' keys; default: there are none.
	CMKs CMKSource
	// NewID makes ids of KEKs and client data keys: UUIDv7 as text.
	NewID func() string
	// CacheTTL is how long an unwrapped KEK is used, counted from its unwrap and not from its last use;
	// default [DefaultCacheTTL]. It bounds how long a revoked root key goes on working, and nothing
	// else: shred and rotation hold at once.
	CacheTTL time.Duration
	// OutageExtension is how much longer it is used while the root key does not answer; default 0. It is not
	// for KEKs under a customer's key, and ends with a refusal.
	OutageExtension time.Duration
	// NoCache unwraps for every single use, whatever CacheTTL says.
	NoCache bool
	// CacheEntries bounds the unwrapped KEKs held; default [DefaultCacheEntries].
	CacheEntries int
	// CreateRate and CreateBurst limit how many KEKs an environment creates per second and at once, on
	// this replica; default [DefaultCreateRate] and [DefaultCreateBurst].
	CreateRate  float64
	CreateBurst int
	// Now defaults to [time.Now]. A clock that is set back prolongs the TTL if its readings are not
	// monotonic.
	Now func() time.Time
}

// New checks the config.
func New(c Config) (*Keys, error) {
	if c.Store == nil || c.Environments == nil || c.Roots == nil || c.Codec == nil || c.NewID == nil {
		return nil, errors.New("keys: Store, Environments, Roots, Codec and NewID are required")
	}
	if c.CacheTTL < 0 || c.OutageExtension < 0 || c.CacheEntries < 0 || c.CreateRate < 0 || c.CreateBurst < 0 {
		return nil, errors.New("keys: limits cannot be negative")
	}
	k := &Keys{
		store: c.Store, environments: c.Environments, codec: c.Codec,
		newID: c.NewID, now: c.Now,
		rates:   newRates(cmp.Or(c.CreateRate, DefaultCreateRate), cmp.Or(c.CreateBurst, DefaultCreateBurst)),
		unwraps: newFlight[unwrapKey, *kek](),
		drafts:  newFlight[contextKey, *draft](),
	}
	if k.now == nil {
		k.now = time.Now
	}
	k.roots = c.Roots.guarded(k.now)
	if !c.NoCache {
		k.cache = newCache(cmp.Or(c.CacheTTL, DefaultCacheTTL), c.OutageExtension, cmp.Or(c.CacheEntries, DefaultCacheEntries))
	}
	k.customers = newCustomers(c.CMKs, k.cache, k.now)
	return k, nil
}

func (k *Keys) wrappers() wrappers { return wrappers{roots: k.roots, cmks: k.customers} }

// Sealed is a value under a DEK of its own, and that DEK under the KEK with that key id. Neither holds
// anything in clear, and each carries the number of its format.
type Sealed struct {
	KeyID      ID
	WrappedDEK []byte
	Ciphertext []byte
}

// ObjectBinding is what a sealed value is bound to, beside its environment, key id and key context:
// everything in clear that is returned with the value or decided on. Only the instant of a time counts.
type ObjectBinding struct {
	ObjectID, Name, VersionID string
	Sequence                  uint64
	CreatedAt, UpdatedAt      time.Time
	AuthorID, AuthorName      string
}

// bind is the AAD of a value and that of its DEK, under the KEK at hand.
type bind func(with *kek) (value, dek aad)

func (b ObjectBinding) bind(with *kek) (value, dek aad) {
	return valueAAD(with.env, with.id, with.context, &b), dekAAD(with.env, with.id, with.context, &b)
}

// Seal seals a value under the KEK of a context, with a fresh DEK. The value is sealed for the store
// only if the conditions hold in the transaction that stores it; [ErrConflict] from the store means
// that they did not, and that Seal must be called again.
//
// For a context that has no KEK yet the conditions create one. [ErrCreateRate], [ErrShredding].
func (k *Keys) Seal(ctx context.Context, p access.Permit, c Context, b ObjectBinding, value secret.Bytes, meta SealMeta) (Sealed, Conditions, error) {
	return k.seal(ctx, p, c, value, meta, b.bind)
}

// Open opens what [Keys.Seal] sealed for the same object. The key id is the one in the record that was
// read; what the permit covers is compared with the context that this KEK proved to be bound to.
func (k *Keys) Open(ctx context.Context, p access.Permit, s Sealed, b ObjectBinding) (secret.Bytes, error) {
	return k.open(ctx, p, s, b.bind)
}

// seal is [Keys.Seal] for whatever has a DEK of its own.
func (k *Keys) seal(ctx context.Context, p access.Permit, c Context, plain secret.Bytes, meta SealMeta, to bind) (Sealed, Conditions, error) {
	if !p.Covers(c.Canonical()) {
		return Sealed{}, Conditions{}, access.ErrDenied
	}
	with, conditions, err := k.kekFor(ctx, p.Environment(), c, meta)
	if err != nil {
		return Sealed{}, Conditions{}, err
	}
	sealed, err := with.seal(plain, to)
	if err != nil {
		return Sealed{}, Conditions{}, err
	}
	return sealed, conditions, nil
}

// open is the reverse.
func (k *Keys) open(ctx context.Context, p access.Permit, s Sealed, to bind) (secret.Bytes, error) {
	with, _, err := k.load(ctx, p.Environment(), s.KeyID)
	if errors.Is(err, ErrKEKNotFound) {
		// A shredded KEK leaves a tombstone: one that is gone was removed by someone else.
		return secret.Bytes{}, fmt.Errorf("KEK %s: %w", s.KeyID, ErrTampered)
	}
	if err != nil {
		return secret.Bytes{}, err
	}
	if !p.Covers(with.context) {
		return secret.Bytes{}, access.ErrDenied
	}
	return with.open(s, to)
}

// Context is the key context that a KEK is bound to, as its authenticated record says, to complete a
// permit with for what a client's blob asks. It is known of a shredded KEK too. [ErrNotOurs] if there
// is no such KEK in the environment.
func (k *Keys) Context(ctx context.Context, env access.EnvironmentID, id ID) (Context, error) {
	r, _, err := k.store.KEK(ctx, env, id)
	if errors.Is(err, ErrKEKNotFound) {
		return Context{}, ErrNotOurs
	}
	if err != nil {
		return Context{}, fmt.Errorf("KEK %s: %w", id, err)
	}
	if err := r.check(env, id); err != nil && !errors.Is(err, ErrShredded) {
		return Context{}, fmt.Errorf("KEK %s: %w", id, err)
	}
	return r.Context(), nil
}

// unwrapKey is one generation of a KEK.
type unwrapKey struct {
	kekKey
	generation int64
}

// load reads the record at a key id and returns its KEK, from the cache if it is there in the
// generation that was read. [ErrKEKNotFound] is left to the caller, who knows who named the id.
func (k *Keys) load(ctx context.Context, env access.EnvironmentID, id ID) (*kek, int64, error) {
	r, generation, err := k.store.KEK(ctx, env, id)
	if err != nil {
		return nil, 0, fmt.Errorf("KEK %s: %w", id, err)
	}
	if err := r.check(env, id); err != nil {
		return nil, 0, fmt.Errorf("KEK %s: %w", id, err)
	}
	if err := k.checkMarkers(ctx, r); err != nil {
		return nil, 0, fmt.Errorf("KEK %s: %w", id, err)
	}
	if k.cache == nil {
		opened, err := openKEK(ctx, k.wrappers(), r)
		return opened, generation, err
	}
	if found, err := k.cache.find(kekKey{env, id}, generation, k.now()); found != nil || err != nil {
		return found, generation, err
	}
	opened, err := k.renew(ctx, r, generation)
	return opened, generation, err
}

// checkMarkers refuses a KEK that a shred is about to destroy as if it were done: [ErrShredded].
func (k *Keys) checkMarkers(ctx context.Context, r *KEKRecord) error {
	shredding, err := k.store.Shredding(ctx, r.Environment, r.Items)
	if err == nil && shredding {
		err = ErrShredded
	}
	return err
}

// unwrapOnce asks the root key for one KEK, once for all who want it now, and caches the answer: the KEK,
// or for a moment the refusal, in place of whatever was there, of this generation or another. An outage is
// no answer.
func (k *Keys) unwrapOnce(ctx context.Context, r *KEKRecord, generation int64) (*kek, error) {
	key := kekKey{r.Environment, r.KeyID}
	return k.unwraps.do(ctx, unwrapKey{key, generation}, func(ctx context.Context) (*kek, error) {
		began := k.now()
		// A caller who missed before the last flight landed finds what it brought.
		if found, err := k.cache.find(key, generation, began); found != nil || err != nil {
			return found, err
		}
		opened, err := openKEK(ctx, k.wrappers(), r)
		switch {
		case err == nil:
			k.cache.add(key, generation, opened, began, r.extendable())
			if ref, ok := k.customers.refusedSince(opened, began); ok {
				k.cache.dropUnder(ref)
			}
		case outage.Of(err) == nil && !errors.Is(err, ErrCMKRefused): // those are remembered by their keys
			k.cache.refuse(key, generation, err, k.now())
		}
		return opened, err
	})
}
