package vault

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/internal/trail"
	"culvert/keys"
)

// changeAttempts bounds the read-compare-write rounds of one change. Every lost round means that
// another change of the same object was committed, and the locks leave one contender per replica: a
// caller runs out only where many replicas write one object without a pause.
const changeAttempts = 16

// UpdateRequest asks for a new version of an object, under its original key context.
type UpdateRequest struct {
	ID    ObjectID
	Value secret.Bytes
	// IfVersion is the version the caller believes is current; nil makes the last writer win.
	IfVersion *VersionID
}

// Update seals a new value under a fresh DEK as the object's current version and prunes the oldest
// beyond [Limits].VersionsKept. Of many callers with the same IfVersion exactly one succeeds.
//
// Errors: [*InvalidError], [ErrNotFound], [ErrVersion], keys.ErrShredded; [ErrConflict] if the object
// changed under every one of a bounded number of attempts.
func (v *Vault) Update(ctx context.Context, call access.Call, r UpdateRequest) (Object, error) {
	o, err := v.authorize(ctx, call, access.DataUpdate)
	if err != nil {
		return Object{}, err
	}
	object, err := o.update(ctx, r)
	return trail.Committed(ctx, o.Operation, object, err)
}

func (o *operation) update(ctx context.Context, r UpdateRequest) (Object, error) {
	if err := o.vault.limits.checkValue(r.Value); err != nil {
		return Object{}, err
	}
	var object Object
	err := o.change(ctx, r.ID, r.IfVersion, func(found Stored) error {
		next, pruneTo := o.nextHeader(found.Header)
		w, err := o.seal(ctx, next, r.Value, events.DataUpdated)
		// A shred under way is no reason to come back for an object that is there: it is among what is shredded.
		if errors.Is(err, keys.ErrShredding) || err == nil && w.Header.KeyID != found.KeyID {
			return o.lostKEK(ctx, found.KeyID)
		}
		if err != nil {
			return err
		}
		if pruneTo > 0 {
			w.Pruned = pruneTo - found.Versions[len(found.Versions)-1].Sequence + 1
		}
		if err := o.vault.store.Update(ctx, w, found.Revision, pruneTo); err != nil {
			return err
		}
		o.Record.VersionID = string(w.Header.Current().ID)
		object = w.Header.describe(o.context)
		return nil
	})
	return object, err
}

// change tries a change of an object until the change's compares hold.
func (o *operation) change(ctx context.Context, id ObjectID, ifVersion *VersionID, try func(Stored) error) error {
	for attempt := range changeAttempts {
		err := o.changeOnce(ctx, id, ifVersion, attempt > 0, try)
		if !errors.Is(err, ErrConflict) && !errors.Is(err, keys.ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// changeOnce reads an object, checks the caller's version and tries the change. The store decides; the
// lock only keeps callers of this process from sealing in vain. It is taken anew for each attempt: those
// who went on without it, because etcd was slow, get into a queue again once they conflict.
func (o *operation) changeOnce(
	ctx context.Context, id ObjectID, ifVersion *VersionID, again bool, try func(Stored) error,
) error {
	unlock, waited := o.vault.locks.lock(ctx, id)
	defer unlock()
	if waited || again {
		if err := o.Refresh(ctx); err != nil {
			return err
		}
	}
	found, err := o.byID(ctx, string(id))
	if err != nil {
		return err
	}
	// A conflict is no refusal by itself: the version is looked at again, so that losers of a race with
	// a version check are told so, and those without one go on.
	if ifVersion != nil && *ifVersion != found.Current().ID {
		return ErrVersion
	}
	if err := o.Intend(ctx); err != nil {
		return err
	}
	return try(found)
}

// nextHeader is h with a new current version in front, not sealed yet, and without the versions beyond
// those kept; pruneTo is the highest sequence that falls away. h is shared and stays as it is.
func (o *operation) nextHeader(h *Header) (next Header, pruneTo uint64) {
	v, current := o.vault, h.Current()
	// Another replica made the current version, perhaps with a faster clock: ids and times of one
	// object go forward whatever the clocks say.
	v.ids.Observe(string(current.ID))
	at := v.ids.Now()
	if !at.After(current.CreatedAt) {
		at = current.CreatedAt.Add(time.Microsecond)
	}
	kept := min(len(h.Versions), v.limits.VersionsKept-1)
	next = *h
	next.Versions = make([]VersionHeader, 1, kept+1)
	next.Versions[0] = VersionHeader{
		ID:        VersionID(v.ids.UUID()),
		Sequence:  current.Sequence + 1,
		CreatedAt: at,
		Author:    o.author(),
	}
	next.Versions = append(next.Versions, h.Versions[:kept]...)
	if kept < len(h.Versions) {
		pruneTo = h.Versions[kept].Sequence
	}
	return next, pruneTo
}

// lostKEK explains why an object's context has another KEK than the object: its own was shredded, or
// the pointer of the context was tampered with. A header has one key id for all versions, so nothing
// is written. Opening nothing under the object's own KEK tells which it is.
func (o *operation) lostKEK(ctx context.Context, id keys.ID) error {
	_, err := o.vault.keys.Open(ctx, o.Permit, keys.Sealed{KeyID: id}, keys.ObjectBinding{})
	if err == nil || errors.Is(err, access.ErrDenied) {
		return keys.ErrTampered
	}
	return err
}
