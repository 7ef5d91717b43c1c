package access

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/outage"
)

// Authorize decides what can be decided without the record: the first statement of every exported
// method of a use case. The permit opens nothing until it is completed. The error is [ErrDenied].
func (g *Gate) Authorize(actor Actor, action Action) (Permit, error) {
	if actor.kind == 0 || actor.policy == nil {
		return Permit{}, ErrDenied
	}
	if isOfStore(action) && !g.KeepsStore(actor.env) {
		return Permit{}, ErrDenied
	}
	at := g.now()
	d := actor.policy.first(action, everything(at))
	if d.verdict == never {
		return Permit{}, ErrDenied
	}
	return Permit{actor: actor, action: action, at: at, settled: d.verdict == always}, nil
}

// Everywhere asks for a second action that a call implies on records nobody has looked at yet, such as those of
// a job: it has to be allowed on all of them. The error is [ErrDenied].
func (g *Gate) Everywhere(actor Actor, action Action) error {
	p, err := g.Authorize(actor, action)
	if err != nil || !p.settled {
		return ErrDenied
	}
	return nil
}

// Recheck looks at the actor's API key again once the read fence has passed, so that a revocation, and a
// change of what the key or its role may, hold on every replica from their acknowledgement on. Unchanged
// records cost a memory look-up each. What changed is decided anew, for the record too if the permit was
// complete: the permit returned is the one that counts. Errors are [ErrDenied] and those of
// [Gate.Authenticate].
func (g *Gate) Recheck(ctx context.Context, p Permit) (Permit, error) {
	a := p.actor
	switch a.kind {
	case KindFlow, KindSystem:
		return p, nil // a flow's credential is its own record, which the use case reads behind the fence
	case KindAPIKey:
	default:
		return Permit{}, ErrUnauthenticated
	}
	record, revision, err := g.lookup(ctx, a.env, a.id)
	var broken *brokenRecord
	switch {
	case errors.As(err, &broken):
		g.report(ctx, a.env, a.id, broken.cause)
		return Permit{}, ErrUnauthenticated
	case err != nil:
		return Permit{}, err
	case !record.Usable(g.now()):
		return Permit{}, ErrUnauthenticated
	case revision == a.at.key && g.roleStands(ctx, &record, a.at.role):
		return p, nil
	}
	return g.anew(ctx, p, &record, revision)
}

// anew decides a permit again with the records as they are now.
func (g *Gate) anew(ctx context.Context, p Permit, record *KeyRecord, revision int64) (Permit, error) {
	actor, err := g.actor(ctx, record, revision)
	if err != nil {
		return Permit{}, err
	}
	next, err := g.Authorize(actor, p.action)
	if err != nil || !p.complete {
		return next, err
	}
	covered := p.context
	if next, err = next.Complete(p.resource); err != nil {
		return Permit{}, err
	}
	next.context = covered
	return next, nil
}

// actor is whom a record makes, with the rules of its role.
func (g *Gate) actor(ctx context.Context, record *KeyRecord, revision int64) (Actor, error) {
	rules, at, err := g.role(ctx, record.Environment, record.Role)
	if err != nil {
		return Actor{}, err
	}
	return Actor{
		kind: KindAPIKey, env: record.Environment, id: record.ID, name: record.Name,
		policy: record.policy(rules), at: revisions{revision, at},
	}, nil
}

// role finds the rules of a role. One that is unknown, or whose record is not what was stored, has none. The
// error is an outage.
func (g *Gate) role(ctx context.Context, env EnvironmentID, name Role) (rules []Rule, revision int64, err error) {
	if name == "" {
		return nil, 0, nil
	}
	if rules, ok := BuiltIn(name); ok {
		return rules, 0, nil
	}
	found, revision, err := g.keys.Role(ctx, env, name)
	switch {
	case err == nil && found.Name == name && found.Environment == env:
		return found.Rules, revision, nil
	case err == nil:
		err = errors.New("record of another role")
	case errors.Is(err, ErrNoRole):
		return nil, 0, nil
	case err != nil && (outage.Of(err) != nil || ctx.Err() != nil):
		return nil, 0, err
	}
	g.report(ctx, env, "role/"+string(name), err)
	return nil, 0, nil
}

// roleStands tells that a role's record is at a revision still. Those of the program never change.
func (g *Gate) roleStands(ctx context.Context, record *KeyRecord, revision int64) bool {
	if record.Role == "" || slices.Contains(Roles(), record.Role) {
		return true
	}
	_, now, err := g.keys.Role(ctx, record.Environment, record.Role)
	if errors.Is(err, ErrNoRole) {
		return revision == 0
	}
	return err == nil && now == revision
}
