package access

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Gives tells whether whom the permit was given to may do all that a key would allow, with the rules of its role,
// from now on for as long as it lives: nobody makes a key that can do more than they can.
//
// A permission that is named as actions are, and is none, may be one for a later version of this program, which finds
// the key as it was made: only who has every action gives it.
func (p Permit) Gives(key *KeyRecord, role []Rule, now time.Time) bool {
	given := key.policy(role)
	if slices.ContainsFunc(key.Permissions, isNamedAsActions) {
		given.rules = append(slices.Clone(given.rules), Rule{Effect: Allow, Actions: []Action{Every}})
	}
	return p.actor.policy != nil && p.actor.policy.holds(given, now, key.ExpiresAt)
}

// isNamedAsActions tells a permission that is no action, and begins as one does: all up to the first dot.
func isNamedAsActions(permission string) bool {
	of := func(name string) string { begin, _, _ := strings.Cut(name, "."); return begin }
	return strings.Contains(permission, ".") && !IsAction(Action(permission)) &&
		slices.ContainsFunc(facts(), func(f fact) bool { return of(string(f.action)) == of(permission) })
}

// GivesRules is Gives for a role, which has no end.
func (p Permit) GivesRules(rules []Rule, now time.Time) bool {
	return p.actor.policy != nil && p.actor.policy.holds(&policy{rules: rules}, now, time.Time{})
}

// Explanation is what the evaluator says of an action, and what that rests on.
type Explanation struct {
	Allowed bool
	Reason  Reason
	// Rule is nil where no single rule decides; Number is its place among those of the role, from 1, behind
	// which come the key's own permissions.
	Rule   *Rule
	Number int
}

// Explain is what the two steps say of a key, now. For an action about a whole environment the record does not
// count. The error is an outage.
func (g *Gate) Explain(ctx context.Context, key *KeyRecord, revision int64, a Action, r Resource) (Explanation, error) {
	actor, err := g.actor(ctx, key, revision)
	if err != nil {
		return Explanation{}, err
	}
	p, at := actor.policy, g.now()
	d := p.first(a, everything(at))
	if d.verdict != never && !isWhole(a) {
		d = p.decide(a, record(&r, at))
	}
	e := Explanation{Allowed: d.verdict == always, Reason: d.reason}
	if isOfStore(a) && !g.KeepsStore(actor.env) && e.Allowed {
		return Explanation{Reason: ReasonElsewhere}, nil
	}
	if d.rule >= 0 {
		e.Rule, e.Number = &p.rules[d.rule], d.rule+1
	}
	return e, nil
}
