package vault

import (
	"context"
	"errors"
	"fmt"

	"culvert/internal/access"
	"culvert/internal/trail"
	"culvert/keys"
)

// readAttempts bounds how often a read starts again because the version it had found was pruned or
// deleted before its ciphertext was read. Each round needs another change of the same object within
// the microseconds between the two reads.
const readAttempts = 8

// Get opens an object by id. [ErrNotFound].
func (v *Vault) Get(ctx context.Context, call access.Call, id ObjectID) (Object, error) {
	o, err := v.authorize(ctx, call, access.DataRead)
	if err != nil {
		return Object{}, err
	}
	object, err := o.open(ctx, (*operation).byID, string(id))
	return trail.Answer(ctx, o.Operation, object, err)
}

// GetByName opens the live object that has exactly this name. [ErrNotFound], also for a name that no
// object can have.
func (v *Vault) GetByName(ctx context.Context, call access.Call, name string) (Object, error) {
	o, err := v.authorize(ctx, call, access.DataRead)
	if err != nil {
		return Object{}, err
	}
	object, err := o.open(ctx, (*operation).byName, name)
	return trail.Answer(ctx, o.Operation, object, err)
}

// Describe is Get without the value, which is not opened. [ErrNotFound].
func (v *Vault) Describe(ctx context.Context, call access.Call, id ObjectID) (Object, error) {
	o, err := v.authorize(ctx, call, access.MetadataRead)
	if err != nil {
		return Object{}, err
	}
	var object Object
	found, err := o.byID(ctx, string(id))
	if err == nil {
		object = found.describe(o.context)
	}
	return trail.Answer(ctx, o.Operation, object, err)
}

// finder reads a header and completes the permit with it.
type finder func(o *operation, ctx context.Context, ref string) (Stored, error)

// byID finds a header by the id of its object.
func (o *operation) byID(ctx context.Context, id string) (Stored, error) {
	if !ObjectID(id).wellFormed() {
		return Stored{}, ErrNotFound
	}
	o.Record.ObjectID = id
	found, err := o.vault.store.Header(ctx, o.Environment(), ObjectID(id))
	if err != nil {
		return Stored{}, err
	}
	if string(found.ID) != id {
		return Stored{}, fmt.Errorf("header of object %s: %w", id, keys.ErrTampered)
	}
	return found, o.complete(found)
}

// byName finds the header of the live object with a name. The name is the record's own; an index entry
// that leads to another object is a swap, not an answer.
func (o *operation) byName(ctx context.Context, name string) (Stored, error) {
	if checkName(name) != nil {
		return Stored{}, ErrNotFound
	}
	o.Record.ObjectName = name
	found, err := o.vault.store.HeaderByName(ctx, o.Environment(), name)
	if err != nil {
		return Stored{}, err
	}
	if found.Name != name {
		return Stored{}, fmt.Errorf("name index of object %s: %w", found.ID, keys.ErrTampered)
	}
	return found, o.complete(found)
}

// open reads header and ciphertext, which are two reads. Between them the version can be pruned,
// deleted or re-encrypted, so a ciphertext that is missing or does not open is looked at again behind
// a new fence; under a header that has not changed since, it was tampered with.
func (o *operation) open(ctx context.Context, find finder, ref string) (Object, error) {
	var last int64
	for range readAttempts {
		found, err := find(o, ctx, ref)
		if err != nil {
			return Object{}, err
		}
		object, err := o.openCurrent(ctx, found.Header)
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, keys.ErrTampered) {
			return object, err
		}
		if found.Revision == last {
			return Object{}, fmt.Errorf("object %s: %w", found.ID, keys.ErrTampered)
		}
		last = found.Revision
		if err := o.Refresh(ctx); err != nil {
			return Object{}, err
		}
	}
	return Object{}, ErrConflict
}

// openCurrent opens the current version of a header that the permit was completed with.
func (o *operation) openCurrent(ctx context.Context, h *Header) (Object, error) {
	current := h.Current()
	ciphertext, err := o.vault.store.Ciphertext(ctx, h.Environment, h.ID, current.Sequence)
	if err != nil {
		return Object{}, err
	}
	value, err := o.vault.keys.Open(ctx, o.Permit, keys.Sealed{
		KeyID:      h.KeyID,
		WrappedDEK: current.WrappedDEK,
		Ciphertext: ciphertext,
	}, h.Binding(current))
	if errors.Is(err, access.ErrDenied) {
		// The permit was completed with this header's context, so the header names a KEK of another one.
		return Object{}, keys.ErrTampered
	}
	if err != nil {
		return Object{}, err
	}
	object := h.describe(o.context)
	object.Value = value
	return object, nil
}

// describe is an object without its value. c is the header's context.
func (h *Header) describe(c keys.Context) Object {
	return Object{ID: h.ID, Name: h.Name, Metadata: h.metadata(c)}
}
