package access

import "errors"

// Action is a permission name.
type Action string

// The actions of the vault, of the event log, of operations on keys, of webhooks, and of pipes.
const (
	DataCreate   Action = "vault.data.create"
	DataRead     Action = "vault.data.read"
	DataUpdate   Action = "vault.data.update"
	DataDelete   Action = "vault.data.delete"
	MetadataRead Action = "vault.metadata.read"
	NamesList    Action = "vault.names.list"
	DEKCreate    Action = "vault.dek.create"
	DEKDecrypt   Action = "vault.dek.decrypt"
	DEKRekey     Action = "vault.dek.rekey"
	EventsList   Action = "events.list"

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
)

// Role is a named set of actions. An unknown role has none.
type Role string

// RoleAdmin may everything in its environment. The other roles come with the permissions of the trail.
const RoleAdmin Role = "admin"

// roleFlow is that of a browser leg.
const roleFlow Role = "flow"

// roleSystem is that of the server's own work.
const roleSystem Role = "system"

// ErrDenied means that the actor is known and may not do this (403).
var ErrDenied = errors.New("access: denied")

// Resource is what a permit is completed with: the name and context of the record whose MAC or seal
// has been checked, never what the caller claims.
type Resource struct {
	Name string
	// Context is the canonical form of the key context (keys.Context.Canonical).
	Context string
	// Items is the same context as name/value pairs, for rules by context item.
	Items map[string]string
}

// Permit is the evaluator's word that an actor may perform an action. It comes in two steps: what can
// be decided without the record ([Gate.Authorize]), then the record itself ([Permit.Complete]).
// keys.Open and keys.Seal refuse an incomplete permit, so a use case that forgets the second step
// opens nothing.
type Permit struct {
	actor    Actor
	action   Action
	complete bool
	context  string
}

// Actor is who the permit was given to.
func (p Permit) Actor() Actor { return p.actor }

// Action is what the permit allows.
func (p Permit) Action() Action { return p.action }

// Environment is the actor's.
func (p Permit) Environment() EnvironmentID { return p.actor.env }

// Complete decides with the record at hand. The error is [ErrDenied].
func (p Permit) Complete(r Resource) (Permit, error) {
	if !p.actor.role.allows(p.action) {
		return Permit{}, ErrDenied
	}
	p.complete, p.context = true, r.Context
	return p, nil
}

// Covers reports whether the permit is complete and was completed for exactly this key context
// (canonical form).
func (p Permit) Covers(context string) bool { return p.complete && p.context == context }

// allows is the one evaluator: every path to a decision ends here.
func (r Role) allows(a Action) bool {
	switch r {
	case RoleAdmin:
		return a != ""
	case roleFlow:
		return a == FlowConfirm || a == FlowComplete
	case roleSystem:
		return a == TokenRefresh || a == TokenRevoke
	}
	return false
}
