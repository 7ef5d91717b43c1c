package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/signature"

	"culvert/internal/access"
)

// EnvironmentRecord is an environment as stored: one Tink keyset each for MAC, index, pepper and signing, sealed
// by the same share construction as KEKs (slot root). Its fields in clear are bound by the seals' AAD.
type EnvironmentRecord struct {
	ID        access.EnvironmentID `cbor:"1,keyasint"`
	Name      string               `cbor:"2,keyasint"`
	CreatedAt time.Time            `cbor:"3,keyasint"`
	Shares    []Share              `cbor:"4,keyasint"`
	SealedMAC []byte               `cbor:"5,keyasint"`
	// SealedIndex and SealedPepper are of the same form.
	SealedIndex  []byte `cbor:"6,keyasint"`
	SealedPepper []byte `cbor:"7,keyasint"`
	// SealedSigning is too; environments of before there were checkpoints have none, see [AddSigning].
	SealedSigning []byte `cbor:"8,keyasint,omitempty"`
}

// sealed is the field of one purpose.
func (r *EnvironmentRecord) sealed(p purpose) *[]byte {
	switch p {
	case purposeMAC:
		return &r.SealedMAC
	case purposeIndex:
		return &r.SealedIndex
	case purposeSigning:
		return &r.SealedSigning
	default:
		return &r.SealedPepper
	}
}

// RootKeyURI names the root key that the record needs, as far as the record is right.
func (r *EnvironmentRecord) RootKeyURI() string { return rootURI(r.Shares) }

func (r *EnvironmentRecord) aad(p purpose) aad {
	return environmentAAD(p, r.ID, r.Name, r.CreatedAt)
}

// environmentTemplate is the kind of key of each keyset: HMAC-SHA256 with the full tag where records
// are verified, the PRF of the same function where hashes are looked up or compared, Ed25519 for signatures, bare,
// as everybody else makes and checks them.
func environmentTemplate(p purpose) *tinkpb.KeyTemplate {
	switch p {
	case purposeMAC:
		return mac.HMACSHA256Tag256KeyTemplate()
	case purposeSigning:
		return signature.ED25519KeyWithoutPrefixTemplate()
	}
	return prf.HMACSHA256PRFKeyTemplate()
}

// NewEnvironment makes an environment's keysets, and the record that the store keeps of them. The
// handles returned were opened from that record. Errors are those of the root key.
func NewEnvironment(ctx context.Context, roots *RootKeys, id access.EnvironmentID, name string, at time.Time) (EnvironmentRecord, *Environment, error) {
	b, err := newBundle(ctx, wrappers{roots: roots}, scope{env: id, id: environmentScope}, nil)
	if err != nil {
		return EnvironmentRecord{}, nil, fmt.Errorf("environment %s: %w", id, err)
	}
	defer b.forget()
	r := EnvironmentRecord{ID: id, Name: name, CreatedAt: at.UTC(), Shares: b.shares}
	for _, p := range environmentPurposes() {
		if err := b.generate(ctx, p, &r); err != nil {
			return EnvironmentRecord{}, nil, err
		}
	}
	e, err := b.environment(ctx, &r)
	if err != nil {
		return EnvironmentRecord{}, nil, fmt.Errorf("environment %s, read back: %w", id, err)
	}
	return r, e, nil
}

func environmentPurposes() []purpose {
	return []purpose{purposeMAC, purposeIndex, purposePepper, purposeSigning}
}

// generate makes the keyset of one purpose and seals it into the record.
func (b *bundle) generate(ctx context.Context, p purpose, r *EnvironmentRecord) error {
	h, err := keyset.NewHandle(environmentTemplate(p))
	if err != nil {
		return fmt.Errorf("generate %s keyset: %w", p, err)
	}
	if *r.sealed(p), err = b.seal(ctx, p, h, r.aad(p)); err != nil {
		return fmt.Errorf("environment %s: %w", r.ID, err)
	}
	return nil
}

// AddSigning is the record of an environment with the keyset that signs, which those of earlier versions do not
// have. The errors are those of [OpenEnvironment].
func AddSigning(ctx context.Context, roots *RootKeys, r EnvironmentRecord) (EnvironmentRecord, *Environment, error) {
	b, err := openBundle(ctx, wrappers{roots: roots}, scope{env: r.ID, id: environmentScope}, r.Shares)
	if err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	defer b.forget()
	// Nothing is added to what does not open as a whole.
	if _, err := b.environment(ctx, &r); err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	if len(r.SealedSigning) == 0 {
		if err := b.generate(ctx, purposeSigning, &r); err != nil {
			return r, nil, err
		}
	}
	e, err := b.environment(ctx, &r)
	if err != nil {
		return r, nil, fmt.Errorf("environment %s, read back: %w", r.ID, err)
	}
	return r, e, nil
}

// RotateSigning is the record of an environment with another key that signs. The keys before it stay, to sign that they
// hand over. The errors are those of [OpenEnvironment].
func RotateSigning(ctx context.Context, roots *RootKeys, r EnvironmentRecord) (EnvironmentRecord, *Environment, error) {
	b, err := openBundle(ctx, wrappers{roots: roots}, scope{env: r.ID, id: environmentScope}, r.Shares)
	if err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	defer b.forget()
	// Nothing is added to what does not open as a whole.
	if _, err := b.environment(ctx, &r); err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	h, err := b.open(ctx, purposeSigning, r.SealedSigning, r.aad(purposeSigning))
	if err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	if h, err = addSigningKey(h); err != nil {
		return r, nil, err
	}
	if r.SealedSigning, err = b.seal(ctx, purposeSigning, h, r.aad(purposeSigning)); err != nil {
		return r, nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	e, err := b.environment(ctx, &r)
	if err != nil {
		return r, nil, fmt.Errorf("environment %s, read back: %w", r.ID, err)
	}
	return r, e, nil
}

// OpenEnvironment unwraps an environment's keysets: [ErrTampered] if the record is not what was stored,
// [ErrRefused] if it needs a root key that is not at hand (the error names it), an outage.Error. The caller has
// compared the record's id with the key it stood at.
func OpenEnvironment(ctx context.Context, roots *RootKeys, r EnvironmentRecord) (*Environment, error) {
	b, err := openBundle(ctx, wrappers{roots: roots}, scope{env: r.ID, id: environmentScope}, r.Shares)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	defer b.forget()
	e, err := b.environment(ctx, &r)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", r.ID, err)
	}
	return e, nil
}

// environment opens the keysets under the shares at hand.
func (b *bundle) environment(ctx context.Context, r *EnvironmentRecord) (*Environment, error) {
	e := &Environment{id: r.ID, name: r.Name, createdAt: r.CreatedAt}
	for _, p := range environmentPurposes() {
		if p == purposeSigning && len(r.SealedSigning) == 0 {
			continue // the record's MAC tells this from one that somebody took out
		}
		h, err := b.open(ctx, p, *r.sealed(p), r.aad(p))
		if err != nil {
			return nil, err
		}
		if err := e.use(p, h); err != nil {
			// The seal held and the keyset is of another kind: it was made by another program.
			return nil, ErrTampered
		}
	}
	return e, nil
}

// use makes the primitive of one keyset.
func (e *Environment) use(p purpose, h *keyset.Handle) (err error) {
	switch p {
	case purposeMAC:
		e.mac, err = mac.New(h)
	case purposeIndex:
		e.index, err = newPRF(h)
	case purposePepper:
		e.pepper, err = newPRF(h)
	case purposeSigning:
		e.signer, err = newSigner("culvert-audit-"+string(e.id), h)
	}
	return err
}
