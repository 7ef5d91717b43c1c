package access

import "slices"

// Action is a permission name.
type Action string

// The actions, by what they are about. server/API.md names them after "Requires".
const (
	DataCreate   Action = "vault.data.create"
	DataRead     Action = "vault.data.read"
	DataUpdate   Action = "vault.data.update"
	DataDelete   Action = "vault.data.delete"
	MetadataRead Action = "vault.metadata.read"
	NamesList    Action = "vault.names.list"
	UsageRead    Action = "vault.usage.read"
	DEKCreate    Action = "vault.dek.create"
	DEKDecrypt   Action = "vault.dek.decrypt"
	DEKRekey     Action = "vault.dek.rekey"
	EventsList   Action = "events.list"

	// AuditRead is of records, AuditProve of checkpoints and proofs, which hold no record.
	AuditRead  Action = "audit.records.read"
	AuditProve Action = "audit.proofs.read"
	// AuditExport makes exports of records, which AuditExportRead shows and fetches.
	AuditExport     Action = "audit.exports.create"
	AuditExportRead Action = "audit.exports.read"
	// Streams are of a node, and of all environments.
	AuditStreamsRead   Action = "audit.streams.read"
	AuditStreamsRewind Action = "audit.streams.rewind"
	// AuditKeyRotate is of the key that checkpoints are signed with.
	AuditKeyRotate Action = "audit.key.rotate"

	KEKRead   Action = "keys.kek.read"
	KEKRotate Action = "keys.kek.rotate"
	KEKRewrap Action = "keys.kek.rewrap"
	KEKShred  Action = "keys.kek.shred"
	Reencrypt Action = "keys.reencrypt"
	JobCreate Action = "keys.job.create"
	JobRead   Action = "keys.job.read"
	JobCancel Action = "keys.job.cancel"

	ScheduleRead   Action = "keys.schedule.read"
	ScheduleManage Action = "keys.schedule.manage"

	CMKRead   Action = "keys.cmk.read"
	CMKAttach Action = "keys.cmk.attach"
	CMKVerify Action = "keys.cmk.verify"
	CMKDetach Action = "keys.cmk.detach"

	RecordsVerify Action = "keys.records.verify"

	WebhooksRead   Action = "webhooks.read"
	WebhooksCreate Action = "webhooks.create"
	WebhooksUpdate Action = "webhooks.update"
	WebhooksDelete Action = "webhooks.delete"
	WebhooksRotate Action = "webhooks.rotate"
	WebhooksReplay Action = "webhooks.replay"

	IntegrationsRead   Action = "pipes.integrations.read"
	IntegrationsManage Action = "pipes.integrations.manage"
	PipesAuthorize     Action = "pipes.authorize"
	PipesFinish        Action = "pipes.finish"
	TokenVend          Action = "pipes.token.vend"
	TokenReport        Action = "pipes.token.report"
	TokenRefresh       Action = "pipes.token.refresh"
	TokenRevoke        Action = "pipes.token.revoke"
	AccountsRead       Action = "pipes.accounts.read"
	AccountsManage     Action = "pipes.accounts.manage"
	AttemptsRead       Action = "pipes.attempts.read"
	FlowConfirm        Action = "pipes.flow.confirm"
	FlowComplete       Action = "pipes.flow.complete"

	APIKeyCreate   Action = "access.keys.create"
	APIKeyRead     Action = "access.keys.read"
	APIKeyRotate   Action = "access.keys.rotate"
	APIKeyExpire   Action = "access.keys.expire"
	APIKeyRevoke   Action = "access.keys.revoke"
	APIKeyValidate Action = "access.keys.validate"
	RoleRead       Action = "access.roles.read"
	RoleCreate     Action = "access.roles.create"
	RoleUpdate     Action = "access.roles.update"
	RoleDelete     Action = "access.roles.delete"
	AccessExplain  Action = "access.explain"

	// EnvironmentsCreate is for API keys of the first environment alone, whatever a role says ([GateConfig.Home]).
	// With EnvironmentsRead they see all environments, and others their own.
	EnvironmentsCreate Action = "environments.create"
	EnvironmentsRead   Action = "environments.read"
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
