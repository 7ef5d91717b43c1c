package vault

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/keys"
)

// operation is one call on its way through a use case: the permit it was given, and what its audit
// records will say, filled in as facts are checked. It belongs to the call's goroutine.
type operation struct {
	vault  *Vault
	permit access.Permit
	// context is the key context that the permit was completed with, zero before.
	context keys.Context
	// trail is the audit record so far. Names and ids enter it when they are known to be well formed.
	trail audit.Record
	// intended is set once the intent is recorded; intent is its index.
	intended bool
	intent   uint64
}

// authorize is the first statement of every exported method: the permit, the read fence, and the
// API key's record again behind the fence. The error has been recorded and is the caller's answer.
func (v *Vault) authorize(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o := &operation{vault: v, trail: audit.For(call, action)}
	permit, err := v.gate.Authorize(call.Actor, action)
	if err == nil {
		o.permit = permit
		err = o.refresh(ctx)
	}
	if err != nil {
		return nil, o.record(ctx, err)
	}
	return o, nil
}

// refresh makes the following reads reflect everything acknowledged until now, a revocation of the
// caller's own API key included.
func (o *operation) refresh(ctx context.Context) error {
	if err := o.vault.store.Fence(ctx); err != nil {
		return err
	}
	return o.vault.gate.Recheck(ctx, o.permit)
}

// environment is the actor's, which no call crosses.
func (o *operation) environment() access.EnvironmentID { return o.permit.Environment() }

// actor is who events name.
func (o *operation) actor() events.Actor {
	a := o.permit.Actor()
	return events.Actor{ID: a.ID(), Source: a.Source(), Name: a.Name()}
}

// complete completes the permit with a record whose MAC the store has checked. Before that the record
// must be the one that was asked for: a store that hands out another environment's header, or one
// without a version, is not believed.
func (o *operation) complete(found Stored) error {
	h := found.Header
	if h.Environment != o.environment() || len(h.Versions) == 0 {
		return keys.ErrTampered
	}
	o.trail.ObjectID, o.trail.ObjectName = string(h.ID), h.Name
	o.trail.VersionID, o.trail.KeyID = string(h.Current().ID), string(h.KeyID)
	o.trail.Revision = found.Revision
	return o.completeWith(h.Name, h.Context(), h.Items)
}

// completeWith completes the permit with the name and context of a record, or of one about to be made.
// items are those of the context; they are read only. The permit stays as it was if the answer is no.
func (o *operation) completeWith(name string, c keys.Context, items map[string]string) error {
	o.trail.KeyContext = items
	permit, err := o.permit.Complete(resource(name, c, items))
	if err != nil {
		return err
	}
	o.permit, o.context = permit, c
	return nil
}

func resource(name string, c keys.Context, items map[string]string) access.Resource {
	return access.Resource{Name: name, Context: c.Canonical(), Items: items}
}

// intend records that a change is about to be tried, once per call however often the transaction is
// retried. Without this record nothing is changed.
func (o *operation) intend(ctx context.Context) error {
	if o.intended {
		return nil
	}
	intent := o.trail
	intent.Phase, intent.Result = audit.Intent, audit.Allowed
	index, err := o.vault.audit.Append(ctx, intent)
	if err != nil {
		return err
	}
	o.intended, o.intent = true, index
	return nil
}

// conclude writes the last record of the call: the outcome of an intent, or the access. The error is
// the audit log's own. The log waits for a bounded time and whatever the context says: who hangs up
// would otherwise probe without a trace, or leave a commit without its outcome.
func (o *operation) conclude(ctx context.Context, err error) error {
	last, v := o.trail, judge(o.trail.Action, err)
	last.Result, last.Status = v.result, v.status
	if err != nil {
		last.Code = v.code
	}
	last.Phase = audit.Access
	if o.intended {
		last.Phase, last.Intent = audit.Outcome, o.intent
	}
	_, failed := o.vault.audit.Append(ctx, last)
	return failed
}

// record writes the last record of a call that ends with err (or nil), and returns what the caller is
// told: no answer leaves without its record.
func (o *operation) record(ctx context.Context, err error) error {
	if failed := o.conclude(ctx, err); failed != nil {
		return failed
	}
	return err
}

// answer records the call and only then lets its result out: for everything that returns plaintext,
// names or metadata. If the record cannot be written, nothing leaves.
func answer[T any](ctx context.Context, o *operation, result T, err error) (T, error) {
	if err = o.record(ctx, err); err != nil {
		var nothing T
		return nothing, err
	}
	return result, nil
}

// committed records the outcome of a change. A change that was committed is answered as such even if
// the outcome is lost: its event names the intent, so the trail is complete without it.
func committed[T any](ctx context.Context, o *operation, result T, err error) (T, error) {
	if failed := o.conclude(ctx, err); failed != nil && !o.intended {
		err = failed
	}
	if err != nil {
		var nothing T
		return nothing, err
	}
	return result, nil
}
