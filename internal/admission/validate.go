package admission

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// Validate tells which key of an organization a text is: for applications whose customers call them with keys
// that they made here. It is nil for everything else: garbage, a key that has ended, one of another environment,
// one that no organization owns or whose organization the caller may not see. An answer takes the same steps
// whatever the reason (access.Gate.Authenticate).
//
// The zero APIKey is a text that is none.
func (r *Register) Validate(ctx context.Context, call access.Call, shown access.APIKey) (*Key, error) {
	o, err := r.begin(ctx, call, access.APIKeyValidate)
	if err != nil {
		return nil, err
	}
	key, err := o.validate(ctx, shown)
	return trail.Answer(ctx, o.Operation, key, err)
}

func (o *operation) validate(ctx context.Context, shown access.APIKey) (*Key, error) {
	o.Lists() // what may not be seen is as if it were not there
	record, err := o.register.gate.Identify(ctx, shown)
	switch {
	case errors.Is(err, access.ErrUnauthenticated):
		return nil, nil
	case err != nil:
		return nil, err
	case record.Organization == "" || record.Environment != o.Environment() || !o.Permit.Allows(resource(&record)):
		return nil, nil
	}
	o.Record.ObjectID, o.Record.ObjectName, o.Record.OrganizationID = OnWire(record.ID), record.Name, record.Organization
	found, err := o.tell(ctx, &record)
	if err != nil {
		return nil, err
	}
	return &found, nil
}
