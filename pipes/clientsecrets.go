package pipes

import (
	"context"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
	"culvert/keys"
)

// MaxSecretOverlap bounds how long a client secret goes on being used beside the one that took its place. It is
// a rotation, not a second secret for good.
const MaxSecretOverlap = 90 * 24 * time.Hour

// PreviousSecret is the secret that a client had before the present one, while its provider is being told of
// the new one or still takes both.
type PreviousSecret struct {
	// Last4 is what may be shown of it.
	Last4 string `cbor:"1,keyasint,omitempty"`
	// Secret is sealed as the present one is, and differs from it in when that was.
	Secret *SealedSecret `cbor:"2,keyasint"`
	// Until is when it is not used any more. It leaves the record with the next change.
	Until time.Time `cbor:"3,keyasint"`
}

// previous is the secret before the present one, for as long as it is used; else nil.
func (c *Client) previous(now time.Time) *PreviousSecret {
	if c.Previous == nil || !now.Before(c.Previous.Until) {
		return nil
	}
	return c.Previous
}

// Secrets are all that are sealed in a record, in its order. The client may be nil.
func (c *Client) Secrets() []*SealedSecret {
	if c == nil || c.Secret == nil {
		return nil
	}
	if c.Previous == nil {
		return []*SealedSecret{c.Secret}
	}
	return []*SealedSecret{c.Secret, c.Previous.Secret}
}

// WithSecrets is a copy of the client with one of its [Client.Secrets] changed: what a store read is shared.
func (c *Client) WithSecrets(change func(at int, s *SealedSecret)) *Client {
	next := *c
	for at, sealed := range c.Secrets() {
		s := *sealed
		change(at, &s)
		if at == 0 {
			next.Secret = &s
			continue
		}
		previous := *c.Previous
		previous.Secret, next.Previous = &s, &previous
	}
	return &next
}

// clientSecrets are a client's credentials for one call, with one of its secrets at a time.
type clientSecrets struct {
	connectors.Credentials
	// other are those with the secret that is not tried yet; switched tells that it is in use. previousFirst tells
	// which of the two was tried first.
	other                   *connectors.Credentials
	switched, previousFirst bool
	memory                  *secretMemory
	key                     clientKey
}

// again reports whether a call that came back with err, or without one, is made once more, with the other
// secret: if the provider refused the client. It looked at nothing else then (RFC 6749 section 5.2), so a code or
// refresh token is not used up, and this is no replay of it. No answer is no refusal.
func (c *clientSecrets) again(err error) bool {
	failed := connectors.Of(err)
	if clientRefused(failed) && c.other != nil {
		c.Credentials, c.other, c.switched = *c.other, nil, true
		return true
	}
	if c.switched && (err == nil || failed != nil && failed.Class == connectors.DeadGrant) {
		c.memory.works(c.key, !c.previousFirst)
	}
	return false
}

// clientRefused tells that a provider refuses the client's credentials. What it calls unauthorized_client is said
// of clients that it knows.
func clientRefused(failed *connectors.Error) bool {
	return failed != nil && failed.Class == connectors.ClientRejected && failed.Code != "unauthorized_client"
}

// any reports whether something holds for one of the secrets: which one the provider signs with, while it has two,
// is its own choice.
func (c *clientSecrets) any(holds func(connectors.Credentials) bool) bool {
	return holds(c.Credentials) || c.other != nil && holds(*c.other)
}

// asClient makes a call in the client's name, at most once with each of its secrets.
func (c *clientSecrets) asClient(call func(connectors.Credentials) error) error {
	for {
		if err := call(c.Credentials); !c.again(err) {
			return err
		}
	}
}

// secretMemory is which clients' previous secret is the one that their provider takes, as far as this process has
// seen, so that a provider that is not told of the new one yet costs one refused request and not one for every call.
type secretMemory struct {
	mu       sync.Mutex
	previous map[clientKey]bool // guarded by mu
}

func newSecretMemory() *secretMemory { return &secretMemory{previous: map[clientKey]bool{}} }

// works notes which of two secrets works: the previous one, or the present.
func (m *secretMemory) works(key clientKey, previous bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if previous {
		m.previous[key] = true
		return
	}
	delete(m.previous, key)
}

// first reports whether the previous secret is to be tried first.
func (m *secretMemory) first(key clientKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.previous[key]
}

// clientSecrets opens the credentials of an integration as it is for an owner ([Broker.integrationFor]), whatever
// the key context that the call is about. Errors: [ErrNotConfigured], [ErrEndpointChanged].
func (o *operation) clientSecrets(ctx context.Context, i *Integration, conn *connectors.Connector) (*clientSecrets, error) {
	if i.Client == nil || i.Client.ID == "" {
		return nil, ErrNotConfigured
	}
	found := &clientSecrets{Credentials: connectors.Credentials{ID: i.Client.ID}, memory: o.broker.secrets, key: i.clientKey(conn)}
	if i.Client.Secret == nil {
		return found, nil
	}
	if !secretHeld(conn, i.Client.Secret.Origin) {
		return nil, ErrEndpointChanged
	}
	var err error
	if found.Secret, err = o.openClientSecret(ctx, i.ID, i.Slug, i.Client, i.Client.Secret); err != nil {
		return nil, err
	}
	previous := i.Client.previous(o.broker.now())
	if previous == nil || !secretHeld(conn, previous.Secret.Origin) {
		return found, nil
	}
	other := connectors.Credentials{ID: i.Client.ID}
	if other.Secret, err = o.openClientSecret(ctx, i.ID, i.Slug, i.Client, previous.Secret); err != nil {
		return nil, err
	}
	if found.previousFirst = found.memory.first(found.key); found.previousFirst {
		found.Credentials, other = other, found.Credentials
	}
	found.other = &other
	return found, nil
}

// openClientSecret opens one of a client's secrets, in the key context that the client stands in.
func (o *operation) openClientSecret(ctx context.Context, id IntegrationID, slug string, c *Client, s *SealedSecret) (secret.Bytes, error) {
	kctx, err := organizationContext(c.Organization)
	if err != nil {
		return secret.Bytes{}, keys.ErrTampered
	}
	permit, err := o.permitFor(slug, kctx)
	if err != nil {
		return secret.Bytes{}, err
	}
	return o.broker.keys.OpenClientSecret(ctx, permit, s.Sealed(), c.secretBinding(id, s))
}

// rotation is what a call says of the secret that is there beside the one that it may bring.
type rotation struct {
	// fresh is the new secret; empty for none.
	fresh secret.Bytes
	// until is how long the secret before it goes on being used: nil if the call does not say, the zero time to
	// end that now.
	until *time.Time
	// field is the name of until on the wire.
	field string
}

const noSecretYet = "must be left out: the client has no secret yet that could go on being used"

// rotate puts what a call says of the previous secret into next, a client that is about to take the place of had.
// It reports whether the fresh secret is the present one already, as in a call that is made a second time because
// the answer to the first was lost: sealing it again would push out the previous secret that the first one kept.
func (o *operation) rotate(
	ctx context.Context, r rotation, id IntegrationID, slug string, conn *connectors.Connector, had, next *Client,
) (same bool, err error) {
	now, brings := o.broker.now(), r.fresh.Len() > 0
	if next != nil {
		next.Previous = next.previous(now)
	}
	if r.until == nil {
		return false, nil
	}
	until := r.until.UTC().Truncate(time.Millisecond)
	switch {
	case next == nil:
		return false, invalid(r.field, noSecretYet)
	case until.IsZero():
		next.Previous = nil
		return false, nil
	case !now.Before(until) || until.Sub(now) > MaxSecretOverlap:
		return false, invalid(r.field, "must be a time to come, 90 days from now at most")
	case !brings && next.Previous == nil:
		return false, invalid(r.field, "needs a new client secret: no previous one is in use")
	case !brings:
		next.Previous = &PreviousSecret{Last4: next.Previous.Last4, Secret: next.Previous.Secret, Until: until}
		return false, nil
	case had == nil || had.Secret == nil || had.ID != next.ID:
		return false, invalid(r.field, noSecretYet)
	case !secretHeld(conn, had.Secret.Origin):
		return false, invalid(r.field, "must be left out: the token endpoint is at another origin, and the secret that is stored is not sent there")
	}
	present, err := o.openClientSecret(ctx, id, slug, had, had.Secret)
	if err != nil {
		return false, err
	}
	if !present.Equal(r.fresh) {
		next.Previous = &PreviousSecret{Last4: had.Last4, Secret: had.Secret, Until: until}
		return false, nil
	}
	next.Secret, next.Last4 = had.Secret, had.Last4
	if p := had.previous(now); p != nil {
		next.Previous = &PreviousSecret{Last4: p.Last4, Secret: p.Secret, Until: until}
	}
	return true, nil
}

// secretBinding is what the seal of one of the client's secrets proves.
func (c *Client) secretBinding(id IntegrationID, s *SealedSecret) keys.ClientSecretBinding {
	return keys.ClientSecretBinding{IntegrationID: string(id), ClientID: c.ID, Origin: s.Origin, SealedAt: s.SealedAt}
}
