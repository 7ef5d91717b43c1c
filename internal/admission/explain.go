package admission

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// Question is what somebody wants to know of a key.
type Question struct {
	// KeyID is the key's id as clients see it; empty is the caller's own.
	KeyID  string
	Action access.Action
	// Record is what the action would be about. For an action about a whole environment it does not count.
	Record access.Resource
}

// Answer is whether a key may do something, and why.
type Answer struct {
	Key     Key
	Action  access.Action
	Allowed bool
	Reason  access.Reason
	// Rule is what it rests on, nil if that is no rule; Number counts the rules of the role from 1, and what the
	// key's own permissions allow comes behind them.
	Rule   *access.Rule
	Number int
}

// Explain asks the one evaluator what it would say, and changes nothing.
//
// Errors: [*InvalidError], [ErrNoKey].
func (r *Register) Explain(ctx context.Context, call access.Call, q Question) (Answer, error) {
	o, err := r.begin(ctx, call, access.AccessExplain)
	if err != nil {
		return Answer{}, err
	}
	answer, err := o.explain(ctx, &q)
	return trail.Answer(ctx, o.Operation, answer, err)
}

func (o *operation) explain(ctx context.Context, q *Question) (Answer, error) {
	if q.Action == access.Every || !access.IsAction(q.Action) {
		return Answer{}, invalid("action", "must be the name of an action as API.md has it")
	}
	keyID := q.KeyID
	if keyID == "" {
		keyID = o.Permit.Actor().KeyID()
	}
	found, err := o.find(ctx, keyID)
	if err != nil {
		return Answer{}, err
	}
	key, err := o.tell(ctx, found.Record)
	if err != nil {
		return Answer{}, err
	}
	e, err := o.register.gate.Explain(ctx, found.Record, found.Revision, q.Action, q.Record)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Key: key, Action: q.Action, Allowed: e.Allowed, Reason: e.Reason, Rule: e.Rule, Number: e.Number}
	if key.State != Active {
		answer.Allowed, answer.Reason, answer.Rule, answer.Number = false, access.Reason("key_"+string(key.State)), nil, 0
	}
	return answer, nil
}
