package vault

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
	"culvert/keys"
)

// operation is one call on its way through a use case. It belongs to the call's goroutine.
type operation struct {
	*trail.Operation
	vault *Vault
	// context is the key context that the permit was completed with, zero before.
	context keys.Context
}

// authorize is the first statement of every exported method. The error has been recorded and is the
// caller's answer.
func (v *Vault) authorize(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := v.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	return &operation{Operation: o, vault: v}, nil
}

// complete completes the permit with a record whose MAC the store has checked. Before that the record
// must be the one that was asked for: a store that hands out another environment's header, or one
// without a version, is not believed.
func (o *operation) complete(found Stored) error {
	h := found.Header
	if h.Environment != o.Environment() || len(h.Versions) == 0 {
		return keys.ErrTampered
	}
	o.Record.ObjectID, o.Record.ObjectName = string(h.ID), h.Name
	o.Record.VersionID, o.Record.KeyID = string(h.Current().ID), string(h.KeyID)
	o.Record.Revision = found.Revision
	return o.completeWith(h.Name, h.Context(), h.Items)
}

// completeWith completes the permit with the name and context of a record, or of one about to be made.
// items are those of the context; they are read only.
func (o *operation) completeWith(name string, c keys.Context, items map[string]string) error {
	if err := o.Complete(resource(name, c, items)); err != nil {
		return err
	}
	o.context = c
	return nil
}

func resource(name string, c keys.Context, items map[string]string) access.Resource {
	return access.Resource{Name: name, Context: c.Canonical(), Items: items}
}
