package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/access"
	"culvert/internal/secret"
)

// Environment is the keys of one environment as handles: it computes and verifies, and gives no key
// away. It is immutable but for what it remembers, safe for concurrent use, and works in memory.
type Environment struct {
	id access.EnvironmentID
	// name and createdAt are bound by the seals that were opened.
	name      string
	createdAt time.Time

	mac    tink.MAC
	index  *prf.Set
	pepper *prf.Set
	// signer is nil in the environments of earlier versions.
	signer *Signer
	owners places
}

// ID is the environment's.
func (e *Environment) ID() access.EnvironmentID { return e.id }

// Name is what people call the environment, CreatedAt when it was made.
func (e *Environment) Name() string { return e.name }

// CreatedAt is in UTC.
func (e *Environment) CreatedAt() time.Time { return e.createdAt }

// MAC is the tag of a record that is not itself sealed, over the key it stands at (relative to the
// store's root) and its bytes.
func (e *Environment) MAC(key string, body []byte) ([]byte, error) {
	tag, err := e.mac.ComputeMAC(recordMAC(e.id, key, body))
	if err != nil {
		return nil, fmt.Errorf("record MAC: %w", err)
	}
	return tag, nil
}

// VerifyMAC checks a tag of [Environment.MAC]. The error is [ErrTampered].
func (e *Environment) VerifyMAC(key string, body, tag []byte) error {
	if err := e.mac.VerifyMAC(tag, recordMAC(e.id, key, body)); err != nil {
		return ErrTampered
	}
	return nil
}

// ContextIndex is the place of a key context's pointer: 43 characters of base64url, as all indexes.
func (e *Environment) ContextIndex(c Context) string { return e.place(contextIndex(c.Canonical())) }

// ItemIndex is the place of what belongs to one context item.
func (e *Environment) ItemIndex(name, value string) string { return e.place(itemIndex(name, value)) }

// NameIndex is the place of an object's name.
func (e *Environment) NameIndex(name string) string { return e.place(nameIndex(name)) }

// RequestIndex is the place of an Idempotency-Key.
func (e *Environment) RequestIndex(method, path, key string) string {
	return e.place(requestIndex(method, path, key))
}

// OwnerIndex is the place of the connections of one owner at one provider.
func (e *Environment) OwnerIndex(kind, user, organization, slug string) string {
	return e.owners.of(ownerIndex(kind, user, organization, slug), e.place)
}

// maxPlaces bounds what [places] remembers: some two megabytes.
const maxPlaces = 10_000

// places remembers where things stand that are asked for again and again: every vend of a token begins
// with its owner, and the keyed hash was a twentieth of what it costs. The zero value is empty.
type places struct {
	mu    sync.RWMutex // guards known, for the time of a map operation
	known map[string]string
}

// of is the place of an input, worked out if it is not remembered.
func (p *places) of(input aad, place func(aad) string) string {
	p.mu.RLock()
	at, ok := p.known[string(input)]
	p.mu.RUnlock()
	if ok {
		return at
	}
	at = place(input)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxPlaces {
		p.known = make(map[string]string) // all of it goes: what is asked for again comes back
	}
	p.known[string(input)] = at
	return at
}

// BodyMAC is a keyed hash of a request's body, 32 bytes: enough to tell whether a request came again,
// and nothing that a guess of the secret in it could be tested against.
func (e *Environment) BodyMAC(body secret.Bytes) []byte {
	return keyedHash(e.index, bodyIndex(sha256.Sum256(body.Reveal())))
}

// RefreshTokenMAC is the keyed hash by which a refresh token finds its grant: 32 bytes.
func (e *Environment) RefreshTokenMAC(token secret.Bytes) []byte {
	return keyedHash(e.index, refreshTokenInput(token.Reveal()))
}

// FlowSecret is a kind of secret that belongs to one flow and is stored as a keyed hash only.
type FlowSecret string

// The kinds: in the connect URL, in the provider's URL, in the browser's cookie, in the page's form; in the
// return_to of a flow that waits to be finished; in the URL of the pop-up, and in the message to it.
const (
	TicketSecret   FlowSecret = "ticket"
	StateSecret    FlowSecret = "state"
	BindingSecret  FlowSecret = "binding"
	FormSecret     FlowSecret = "form"
	ResultSecret   FlowSecret = "result"
	RedirectSecret FlowSecret = "redirect"
	HandoffSecret  FlowSecret = "handoff"
)

// FlowHash is the keyed hash of a flow's secret: 32 bytes, to be compared in constant time.
func (e *Environment) FlowHash(kind FlowSecret, flowID string, s secret.Bytes) []byte {
	return keyedHash(e.index, flowInput(string(kind), flowID, s.Reveal()))
}

// Pepper is the stored form of an API key: 32 bytes.
func (e *Environment) Pepper(apiKey secret.Bytes) ([]byte, error) {
	return keyedHash(e.pepper, pepperInput(e.id, apiKey.Reveal())), nil
}

func (e *Environment) place(input aad) string {
	return base64.RawURLEncoding.EncodeToString(keyedHash(e.index, input))
}

// hashSize is the output of HMAC-SHA256, none of it cut off.
const hashSize = sha256.Size

// newPRF makes the PRF of a keyset and tries it, so that [keyedHash] cannot fail later.
func newPRF(h *keyset.Handle) (*prf.Set, error) {
	set, err := prf.NewPRFSet(h)
	if err != nil {
		return nil, err
	}
	if _, err := set.ComputePrimaryPRF(nil, hashSize); err != nil {
		return nil, err
	}
	return set, nil
}

// keyedHash panics rather than return what would be the same place for everything. A PRF fails only
// when it is asked for more than it has, which newPRF has tried.
func keyedHash(set *prf.Set, input aad) []byte {
	sum, err := set.ComputePrimaryPRF(input, hashSize)
	if err != nil {
		panic("keys: the PRF of an open environment failed")
	}
	return sum
}
