package access

import (
	"errors"
	"regexp"
	"slices"
	"time"
)

// Role is a named set of rules: one of those below, or a record of the environment. An unknown role has no
// rules.
type Role string

// The roles that every environment has. They are part of the program and cannot be changed; [Roles] lists them.
const (
	// RoleAdmin may everything in its environment.
	RoleAdmin Role = "admin"
	// RoleReader reads values, RoleWriter changes them too.
	RoleReader Role = "reader"
	RoleWriter Role = "writer"
	// RoleBroker connects accounts and takes tokens.
	RoleBroker Role = "broker"
	// RoleKeyAdmin looks after encryption keys and sees no value.
	RoleKeyAdmin Role = "key-admin"
	// RoleAuditor sees who did what and may do what, and neither values nor tokens.
	RoleAuditor Role = "auditor"
)

// Roles are the names of the roles that every environment has.
func Roles() []Role {
	return []Role{RoleReader, RoleWriter, RoleBroker, RoleKeyAdmin, RoleAuditor, RoleAdmin}
}

// roleFlow and roleSystem are names that no role may have: a browser leg and the server's own work have no role, and
// nobody is to take one of these for theirs.
const (
	roleFlow   Role = "flow"
	roleSystem Role = "system"
)

// BuiltIn are the rules of a role that every environment has.
func BuiltIn(r Role) ([]Rule, bool) {
	if !slices.Contains(Roles(), r) {
		return nil, false
	}
	if r == RoleAdmin {
		return []Rule{{Effect: Allow, Actions: []Action{Every}}}, true
	}
	var actions []Action
	for _, f := range facts() {
		if slices.Contains(f.roles, r) {
			actions = append(actions, f.action)
		}
	}
	return []Rule{{Effect: Allow, Actions: actions}}, true
}

// ErrNoRole means that no role of that name is there.
var ErrNoRole = errors.New("access: no such role")

// RoleRecord is a role of one environment as stored, under a MAC as an API key.
type RoleRecord struct {
	Name        Role          `cbor:"1,keyasint"`
	Environment EnvironmentID `cbor:"2,keyasint"`
	Description string        `cbor:"3,keyasint,omitempty"`
	Rules       []Rule        `cbor:"4,keyasint"`
	CreatedAt   time.Time     `cbor:"5,keyasint"`
	UpdatedAt   time.Time     `cbor:"6,keyasint"`
	// UpdatedBy is the id of the actor who wrote the record.
	UpdatedBy string `cbor:"7,keyasint,omitempty"`
}

// IsRoleName tells whether a role of an environment may have the name: it stands in paths and in keys of the
// store, and is none of the program's own.
func IsRoleName(r Role) bool {
	return regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`).MatchString(string(r)) &&
		!slices.Contains(Roles(), r) && r != roleFlow && r != roleSystem
}
