package access

import "culvert/internal/idempotency"

// EnvironmentID is the bare ULID of an environment: the first field of every key and every AAD.
type EnvironmentID string

// OnWire is the id as clients see it (contract section 4, IDs).
func (e EnvironmentID) OnWire() string { return "environment_" + string(e) }

// Kind tells what kind of credential made an actor. There is no zero kind: the zero Actor may nothing.
type Kind int

// The kinds of credential.
const (
	KindAPIKey Kind = iota + 1
	// KindFlow is a browser with a ticket or flow state of an authorization: whoever holds it may go on
	// with that flow and nothing else.
	KindFlow
	// KindSystem is the server itself, at work that no caller asked for.
	KindSystem
)

// Actor is an authenticated caller. It is a parameter of every use case, never hidden in a context.
// Only this package can make one that is not zero.
type Actor struct {
	kind Kind
	env  EnvironmentID
	id   string
	name string
	// policy is what the actor may: never nil, but in the zero Actor.
	policy *policy
	// at are the revisions of the records that the policy is from; [Gate.Recheck] compares them after the fence.
	at revisions
}

// revisions are those of an API key's record and of its role's, which is 0 for a role that is no record.
type revisions struct{ key, role int64 }

// FlowActor is the actor of a browser leg, to be made only after the ticket or flow state was checked
// against the flow's record.
func FlowActor(env EnvironmentID, flowID string) Actor {
	return Actor{kind: KindFlow, env: env, id: flowID, name: "browser", policy: only(FlowConfirm, FlowComplete)}
}

// SystemActor is the actor of work that no caller asked for, such as refreshing a grant that nobody has
// used lately; the name says which. It may do that work and nothing else, and no request can make it.
func SystemActor(env EnvironmentID, name string) Actor {
	return Actor{kind: KindSystem, env: env, name: name, policy: only(TokenRefresh, TokenRevoke)}
}

// only is the policy of an actor whose credential is no API key.
func only(actions ...Action) *policy {
	return &policy{rules: []Rule{{Effect: Allow, Actions: actions}}}
}

// Environment is where the actor acts; an actor never crosses it.
func (a Actor) Environment() EnvironmentID { return a.env }

// KeyID is the API key's ULID; empty for actors of another kind.
func (a Actor) KeyID() string {
	if a.kind != KindAPIKey {
		return ""
	}
	return a.id
}

// ID is "key_" and the API key's ULID, "flow_" and the flow's, or "system".
func (a Actor) ID() string {
	switch a.kind {
	case KindAPIKey:
		return "key_" + a.id
	case KindFlow:
		return "flow_" + a.id
	case KindSystem:
		return "system"
	}
	return ""
}

// Name is the API key's label; a browser's is "browser", the server's that of its work.
func (a Actor) Name() string { return a.name }

// Source is the contract's actor_source.
func (a Actor) Source() string {
	if a.kind == KindSystem {
		return "system"
	}
	return "api"
}

// Call is one request of an actor: what every exported method of vault and pipes takes first.
type Call struct {
	Actor Actor
	// RequestID is ours, never the caller's; audit records and error bodies carry it.
	RequestID string
	// Route is the template of the route that was called, for audit records; empty outside HTTP.
	Route string
	// Idempotency is the request's Idempotency-Key; nil without one, or where a route has no use for it.
	Idempotency *idempotency.Request
}
