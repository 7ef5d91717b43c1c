package admission

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// Role is what is told of a role.
type Role struct {
	access.RoleRecord
	// BuiltIn marks a role of the program.
	BuiltIn bool
}

// RoleRequest asks for a role, new or in place of the one of its name.
type RoleRequest struct {
	Name        access.Role
	Description string
	Rules       []access.Rule
}

func (r *RoleRequest) check() error {
	if slices.Contains(access.Roles(), r.Name) {
		return ErrRoleExists
	}
	if !access.IsRoleName(r.Name) {
		return invalid("name", "must be small letters, digits and dashes, at most 63, and begin with a letter")
	}
	if err := checkDescription(r.Description); err != nil {
		return err
	}
	return checkRules(r.Rules)
}

// CreateRole makes a role.
//
// Errors: [*InvalidError], [ErrRoleExists], [ErrExceeds], [ErrTooManyRoles].
func (r *Register) CreateRole(ctx context.Context, call access.Call, q RoleRequest) (Role, error) {
	return r.putRole(ctx, call, access.RoleCreate, q)
}

// ReplaceRole gives a role other rules. They hold for every key that has it, on every replica, from the return on.
//
// Errors: [*InvalidError], [ErrNoRole], [ErrRoleExists] for a role of the program, [ErrExceeds].
func (r *Register) ReplaceRole(ctx context.Context, call access.Call, q RoleRequest) (Role, error) {
	return r.putRole(ctx, call, access.RoleUpdate, q)
}

func (r *Register) putRole(ctx context.Context, call access.Call, action access.Action, q RoleRequest) (Role, error) {
	o, err := r.begin(ctx, call, action)
	if err != nil {
		return Role{}, err
	}
	var stored Role
	if err = q.check(); err == nil {
		o.Record.ObjectName = string(q.Name)
		stored, err = trail.Once(ctx, o.Operation,
			func(ctx context.Context) (Role, error) { return o.putRoles(ctx, &q, action == access.RoleCreate) }, o.roleAgain)
	}
	return trail.Committed(ctx, o.Operation, stored, err)
}

// putRoles is as many rounds as it takes.
func (o *operation) putRoles(ctx context.Context, q *RoleRequest, create bool) (stored Role, err error) {
	err = o.retry(ctx, func() (err error) {
		stored, err = o.putRole(ctx, q, create)
		return err
	})
	return stored, err
}

// roleAgain is the role that an earlier request under the same Idempotency-Key has made.
func (o *operation) roleAgain(ctx context.Context, ids []string) (Role, error) {
	found, err := o.findRole(ctx, access.Role(ids[0]))
	if err != nil {
		return Role{}, err
	}
	return Role{RoleRecord: *found.Record}, nil
}

// putRole is one round.
func (o *operation) putRole(ctx context.Context, q *RoleRequest, create bool) (Role, error) {
	if !o.Permit.GivesRules(q.Rules, o.register.now()) {
		return Role{}, ErrExceeds
	}
	now := o.register.now()
	next := access.RoleRecord{
		Name: q.Name, Environment: o.Environment(), Description: q.Description, Rules: q.Rules,
		CreatedAt: now, UpdatedAt: now, UpdatedBy: o.Permit.Actor().ID(),
	}
	found, err := o.findRole(ctx, q.Name)
	told := events.RoleCreated
	switch {
	case errors.Is(err, ErrNoRole) && create:
		all, err := o.register.store.Roles(ctx, o.Environment())
		if err != nil {
			return Role{}, err
		}
		if len(all) >= o.register.maxRoles {
			return Role{}, ErrTooManyRoles
		}
	case err != nil:
		return Role{}, err
	case create:
		return Role{}, ErrRoleExists
	default:
		told, next.CreatedAt = events.RoleUpdated, found.Record.CreatedAt
	}
	o.Makes(string(q.Name))
	return Role{RoleRecord: next}, o.changeRole(ctx, RoleChange{Name: q.Name, Record: &next, Revision: found.Revision}, told)
}

// DeleteRole removes a role that no usable key has.
//
// Errors: [ErrNoRole], [ErrRoleExists] for a role of the program, [ErrRoleInUse].
func (r *Register) DeleteRole(ctx context.Context, call access.Call, name access.Role) error {
	o, err := r.begin(ctx, call, access.RoleDelete)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error { return o.deleteRole(ctx, name) })
	_, err = trail.Committed(ctx, o.Operation, struct{}{}, err)
	return err
}

// deleteRole is one round. A key that gets the role meanwhile has a role without rules: it may nothing.
func (o *operation) deleteRole(ctx context.Context, name access.Role) error {
	if slices.Contains(access.Roles(), name) {
		return ErrRoleExists
	}
	found, err := o.findRole(ctx, name)
	if err != nil {
		return err
	}
	all, _, err := o.register.store.APIKeys(ctx, o.Environment())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(k KeyAt) bool { return k.Record.Role == name && k.Record.Usable(o.register.now()) }) {
		return ErrRoleInUse
	}
	return o.changeRole(ctx, RoleChange{Name: name, Revision: found.Revision}, events.RoleDeleted)
}

func (o *operation) changeRole(ctx context.Context, c RoleChange, t events.Type) error {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	e, err := o.roleEvent(t, c.Name)
	if err != nil {
		return err
	}
	c.Environment, c.Event = o.Environment(), e
	return o.register.store.ChangeRole(ctx, c)
}

// Role returns a role, of the program or of the environment.
//
// Errors: [ErrNoRole].
func (r *Register) Role(ctx context.Context, call access.Call, name access.Role) (Role, error) {
	o, err := r.begin(ctx, call, access.RoleRead)
	if err != nil {
		return Role{}, err
	}
	if rules, ok := access.BuiltIn(name); ok {
		o.Record.ObjectName = string(name)
		return trail.Answer(ctx, o.Operation, builtIn(name, rules), nil)
	}
	found, err := o.findRole(ctx, name)
	if err != nil {
		return trail.Answer(ctx, o.Operation, Role{}, err)
	}
	return trail.Answer(ctx, o.Operation, Role{RoleRecord: *found.Record}, nil)
}

// Roles are all there are: those of the program first, then those of the environment by name.
func (r *Register) Roles(ctx context.Context, call access.Call) ([]Role, error) {
	o, err := r.begin(ctx, call, access.RoleRead)
	if err != nil {
		return nil, err
	}
	var list []Role
	for _, name := range access.Roles() {
		rules, _ := access.BuiltIn(name)
		list = append(list, builtIn(name, rules))
	}
	all, err := r.store.Roles(ctx, o.Environment())
	for _, found := range all {
		list = append(list, Role{RoleRecord: *found.Record})
	}
	return trail.Answer(ctx, o.Operation, list, err)
}

func builtIn(name access.Role, rules []access.Rule) Role {
	return Role{RoleRecord: access.RoleRecord{Name: name, Rules: rules}, BuiltIn: true}
}

// findRole finds a role of the environment.
func (o *operation) findRole(ctx context.Context, name access.Role) (RoleAt, error) {
	if !access.IsRoleName(name) {
		return RoleAt{}, ErrNoRole
	}
	o.Record.ObjectName = string(name)
	found, revision, err := o.register.store.Role(ctx, o.Environment(), name)
	switch {
	case errors.Is(err, access.ErrNoRole):
		return RoleAt{}, ErrNoRole
	case err != nil:
		return RoleAt{}, err
	case found.Name != name || found.Environment != o.Environment():
		return RoleAt{}, ErrTampered
	}
	o.Record.Revision = revision
	return RoleAt{&found, revision}, nil
}

// rulesOf are the rules of a key's role, and the revision of its record; 0 for a role of the program.
func (o *operation) rulesOf(ctx context.Context, name access.Role) ([]access.Rule, int64, error) {
	if name == "" {
		return nil, 0, nil
	}
	if rules, ok := access.BuiltIn(name); ok {
		return rules, 0, nil
	}
	noted := o.Record
	found, err := o.findRole(ctx, name)
	o.Record = noted
	if err != nil {
		return nil, 0, err
	}
	return found.Record.Rules, found.Revision, nil
}
