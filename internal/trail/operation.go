// Package trail is the first and the last statement of every use case: the permit, the read fence, the
// caller's API key again behind it, and the audit records that no answer leaves without.
package trail

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/idempotency"
)

// Guard is what a use case package begins its operations with. All fields but Requests are required.
type Guard struct {
	Gate  *access.Gate
	Audit *audit.Log
	// Fence returns once reads show everything that was acknowledged anywhere before.
	Fence func(context.Context) error
	// Verdict is what an audit record says of how a call ended.
	Verdict func(access.Action, error) Verdict
	// Requests is needed where a use case calls [Once].
	Requests Requests
}

// Operation is one call on its way through a use case: the permit it was given, and what its audit
// records will say, filled in as facts are checked. It belongs to the call's goroutine.
type Operation struct {
	Permit access.Permit
	// Record is the audit record so far. Names and ids enter it when they are known to be well formed.
	Record audit.Record

	guard *Guard
	// listed is set by a list, which asks for its entries one by one.
	listed bool
	// intended is set once the intent is recorded; intent is its index.
	intended bool
	intent   uint64
	// request is the call's Idempotency-Key, nil without one; pending is set while [Once] carries it out.
	request *idempotency.Request
	pending *idempotency.Pending
}

// Begin is the first statement of every exported method: the permit, the read fence, and the API key's
// record again behind the fence. The error has been recorded and is the caller's answer.
func (g *Guard) Begin(ctx context.Context, call access.Call, action access.Action) (*Operation, error) {
	o := &Operation{guard: g, Record: audit.For(call, action), request: call.Idempotency}
	permit, err := g.Gate.Authorize(call.Actor, action)
	if err == nil {
		o.Permit = permit
		err = o.Refresh(ctx)
	}
	if err != nil {
		return nil, o.End(ctx, err)
	}
	return o, nil
}

// Refresh makes the following reads reflect everything acknowledged until now, a revocation of the
// caller's own API key included.
func (o *Operation) Refresh(ctx context.Context) error {
	if err := o.guard.Fence(ctx); err != nil {
		return err
	}
	permit, err := o.guard.Gate.Recheck(ctx, o.Permit)
	if err != nil {
		return err
	}
	o.Permit = permit
	return nil
}

// Environment is the actor's, which no call crosses.
func (o *Operation) Environment() access.EnvironmentID { return o.Permit.Environment() }

// Complete completes the permit with a record whose MAC the store has checked, or with one about to be
// made. The permit stays as it was if the answer is no.
func (o *Operation) Complete(r access.Resource) error {
	o.Record.KeyContext = r.Items
	permit, err := o.Permit.Complete(r)
	if err != nil {
		return err
	}
	o.Permit = permit
	return nil
}

// Lists is said by a list, which needs no completed permit because it asks for each of its entries
// ([access.Permit.Allows]). It returns the permit to ask.
func (o *Operation) Lists() access.Permit {
	o.listed = true
	return o.Permit
}

// decided refuses what would leave, or change something, under a permit that was given for some records and never
// asked about this one: a use case that forgets to complete its permit serves nobody whose rights have a scope.
func (o *Operation) decided() error {
	if o.listed || o.Permit.Decided() {
		return nil
	}
	return access.ErrDenied
}

// Intend records that a change is about to be tried, once per call however often the transaction is
// retried. Without this record nothing is changed.
func (o *Operation) Intend(ctx context.Context) error {
	if o.intended {
		return nil
	}
	if err := o.decided(); err != nil {
		return err
	}
	intent := o.Record
	intent.Phase, intent.Result = audit.Intent, audit.Allowed
	index, err := o.guard.Audit.Append(ctx, intent)
	if err != nil {
		return err
	}
	o.intended, o.intent = true, index
	return nil
}

// Intent is the node and index of the recorded intent, for the events of the change.
func (o *Operation) Intent() (node string, index uint64) { return o.guard.Audit.Node(), o.intent }

// End writes the last record of a call that ends with err (or nil), and returns what the caller is
// told: no answer leaves without its record.
func (o *Operation) End(ctx context.Context, err error) error {
	if failed := o.conclude(ctx, err); failed != nil {
		return failed
	}
	return err
}

// Answer records the call and only then lets its result out: for everything that returns plaintext,
// names or metadata. If the record cannot be written, nothing leaves.
func Answer[T any](ctx context.Context, o *Operation, result T, err error) (T, error) {
	if err == nil {
		err = o.decided()
	}
	if err = o.End(ctx, err); err != nil {
		var nothing T
		return nothing, err
	}
	return result, nil
}

// Committed records the outcome of a change. A change that was committed is answered as such even if
// the outcome is lost: its event names the intent, so the trail is complete without it.
func Committed[T any](ctx context.Context, o *Operation, result T, err error) (T, error) {
	if err == nil && !o.intended {
		err = o.decided()
	}
	if failed := o.conclude(ctx, err); failed != nil && !o.intended {
		err = failed
	}
	if err != nil {
		var nothing T
		return nothing, err
	}
	return result, nil
}

// conclude writes the outcome of an intent, or the access. The error is the audit log's own, which waits
// for a bounded time and whatever the context says: who hangs up would otherwise probe without a trace,
// or leave a commit without its outcome.
func (o *Operation) conclude(ctx context.Context, err error) error {
	last, v := o.Record, o.guard.Verdict(o.Record.Action, err)
	last.Result, last.Status = v.Result, v.Status
	if err != nil {
		last.Code = v.Code // the code of a success is a remark, such as a replay
	}
	last.Phase = audit.Access
	if o.intended {
		last.Phase, last.Intent = audit.Outcome, o.intent
	}
	_, failed := o.guard.Audit.Append(ctx, last)
	return failed
}
