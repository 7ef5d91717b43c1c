package access

import (
	"slices"
	"time"
)

// Effect is what a rule does.
type Effect string

// The effects. A denial wins over whatever allows.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// Every stands for all actions in a rule.
const Every Action = "*"

// Rule allows or denies actions on the records in a scope.
type Rule struct {
	Effect Effect `cbor:"1,keyasint"`
	// Actions are names, compared whole; [Every] is all of them.
	Actions []Action `cbor:"2,keyasint"`
	Scope   Scope    `cbor:"3,keyasint,omitzero"`
}

func (r *Rule) about(a Action) bool {
	return slices.Contains(r.Actions, a) || slices.Contains(r.Actions, Every)
}

// policy is what an actor may: the rules, as far as they lie in its own scopes. It is immutable.
type policy struct {
	rules []Rule
	// scopes are those of the actor itself; all of them narrow every rule.
	scopes []Scope
}

// Reason says what a decision rests on.
type Reason string

// The reasons.
const (
	// ReasonAllowed is a rule that allows, ReasonDenied one that denies.
	ReasonAllowed Reason = "allowed_by_rule"
	ReasonDenied  Reason = "denied_by_rule"
	// ReasonNoRule means that no rule allows the action at all, ReasonOutOfScope that those which do are about
	// other records or other times, ReasonKeyScope that the API key's own scope or organization is.
	ReasonNoRule     Reason = "no_rule"
	ReasonOutOfScope Reason = "out_of_scope"
	ReasonKeyScope   Reason = "out_of_key_scope"
	// ReasonWhole means that the action is about a whole environment, and the actor may a part of it.
	ReasonWhole Reason = "whole_environment"
	// ReasonElsewhere means that the action is about the whole store, and the actor of an environment that has no
	// say in it.
	ReasonElsewhere Reason = "other_environment"
)

// decision is how far a policy allows an action over a region. rule is the index of the rule it rests on, -1
// if there is none.
type decision struct {
	verdict verdict
	reason  Reason
	rule    int
}

// decide is the one evaluator: every path to an answer ends here, with one record, with all there can be, or
// with those that somebody else would be given.
//
// always and never are certain. partly is not: over a region that is no single record, several rules that allow
// some of it each are not added up, and a denial that may apply counts.
func (p *policy) decide(a Action, r *region) decision {
	d := decision{never, ReasonNoRule, -1}
	if a == "" {
		return d
	}
	refused := -1
	for i := range p.rules {
		rule := &p.rules[i]
		if !rule.about(a) {
			continue
		}
		held := r.within(&rule.Scope)
		switch {
		case rule.Effect == Deny && held == always:
			return decision{never, ReasonDenied, i}
		case rule.Effect == Deny:
			if held == partly {
				refused = i
			}
		case rule.Effect != Allow:
		case held > d.verdict:
			d = decision{held, ReasonAllowed, i}
		case d.verdict == never:
			d = decision{never, ReasonOutOfScope, i}
		}
	}
	for i := range p.scopes {
		if held := r.within(&p.scopes[i]); held < d.verdict {
			d = decision{held, ReasonKeyScope, -1}
		}
	}
	if refused >= 0 && d.verdict == always {
		d = decision{partly, ReasonDenied, refused}
	}
	return d
}

// first is the step without a record: whether there can be one that the action is allowed on. What is about a
// whole environment needs all of it.
func (p *policy) first(a Action, r *region) decision {
	d := p.decide(a, r)
	if d.verdict == partly && isWhole(a) {
		if d.reason == ReasonAllowed {
			d.reason = ReasonWhole
		}
		d.verdict = never
	}
	return d
}

// holds tells whether the policy allows all that another one does, from a moment on until another (zero: for
// ever): nobody gives what they do not have. It is wrong on the side of no.
func (p *policy) holds(other *policy, from, until time.Time) bool {
	for i := range other.rules {
		rule := &other.rules[i]
		if rule.Effect != Allow {
			continue
		}
		r := over(rule.Scope, from, until)
		for j := range other.scopes {
			r.narrow(&other.scopes[j])
		}
		for _, a := range rule.named() {
			if !other.denies(a, r) && p.without(other, a, from, until).decide(a, r).verdict != always {
				return false
			}
		}
	}
	return true
}

// without is the policy but for what it denies and another one denies too: who passes a denial on gives nothing by it.
func (p *policy) without(other *policy, a Action, from, until time.Time) *policy {
	left := &policy{scopes: p.scopes}
	for _, rule := range p.rules {
		if rule.Effect != Deny || !other.denies(a, over(rule.Scope, from, until)) {
			left.rules = append(left.rules, rule)
		}
	}
	return left
}

// denies tells that one of the rules denies the action all over a region.
func (p *policy) denies(a Action, r *region) bool {
	return slices.ContainsFunc(p.rules, func(rule Rule) bool {
		return rule.Effect == Deny && rule.about(a) && r.within(&rule.Scope) == always
	})
}

// named are the actions of a rule one by one. [Every] stands among them for those that are not known yet, which
// only a rule of every action holds.
func (r *Rule) named() []Action {
	if !slices.Contains(r.Actions, Every) {
		return r.Actions
	}
	all := []Action{Every}
	for _, f := range facts() {
		all = append(all, f.action)
	}
	return all
}
