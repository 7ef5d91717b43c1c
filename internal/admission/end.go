package admission

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// ExpireRequest asks for another end of a key.
type ExpireRequest struct {
	ID string
	// Lifetime is from now on. One that says nothing ends the key at once, unless Never says that it has no end.
	Lifetime Lifetime
	Never    bool
	// Force also ends the last key with every right.
	Force bool
	// Owned finds keys of organizations alone.
	Owned bool
}

// Expire changes when a key ends.
//
// Errors: [*InvalidError], [ErrNoKey], [ErrKeyEnded], [ErrLastKey]; [ErrExceeds] for a later end of a key that
// may more than the caller.
func (r *Register) Expire(ctx context.Context, call access.Call, q ExpireRequest) (Key, error) {
	o, err := r.begin(ctx, call, access.APIKeyExpire)
	if err != nil {
		return Key{}, err
	}
	key, err := o.expire(ctx, &q)
	return trail.Committed(ctx, o.Operation, key, err)
}

func (o *operation) expire(ctx context.Context, q *ExpireRequest) (Key, error) {
	var ended Key
	err := o.retry(ctx, func() error {
		now := o.register.now()
		end, err := q.Lifetime.end(now)
		if err != nil {
			return err
		}
		if end.IsZero() && !q.Never {
			end = now
		}
		found, err := o.findOwned(ctx, q.ID, q.Owned)
		if err != nil {
			return err
		}
		old := found.Record
		if !old.Usable(now) {
			return ErrKeyEnded
		}
		next := *old
		next.ExpiresAt, next.UpdatedAt = end, now
		change := KeyChange{Environment: o.Environment(), Put: []KeyAt{{&next, found.Revision}}}
		if sooner(end, old.ExpiresAt) {
			change.Protects = true
			change.Stay, err = o.another(ctx, old, q.Force)
		} else {
			change.Role = old.Role
			change.RoleRevision, err = o.gives(ctx, &next)
		}
		if err != nil {
			return err
		}
		if err := o.change(ctx, change, told{events.APIKeyUpdated, &next, old}); err != nil {
			return err
		}
		ended = Key{KeyRecord: next, State: stateOf(&next, now)}
		return nil
	})
	if err == nil {
		// It was committed: what is not known of it any more must not make an error of that.
		ended.LastUsedAt, _ = o.register.store.LastUse(ctx, ended.Environment, ended.ID)
	}
	return ended, err
}

// sooner compares ends; the zero time is none.
func sooner(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }

// RevokeRequest asks for the end of a key.
type RevokeRequest struct {
	ID string
	// Force also revokes the last key with every right.
	Force bool
	// Owned finds keys of organizations alone, and those that were revoked not at all.
	Owned bool
}

// Revoke ends a key for good. From its return on no call succeeds by it, on any replica. One that was revoked
// before stays as it was.
//
// Errors: [ErrNoKey], [ErrLastKey].
func (r *Register) Revoke(ctx context.Context, call access.Call, q RevokeRequest) error {
	o, err := r.begin(ctx, call, access.APIKeyRevoke)
	if err != nil {
		return err
	}
	_, err = trail.Committed(ctx, o.Operation, struct{}{}, o.retry(ctx, func() error { return o.revoke(ctx, &q) }))
	return err
}

// revoke is one round.
func (o *operation) revoke(ctx context.Context, q *RevokeRequest) error {
	found, err := o.findOwned(ctx, q.ID, q.Owned)
	if err != nil {
		return err
	}
	old, now := found.Record, o.register.now()
	if !old.RevokedAt.IsZero() {
		if q.Owned {
			return ErrNoKey
		}
		return nil
	}
	next := *old
	next.RevokedAt, next.UpdatedAt = now, now
	change := KeyChange{Environment: o.Environment(), Put: []KeyAt{{&next, found.Revision}}, Protects: true}
	if old.Usable(now) {
		if change.Stay, err = o.another(ctx, old, q.Force); err != nil {
			return err
		}
	}
	return o.change(ctx, change, told{events.APIKeyRevoked, &next, nil})
}

// findOwned is find; of keys that no organization owns it knows nothing if owned says so.
func (o *operation) findOwned(ctx context.Context, text string, owned bool) (KeyAt, error) {
	found, err := o.find(ctx, text)
	if err == nil && owned && found.Record.Organization == "" {
		return KeyAt{}, ErrNoKey
	}
	return found, err
}

// another is a key with every right that outlives one which is about to end: the change compares that it stays.
// Without that two callers, each with one of the last two keys, could revoke each other's. It is none for a key
// with fewer rights, and where somebody insists.
func (o *operation) another(ctx context.Context, ending *access.KeyRecord, force bool) ([]KeyAt, error) {
	if !ending.Unlimited() || force {
		return nil, nil
	}
	all, _, err := o.register.store.APIKeys(ctx, o.Environment())
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		r := k.Record
		if r.ID != ending.ID && r.Unlimited() && r.Usable(o.register.now()) && !sooner(r.ExpiresAt, ending.ExpiresAt) {
			return []KeyAt{k}, nil
		}
	}
	return nil, ErrLastKey
}
