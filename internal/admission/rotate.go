package admission

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// RotateRequest asks for a key in place of another one.
type RotateRequest struct {
	ID string
	// Overlap is for how long the old key goes on working; nil is [DefaultOverlap], zero ends it at once.
	Overlap *time.Duration
	// Lifetime is the new key's. If it says nothing, the new key lives as long as the old one was to live.
	Lifetime Lifetime
}

// DefaultOverlap is how long an old key works beside the one that replaces it.
const DefaultOverlap = 24 * time.Hour

const maxOverlap = 90 * 24 * time.Hour

// Rotate makes a key with the rights of another one, which ends after an overlap. A key never gets another text:
// the new one has an id of its own, and each names the other.
//
// Errors: [*InvalidError], [ErrNoKey], [ErrKeyEnded], [ErrRotated], [ErrExceeds], [ErrTooManyKeys];
// [ErrLastKey] for a new key that ends before the old one would have.
func (r *Register) Rotate(ctx context.Context, call access.Call, q RotateRequest) (NewKey, error) {
	o, err := r.begin(ctx, call, access.APIKeyRotate)
	if err != nil {
		return NewKey{}, err
	}
	made, err := o.rotate(ctx, &q)
	return trail.Committed(ctx, o.Operation, made, err)
}

func (o *operation) rotate(ctx context.Context, q *RotateRequest) (NewKey, error) {
	overlap := DefaultOverlap
	if q.Overlap != nil {
		overlap = *q.Overlap
	}
	if overlap < 0 || overlap > maxOverlap {
		return NewKey{}, invalid("overlap", "must be at most 90 days, and not below zero")
	}
	var made NewKey
	var generated bool
	err := o.retry(ctx, func() error {
		found, err := o.find(ctx, q.ID)
		if err != nil {
			return err
		}
		old, now := found.Record, o.register.now()
		switch {
		case !old.Usable(now):
			return ErrKeyEnded
		case old.Successor != "":
			return ErrRotated
		}
		if !generated {
			if made, err = o.successor(old, q); err != nil {
				return err
			}
			generated = true
		}
		change := KeyChange{Environment: o.Environment(), Role: old.Role}
		if change.RoleRevision, err = o.gives(ctx, &made.KeyRecord); err != nil {
			return err
		}
		if change.Remove, err = o.room(ctx); err != nil {
			return err
		}
		if sooner(made.ExpiresAt, old.ExpiresAt) { // the new key is to live shorter: it may be the last with every right
			if change.Stay, err = o.another(ctx, old, false); err != nil {
				return err
			}
		}
		ending := *old
		ending.Successor, ending.UpdatedAt = made.ID, now
		if end := now.Add(overlap); old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
			ending.ExpiresAt = end
		}
		change.Put = []KeyAt{{Record: &made.KeyRecord}, {&ending, found.Revision}}
		return o.change(ctx, change,
			told{events.APIKeyCreated, &made.KeyRecord, nil}, told{events.APIKeyUpdated, &ending, old})
	})
	return made, err
}

// successor is the key that replaces an old one.
func (o *operation) successor(old *access.KeyRecord, q *RotateRequest) (NewKey, error) {
	now := o.register.now()
	expires, err := q.Lifetime.end(now)
	if err != nil {
		return NewKey{}, err
	}
	if expires.IsZero() && !old.ExpiresAt.IsZero() {
		expires = now.Add(old.ExpiresAt.Sub(old.CreatedAt))
	}
	record := access.KeyRecord{
		Name: old.Name, Role: old.Role, Permissions: old.Permissions, Organization: old.Organization, Scope: old.Scope,
		ExpiresAt: expires, Predecessor: old.ID,
	}
	key, err := o.generate(&record)
	return NewKey{Key{record, Active, time.Time{}}, key.Text()}, err
}
