package admission

import (
	"encoding/json"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
)

// wireTime is how times stand in the contract's events; nil is null.
func wireTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	return &text
}

// owner is whose a key is. The contract knows organizations; a key that none owns is the environment's.
type owner struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// keyChanged is the data of an event of a key (contract section 3), and the actor as in all others. It has no
// time of last use: that is not part of the change.
type keyChanged struct {
	Object         string   `json:"object"`
	ID             string   `json:"id"`
	Owner          owner    `json:"owner"`
	OrganizationID string   `json:"organization_id,omitempty"`
	Name           string   `json:"name"`
	Obfuscated     string   `json:"obfuscated_value"`
	LastUsedAt     *string  `json:"last_used_at"`
	ExpiresAt      *string  `json:"expires_at"`
	Permissions    []string `json:"permissions"`
	Role           string   `json:"role,omitempty"`
	CreatedAt      *string  `json:"created_at"`
	UpdatedAt      *string  `json:"updated_at"`
	Previous       *ends    `json:"previous_attributes,omitempty"`
	events.Actor
}

type ends struct {
	ExpiresAt *string `json:"expires_at"`
}

func (o *operation) keyEvent(t told) (events.Event, error) {
	d := changed(t.record, o.Permit.Actor())
	if t.before != nil {
		d.Previous = &ends{wireTime(t.before.ExpiresAt)}
	}
	return o.event(t.event, d)
}

func changed(r *access.KeyRecord, by access.Actor) keyChanged {
	key := Key{KeyRecord: *r}
	d := keyChanged{
		Object: "api_key", ID: OnWire(r.ID), OrganizationID: r.Organization, Name: r.Name, Obfuscated: key.Obfuscated(),
		ExpiresAt: wireTime(r.ExpiresAt), Permissions: append([]string{}, r.Permissions...), Role: string(r.Role),
		CreatedAt: wireTime(r.CreatedAt), UpdatedAt: wireTime(key.ChangedAt()), Actor: events.ActorOf(by),
	}
	d.Owner.Type, d.Owner.ID = key.Owner()
	return d
}

// KeyCreated is the event of a key that was made without a register: at the store itself, or together with its
// environment. node and index are those of the audit record that it goes with.
func KeyCreated(r *access.KeyRecord, by access.Actor, node string, index uint64) (events.Event, error) {
	return newEvent(events.APIKeyCreated, changed(r, by), r.CreatedAt, node, index)
}

// roleChanged is the data of an event of a role.
type roleChanged struct {
	Object string `json:"object"`
	Name   string `json:"name"`
	events.Actor
}

func (o *operation) roleEvent(t events.Type, name access.Role) (events.Event, error) {
	return o.event(t, roleChanged{"role", string(name), events.ActorOf(o.Permit.Actor())})
}

func (o *operation) event(t events.Type, data any) (events.Event, error) {
	node, index := o.Intent()
	return newEvent(t, data, o.register.now(), node, index)
}

func newEvent(t events.Type, data any, at time.Time, node string, index uint64) (events.Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	return events.Event{Type: t, Data: encoded, At: at.UTC().Truncate(time.Millisecond), Node: node, Index: index}, nil
}

// Owner is the type and id of whose the key is.
func (k *Key) Owner() (kind, id string) {
	if k.Organization == "" {
		return "environment", k.Environment.OnWire()
	}
	return "organization", k.Organization
}

// Obfuscated is what people tell keys apart by.
func (k *Key) Obfuscated() string { return "sk_..." + k.Last4 }

// ChangedAt is when the record was written last.
func (k *Key) ChangedAt() time.Time {
	if k.UpdatedAt.IsZero() {
		return k.CreatedAt
	}
	return k.UpdatedAt
}
