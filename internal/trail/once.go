package trail

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/idempotency"
	"culvert/internal/outage"
)

// Requests finds what was made under Idempotency-Keys.
type Requests interface {
	// FirstRequest returns the ids that the first request under a key has made, and whether it had this body; none if
	// there was no such request. It reflects everything that was acknowledged anywhere.
	FirstRequest(ctx context.Context, env access.EnvironmentID, r *idempotency.Request) (ids []string, sameBody bool, err error)
}

// codeReplay is the remark in the audit record of a request that made nothing because an earlier one has.
const codeReplay = "idempotent_replay"

// Once carries out a create under the Idempotency-Key of its call, if there is one: of all requests under a key
// one makes something, and the others get the same, as it is now. again finds that by the ids which do has named
// with [Operation.Makes]; it completes the permit as do does, and may find that it is gone.
//
// Nothing is looked up before do has failed: the transaction of a first request, which most are, finds out by itself
// that there was none. A caller who may not is not told what others made.
func Once[T any](
	ctx context.Context, o *Operation, do func(context.Context) (T, error), again func(context.Context, []string) (T, error),
) (T, error) {
	if o.request == nil {
		return do(ctx)
	}
	o.pending = &idempotency.Pending{Request: o.request}
	result, err := do(idempotency.With(ctx, o.pending))
	if err == nil || errors.Is(err, access.ErrDenied) || errors.Is(err, access.ErrUnauthenticated) || outage.Of(err) != nil {
		return result, err
	}
	var nothing T
	ids, sameBody, failed := o.guard.Requests.FirstRequest(ctx, o.Environment(), o.request)
	switch {
	case failed != nil:
		return nothing, failed
	case len(ids) == 0:
		return nothing, err
	case !sameBody:
		return nothing, idempotency.ErrOtherBody
	}
	o.Record.Code = codeReplay
	return again(ctx, ids)
}

// Makes says what the change that is about to be stored makes, for whoever repeats the request.
func (o *Operation) Makes(ids ...string) {
	if o.pending != nil {
		o.pending.Make(ids...)
	}
}
