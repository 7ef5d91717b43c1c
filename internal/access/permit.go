package access

import (
	"errors"
	"time"
)

// ErrDenied means that the actor is known and may not do this (403).
var ErrDenied = errors.New("access: denied")

// Resource is what a permit is completed with: the name and context of the record whose MAC or seal
// has been checked, never what the caller claims.
type Resource struct {
	// Name is an object's; empty where the record is none.
	Name string
	// Context is the canonical form of the key context (keys.Context.Canonical).
	Context string
	// Items is the same context as name/value pairs, for rules by context item.
	Items map[string]string
	// Connector is the slug of what a record of pipes belongs to; empty elsewhere.
	Connector string
}

// Permit is the evaluator's word that an actor may perform an action. It comes in two steps: what can
// be decided without the record ([Gate.Authorize]), then the record itself ([Permit.Complete]).
// keys.Open and keys.Seal refuse an incomplete permit, so a use case that forgets the second step
// opens nothing.
type Permit struct {
	actor  Actor
	action Action
	// at is the moment that both steps are decided for.
	at time.Time
	// settled tells that the first step allowed every record there can be.
	settled  bool
	complete bool
	context  string
	// resource is what the permit was completed with, for [Gate.Recheck].
	resource Resource
}

// Actor is who the permit was given to.
func (p Permit) Actor() Actor { return p.actor }

// Action is what the permit allows.
func (p Permit) Action() Action { return p.action }

// Environment is the actor's.
func (p Permit) Environment() EnvironmentID { return p.actor.env }

// Decided tells that nothing is left to be decided: the permit was completed, or the answer is the same for
// every record. Nothing may be returned or changed under one that is not ([Permit.Allows] aside, for lists).
func (p Permit) Decided() bool { return p.settled || p.complete }

// Complete decides with the record at hand. The error is [ErrDenied].
func (p Permit) Complete(r Resource) (Permit, error) {
	if !p.Allows(r) {
		return Permit{}, ErrDenied
	}
	p.complete, p.context, p.resource = true, r.Context, r
	return p, nil
}

// Allows tells whether the permit could be completed with a record: for lists, which show what they may.
func (p Permit) Allows(r Resource) bool {
	if p.actor.policy == nil {
		return false
	}
	return p.settled || p.actor.policy.decide(p.action, record(&r, p.at)).verdict == always
}

// Beside is a permit for a second key context that a decided call needs, such as that of the client secret
// which a token is refreshed with: which one is the program's choice and never the caller's. The error is
// [ErrDenied] if the call was not decided with a record before.
func (p Permit) Beside(context string) (Permit, error) {
	if !p.complete {
		return Permit{}, ErrDenied
	}
	p.context = context
	return p, nil
}

// Covers reports whether the permit is complete and was completed for exactly this key context
// (canonical form).
func (p Permit) Covers(context string) bool { return p.complete && p.context == context }
