package vault

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// DeleteRequest asks for the end of an object.
type DeleteRequest struct {
	ID ObjectID
	// IfVersion is the version the caller believes is current; nil deletes whatever is.
	IfVersion *VersionID
}

// Delete removes an object with all its versions and returns its name, which is free from then on.
//
// Errors: [ErrNotFound], [ErrVersion]; [ErrConflict] as for [Vault.Update].
func (v *Vault) Delete(ctx context.Context, call access.Call, r DeleteRequest) (name string, err error) {
	o, err := v.authorize(ctx, call, access.DataDelete)
	if err != nil {
		return "", err
	}
	err = o.change(ctx, r.ID, r.IfVersion, func(found Stored) error {
		e, err := o.event(events.DataDeleted, changed{Name: found.Name}, v.ids.Now())
		if err != nil {
			return err
		}
		name = found.Name
		return v.store.Delete(ctx, *found.Header, found.Revision, e)
	})
	return trail.Committed(ctx, o.Operation, name, err)
}
