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

// fact is what is known of an action.
type fact struct {
	action Action
	// part tells an action that is decided record by record. Any other one is about a whole environment, and
	// who may a part of it may not do it.
	part bool
	// roles are those that have it, beside admin.
	roles []Role
}

// facts lists every action that a rule may name. An action that is missing here is about a whole environment
// and admin's alone: whoever forgets an action has forgotten it on the safe side.
func facts() []fact {
	reads := []Role{RoleReader, RoleWriter}
	writes := []Role{RoleWriter}
	names := []Role{RoleReader, RoleWriter, RoleAuditor}
	brokers := []Role{RoleBroker}
	connections := []Role{RoleBroker, RoleAuditor}
	keyAdmins := []Role{RoleKeyAdmin}
	keyReaders := []Role{RoleKeyAdmin, RoleAuditor}
	auditors := []Role{RoleAuditor}
	// A job needs the action of its kind besides, of which an auditor has that of a verification.
	return []fact{
		{DataCreate, true, writes}, {DataRead, true, reads}, {DataUpdate, true, writes}, {DataDelete, true, writes},
		{MetadataRead, true, names}, {NamesList, true, names}, {UsageRead, false, auditors},
		{DEKCreate, true, writes}, {DEKDecrypt, true, reads}, {DEKRekey, true, writes},
		{EventsList, false, auditors}, {AuditRead, false, auditors}, {AuditProve, false, auditors}, {AuditKeyRotate, false, nil},
		{AuditExport, false, auditors}, {AuditExportRead, false, auditors},
		{AuditStreamsRead, false, auditors}, {AuditStreamsRewind, false, nil},

		{KEKRead, true, keyReaders}, {KEKRotate, true, keyAdmins},
		{KEKRewrap, false, keyAdmins}, {KEKShred, false, keyAdmins}, {Reencrypt, false, keyAdmins},
		{JobCreate, false, keyReaders}, {JobRead, false, keyReaders}, {JobCancel, false, keyAdmins},
		{ScheduleRead, false, keyReaders}, {ScheduleManage, false, keyAdmins},
		{CMKRead, false, keyReaders}, {CMKAttach, false, keyAdmins}, {CMKVerify, false, keyAdmins}, {CMKDetach, false, keyAdmins},
		{RecordsVerify, false, keyReaders},

		{WebhooksRead, false, auditors}, {WebhooksCreate, false, nil}, {WebhooksUpdate, false, nil},
		{WebhooksDelete, false, nil}, {WebhooksRotate, false, nil}, {WebhooksReplay, false, nil},

		{IntegrationsRead, true, connections}, {IntegrationsManage, true, nil},
		{PipesAuthorize, true, brokers}, {PipesFinish, true, brokers},
		{TokenVend, true, brokers}, {TokenReport, true, brokers},
		{AccountsRead, true, connections}, {AccountsManage, true, brokers}, {AttemptsRead, true, connections},

		{APIKeyCreate, true, nil}, {APIKeyRead, true, auditors}, {APIKeyRotate, true, nil}, {APIKeyExpire, true, nil},
		{APIKeyRevoke, true, nil}, {APIKeyValidate, true, nil},
		{RoleRead, false, auditors}, {RoleCreate, false, nil}, {RoleUpdate, false, nil}, {RoleDelete, false, nil},
		{AccessExplain, false, auditors},
		{EnvironmentsCreate, false, nil}, {EnvironmentsRead, false, nil},
	}
}

// isWhole tells an action about a whole environment.
func isWhole(a Action) bool {
	return !slices.ContainsFunc(facts(), func(f fact) bool { return f.action == a && f.part })
}

// isOfStore tells an action about all that a store holds, of which an environment is a part.
// The streams of a node's audit log are, because the log is one for all environments.
func isOfStore(a Action) bool {
	return a == EnvironmentsCreate || a == AuditStreamsRead || a == AuditStreamsRewind || a == AuditKeyRotate
}

// IsAction tells whether a rule may name the action.
func IsAction(a Action) bool {
	return a == Every || slices.ContainsFunc(facts(), func(f fact) bool { return f.action == a })
}

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
