package webhooks

import (
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
)

const (
	// MaxEndpoints bounds the endpoints of an environment: each has a worker, and each reads the log.
	MaxEndpoints = 20
	// maxURLBytes bounds an endpoint's URL.
	maxURLBytes = 2048
	// DefaultOverlap is how long the secret before the last rotation goes on signing.
	DefaultOverlap = 24 * time.Hour
	// MaxOverlap bounds it.
	MaxOverlap = 30 * 24 * time.Hour
)

// EndpointID is "we_" and a ULID.
type EndpointID string

const endpointPrefix = "we_"

func newEndpointID(at time.Time) EndpointID { return EndpointID(endpointPrefix + id.ULID(at)) }

// Secret is a signing secret as it is stored: what it is made of.
type Secret struct {
	Seed      []byte    `cbor:"1,keyasint"`
	CreatedAt time.Time `cbor:"2,keyasint"`
}

// Endpoint is a receiver of events, as stored. The store adds a MAC.
type Endpoint struct {
	ID       EndpointID    `cbor:"1,keyasint"`
	URL      string        `cbor:"2,keyasint"`
	Events   []events.Type `cbor:"3,keyasint"`
	Disabled bool          `cbor:"4,keyasint,omitempty"`
	Secret   Secret        `cbor:"5,keyasint"`
	// Previous signs until PreviousUntil; nil if the secret was not rotated, or not lately.
	Previous      *Secret   `cbor:"6,keyasint,omitempty"`
	PreviousUntil time.Time `cbor:"7,keyasint,omitzero"`
	CreatedAt     time.Time `cbor:"8,keyasint"`
	UpdatedAt     time.Time `cbor:"9,keyasint"`
}

// Endpoints are all of an environment, in the order of their creation.
type Endpoints struct {
	Environment access.EnvironmentID
	List        []Endpoint
	// Damaged are those whose records are not what was stored. Nothing is known of them but their ids, and nothing
	// is sent to them; they can be removed.
	Damaged []EndpointID
}

// The statuses of the contract.
const (
	Enabled  = "enabled"
	Disabled = "disabled"
)

// Status is the contract's.
func (e *Endpoint) Status() string {
	if e.Disabled {
		return Disabled
	}
	return Enabled
}

// find is one of them; nil if there is none of this id.
func (l *Endpoints) find(id EndpointID) *Endpoint {
	for i := range l.List {
		if l.List[i].ID == id {
			return &l.List[i]
		}
	}
	return nil
}

// hasURL reports that another endpoint than this one has the URL.
func (l *Endpoints) hasURL(url string, but EndpointID) bool {
	return slices.ContainsFunc(l.List, func(e Endpoint) bool { return e.URL == url && e.ID != but })
}

// wants reports that an endpoint is sent events of a type.
func (e *Endpoint) wants(t events.Type) bool { return slices.Contains(e.Events, t) }

// signers are the secrets that sign now: the present one, and the one before while they overlap.
func (e *Endpoint) signers(env *keys.Environment, now time.Time) []keys.WebhookSigner {
	all := []keys.WebhookSigner{env.WebhookSigner(string(e.ID), e.Secret.Seed)}
	if e.Overlaps(now) {
		all = append(all, env.WebhookSigner(string(e.ID), e.Previous.Seed))
	}
	return all
}

// Overlaps reports that the secret before the last rotation goes on signing.
func (e *Endpoint) Overlaps(now time.Time) bool {
	return e.Previous != nil && now.Before(e.PreviousUntil)
}

// rotated is the endpoint with another secret.
func (e Endpoint) rotated(overlap time.Duration, now time.Time) Endpoint {
	previous := e.Secret
	e.Previous, e.PreviousUntil = nil, time.Time{}
	if overlap > 0 {
		e.Previous, e.PreviousUntil = &previous, now.Add(overlap)
	}
	e.Secret, e.UpdatedAt = Secret{Seed: keys.NewWebhookSeed(), CreatedAt: now}, now
	return e
}
