package keys

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"culvert/internal/access"
	"culvert/internal/events"
)

// Defaults of the rate at which an environment may create KEKs. Each is one call of the root key and
// one record for ever, and a caller who puts a counter into a key context makes one per request.
const (
	DefaultCreateRate  = 200
	DefaultCreateBurst = 2000
)

// SealMeta is what the event of a KEK that comes into being says of its cause: the audit record of the
// intent (design: completeness for writes), and who.
type SealMeta struct {
	Node  string
	Index uint64
	Actor events.Actor
}

// kekFor finds the KEK of a context, or makes one that exists once the conditions are committed. It
// asks the store every time, so that after [ErrConflict] a caller only has to call again.
func (k *Keys) kekFor(ctx context.Context, env access.EnvironmentID, c Context, meta SealMeta) (*kek, Conditions, error) {
	id, err := k.store.KEKOf(ctx, env, c)
	if errors.Is(err, ErrKEKNotFound) {
		return k.create(ctx, env, c, meta)
	}
	if err != nil {
		return nil, Conditions{}, fmt.Errorf("find KEK: %w", err)
	}
	found, generation, err := k.load(ctx, env, id)
	if errors.Is(err, ErrKEKNotFound) {
		// Even a shredded KEK leaves a tombstone, so a pointer never leads nowhere by itself.
		return nil, Conditions{}, fmt.Errorf("KEK %s: %w", id, ErrTampered)
	}
	if errors.Is(err, ErrShredded) {
		// Who would store something waits until the shred is over, and gets a new KEK then.
		if shredding, markerErr := k.store.Shredding(ctx, env, c.Items()); markerErr != nil || shredding {
			return nil, Conditions{}, cmp.Or(markerErr, ErrShredding)
		}
	}
	if err != nil {
		return nil, Conditions{}, err
	}
	if found.context != c.Canonical() {
		// A pointer that was made to lead to another customer's KEK would have us seal under it.
		return nil, Conditions{}, fmt.Errorf("KEK %s: %w", id, ErrTampered)
	}
	return found, Conditions{Environment: env, KeyID: id, Generation: generation}, nil
}

// draft is a KEK that no store knows yet. Several callers may hold it at once: the first transaction
// makes it real, the others conflict and find it in the store.
type draft struct {
	record         KEKRecord
	kek            *kek
	cmkMapRevision int64
}

// contextKey names a key context in one environment.
type contextKey struct {
	env     access.EnvironmentID
	context string
}

// create drafts the KEK of a new context. Callers who come while a draft is being made share it, so
// that a burst on a new context is one call of the root key and one token of the rate.
func (k *Keys) create(ctx context.Context, env access.EnvironmentID, c Context, meta SealMeta) (*kek, Conditions, error) {
	made, err := k.drafts.do(ctx, contextKey{env, c.Canonical()}, func(ctx context.Context) (*draft, error) {
		return k.draft(ctx, env, c)
	})
	if err != nil {
		return nil, Conditions{}, err
	}
	event, err := k.kekEvent(events.KEKCreated, made.record.KeyID, meta)
	if err != nil {
		return nil, Conditions{}, err
	}
	return made.kek, Conditions{
		Environment: env,
		KeyID:       made.record.KeyID,
		Create:      &Creation{Record: made.record, CMKMapRevision: made.cmkMapRevision, Event: event},
	}, nil
}

func (k *Keys) draft(ctx context.Context, env access.EnvironmentID, c Context) (*draft, error) {
	if _, err := k.environments.Environment(env); err != nil {
		return nil, err
	}
	// Read before anything is made: whatever changes from here on is a conflict.
	if shredding, err := k.store.Shredding(ctx, env, c.Items()); err != nil || shredding {
		return nil, fmt.Errorf("guards of a new KEK: %w", cmp.Or(err, ErrShredding))
	}
	m, revision, err := k.store.CMKMap(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("guards of a new KEK: %w", err)
	}
	cmks := m.slots(c)
	// Who is cut by a customer's key does not use up what others may create.
	if err := k.customers.failing(env, cmks); err != nil {
		return nil, err
	}
	if !k.rates.allow(env, k.now()) {
		return nil, ErrCreateRate
	}
	id := ID(k.newID())
	if _, err := parseUUID(string(id)); err != nil {
		return nil, errors.New("keys: NewID made no UUID")
	}
	r, opened, err := newKEK(ctx, k.wrappers(), k.codec, KEKRecord{
		Environment: env, KeyID: id, Items: c.Items(), CreatedAt: k.now().UTC(),
	}, cmks)
	if err != nil {
		return nil, err
	}
	return &draft{record: r, kek: opened, cmkMapRevision: revision}, nil
}

// kekChanged is the data object of vault.kek.created and its like (contract section 3). The key's name is
// its id: a name made of the context would tell every reader of events what the context is.
type kekChanged struct {
	events.Actor
	KeyName ID `json:"key_name"`
	KeyID   ID `json:"key_id"`
}

// kekEvent is the event of something that happened to a KEK.
func (k *Keys) kekEvent(t events.Type, id ID, meta SealMeta) (events.Event, error) {
	return newEvent(t, kekChanged{Actor: meta.Actor, KeyName: id, KeyID: id}, k.now(), meta)
}

func newEvent(t events.Type, data any, at time.Time, meta SealMeta) (events.Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	return events.Event{Type: t, Data: encoded, At: at.UTC().Truncate(time.Millisecond), Node: meta.Node, Index: meta.Index}, nil
}

// createAttempts bounds how often a creation by itself is begun anew. A conflict means that another
// caller was first, whose KEK is found the next time, or that a guard moved.
const createAttempts = 4

// ensureKEK is [Keys.kekFor] for what is not stored itself, a client data key: a new KEK is committed
// before it is used.
func (k *Keys) ensureKEK(ctx context.Context, env access.EnvironmentID, c Context, meta SealMeta) (*kek, error) {
	var err error
	for range createAttempts {
		found, conditions, findErr := k.kekFor(ctx, env, c, meta)
		if findErr != nil {
			return nil, findErr
		}
		if conditions.Create == nil {
			return found, nil
		}
		err = k.store.CreateKEK(ctx, conditions)
		if err == nil {
			return found, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return nil, fmt.Errorf("create KEK: %w", err)
}

// rates is one limiter per environment. Environments are few and known, so it never shrinks.
type rates struct {
	limit rate.Limit
	burst int

	mu    sync.Mutex // guards byEnv, for the time of a map lookup
	byEnv map[access.EnvironmentID]*rate.Limiter
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{limit: rate.Limit(perSecond), burst: burst, byEnv: map[access.EnvironmentID]*rate.Limiter{}}
}

func (r *rates) allow(env access.EnvironmentID, now time.Time) bool {
	r.mu.Lock()
	limiter, ok := r.byEnv[env]
	if !ok {
		limiter = rate.NewLimiter(r.limit, r.burst)
		r.byEnv[env] = limiter
	}
	r.mu.Unlock()
	return limiter.AllowN(now, 1)
}
