package pipes

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
	"culvert/keys"
)

// operation is one call on its way through a use case.
type operation struct {
	*trail.Operation
	broker *Broker
}

// begin is the first statement of every method with a call.
func (b *Broker) begin(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := b.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	return &operation{Operation: o, broker: b}, nil
}

// fork is the same call with a trail of its own from here on: for work that outlives the call.
func (o *operation) fork() *operation {
	copied := *o.Operation
	return &operation{Operation: &copied, broker: o.broker}
}

// complete completes the permit for a record of this provider under this key context.
func (o *operation) complete(slug string, c keys.Context) error {
	return o.Complete(resource(slug, c))
}

// alsoMay asks for a second action that a call implies beside its own, on a record of this provider under this key
// context. The error is [access.ErrDenied].
func (o *operation) alsoMay(action access.Action, slug string, c keys.Context) error {
	permit, err := o.broker.guard.Gate.Authorize(o.Permit.Actor(), action)
	if err == nil && !permit.Allows(resource(slug, c)) {
		err = access.ErrDenied
	}
	return err
}

// permitFor is the permit for a second key context, beside the one that the call is about: an
// integration's client secret stands in the empty one, whatever the account's.
func (o *operation) permitFor(slug string, c keys.Context) (access.Permit, error) {
	if beside, err := o.Permit.Beside(c.Canonical()); err == nil {
		return beside, nil
	}
	return o.Permit.Complete(resource(slug, c))
}

// allows tells whether a list may show what an owner has at a provider.
func (o *operation) allows(slug string, w Owner) bool {
	kctx, err := w.keyContext()
	return err == nil && o.Lists().Allows(resource(slug, kctx))
}

// resource is a record of this provider under this key context; slug is empty for what is of no provider.
func resource(slug string, c keys.Context) access.Resource {
	return access.Resource{Context: c.Canonical(), Items: c.Items(), Connector: slug}
}

// sealMeta names the intent and the actor for the event of a KEK that a seal may create.
func (o *operation) sealMeta() keys.SealMeta {
	node, index := o.Intent()
	return keys.SealMeta{Node: node, Index: index, Actor: events.ActorOf(o.Permit.Actor())}
}

// about notes whom a call is about, once the values are known to be well formed.
func (o *operation) about(slug string, w Owner, actingUser string) {
	o.Record.Provider = slug
	o.Record.UserID, o.Record.OrganizationID = w.User, w.Organization
	if w.Kind == OwnedByOrganization {
		o.Record.UserID = actingUser
	}
}

// changeAttempts bounds the read-compare-write rounds of one change. Every lost round means that another
// change of the same record was committed.
const changeAttempts = 16

// retry runs a round of a change until it does not conflict. Before each but the first the reads are
// made current again.
func (o *operation) retry(ctx context.Context, round func() error) error {
	return rounds(ctx, o.Refresh, round)
}

// rounds runs a round of a change until it does not conflict, and again before each but the first.
func rounds(ctx context.Context, again func(context.Context) error, round func() error) error {
	for attempt := range changeAttempts {
		if attempt > 0 {
			if err := again(ctx); err != nil {
				return err
			}
		}
		if err := round(); !conflicted(err) {
			return err
		}
	}
	return ErrConflict
}

// answer is [trail.Answer] for an operation of this package.
func answer[T any](ctx context.Context, o *operation, result T, err error) (T, error) {
	return trail.Answer(ctx, o.Operation, result, err)
}

// committed is [trail.Committed] for an operation of this package.
func committed[T any](ctx context.Context, o *operation, result T, err error) (T, error) {
	return trail.Committed(ctx, o.Operation, result, err)
}
