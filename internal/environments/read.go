package environments

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
	"culvert/keys"
)

// All are the environments that the caller may see, in the order of their creation: those of the whole store for an
// API key of the first one, its own for any other.
func (es *Environments) All(ctx context.Context, call access.Call) ([]*keys.Environment, error) {
	o, err := es.begin(ctx, call, access.EnvironmentsRead)
	if err != nil {
		return nil, err
	}
	seen, err := o.seen(ctx)
	return trail.Answer(ctx, o.Operation, seen, err)
}

// Environment is one of them, by its id as clients see it, or by its name.
//
// Errors: [ErrNotFound], also for one that the caller may not see.
func (es *Environments) Environment(ctx context.Context, call access.Call, named string) (*keys.Environment, error) {
	o, err := es.begin(ctx, call, access.EnvironmentsRead)
	if err != nil {
		return nil, err
	}
	found, err := o.find(ctx, named)
	return trail.Answer(ctx, o.Operation, found, err)
}

func (o *operation) find(ctx context.Context, named string) (*keys.Environment, error) {
	seen, err := o.seen(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range seen {
		if e.ID().OnWire() == named || e.Name() == named {
			o.Record.ObjectID, o.Record.ObjectName = e.ID().OnWire(), e.Name()
			return e, nil
		}
	}
	return nil, ErrNotFound
}

func (o *operation) seen(ctx context.Context) ([]*keys.Environment, error) {
	all, _, err := o.environments.store.AllEnvironments(ctx)
	if err != nil || o.environments.gate.KeepsStore(o.Environment()) {
		return all, err
	}
	var own []*keys.Environment
	for _, e := range all {
		if e.ID() == o.Environment() {
			own = append(own, e)
		}
	}
	return own, nil
}
