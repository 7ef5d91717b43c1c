// Package events is the log of changes: what an event is, and the pages that GET /events serves.
//
// An event is written in the same transaction as the change it tells of, so that neither exists
// without the other. Nothing publishes or subscribes: webhooks are readers of the log,
// as /events is.
package events

import (
	"encoding/json"
	"time"

	"culvert/internal/access"
)

// Type names what happened, in the spelling of contract section 3.
type Type string

// The events that Culvert writes. Those of reads are made from the audit log (internal/reads), never by a write
// per read, and only where that is switched on.
const (
	DataRead     Type = "vault.data.read"
	MetadataRead Type = "vault.metadata.read"
	NamesListed  Type = "vault.names.listed"
	DEKRead      Type = "vault.dek.read"
	DEKDecrypted Type = "vault.dek.decrypted"

	DataCreated Type = "vault.data.created"
	DataUpdated Type = "vault.data.updated"
	DataDeleted Type = "vault.data.deleted"
	KEKCreated  Type = "vault.kek.created"
	KEKDeleted  Type = "vault.kek.deleted"
	// KEKRotated and KEKRewrapped, which tells of another root key, are our own, as those of jobs: one when a job
	// is made, one when it ends.
	KEKRotated   Type = "vault.kek.rotated"
	KEKRewrapped Type = "vault.kek.rewrapped"
	JobCreated   Type = "keys.job.created"
	JobEnded     Type = "keys.job.ended"
	JobResumed   Type = "keys.job.resumed"

	// ScheduleUpdated and ScheduleDeleted tell of what an environment's rotations are scheduled by.
	ScheduleUpdated Type = "keys.schedule.updated"
	ScheduleDeleted Type = "keys.schedule.deleted"

	// BYOKVerified tells of a customer's key that was tried, for better or worse.
	BYOKVerified Type = "vault.byok_key.verification_completed"
	BYOKDeleted  Type = "vault.byok_key.deleted"

	// APIKeyUpdated tells of another end. The events of roles are our own.
	APIKeyCreated Type = "api_key.created"
	APIKeyRevoked Type = "api_key.revoked"
	APIKeyUpdated Type = "api_key.updated"
	RoleCreated   Type = "access.role.created"
	RoleUpdated   Type = "access.role.updated"
	RoleDeleted   Type = "access.role.deleted"

	// EnvironmentCreated is our own, too. It stands in the log of the first environment.
	EnvironmentCreated Type = "environment.created"

	AccountConnected     Type = "pipes.connected_account.connected"
	AccountDisconnected  Type = "pipes.connected_account.disconnected"
	ReauthorizationAsked Type = "pipes.connected_account.reauthorization_needed"
	ConnectionFailed     Type = "pipes.connected_account.connection_failed"

	// Those below are our own. A refresh has one, so that its transaction's outcome can be found out.
	// AccountExpiring tells of an end that no refresh moves, some days before it.
	AccountExpiring    Type = "pipes.connected_account.expiring"
	GrantRefreshed     Type = "pipes.grant.refreshed"
	RevocationEnded    Type = "pipes.grant.revocation_ended"
	AccountUpdated     Type = "pipes.connected_account.updated"
	IntegrationCreated Type = "pipes.integration.created"
	IntegrationUpdated Type = "pipes.integration.updated"
	IntegrationDeleted Type = "pipes.integration.deleted"

	// ConfigurationUpdated and ConfigurationDeleted tell of what an organization has set of an integration.
	ConfigurationUpdated Type = "pipes.configuration.updated"
	ConfigurationDeleted Type = "pipes.configuration.deleted"

	// EndpointCreated and the others tell of webhook endpoints, never of deliveries: each would be one more to
	// deliver.
	EndpointCreated  Type = "webhook_endpoint.created"
	EndpointUpdated  Type = "webhook_endpoint.updated"
	EndpointDeleted  Type = "webhook_endpoint.deleted"
	SecretRotated    Type = "webhook_endpoint.secret_rotated"
	EndpointReplayed Type = "webhook_endpoint.replayed"
)

// Event is a change that is about to be committed. The store gives it its id, which contains the
// epoch, when the transaction is built.
type Event struct {
	Type Type
	// Data is the contract's data object as JSON. It holds ids, names and key contexts; never a value.
	Data json.RawMessage
	// At is the moment of the change in UTC, to the millisecond.
	At time.Time
	// Node and Index name the audit record of the intent, so that an auditor can prove that every
	// change has its record (design: completeness for writes).
	Node  string
	Index uint64
}

// Stored is an event as it stands in the log.
type Stored struct {
	// ID is "event_" and a ULID; it is an opaque cursor to clients.
	ID string
	Event
}

// Actor is the part of an event's data that names who caused it (contract section 3, "actor*").
type Actor struct {
	ID     string `json:"actor_id"`
	Source string `json:"actor_source"`
	Name   string `json:"actor_name"`
}

// ActorOf names an actor.
func ActorOf(a access.Actor) Actor { return Actor{ID: a.ID(), Source: a.Source(), Name: a.Name()} }
