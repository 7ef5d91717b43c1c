package keys

import (
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

// Signer signs notes with an environment's Ed25519 key, which it gives nobody: checkpoints of audit logs. It is
// safe for concurrent use and works in memory.
//
// Attacker: whoever may write a replica's disk, and would have a log that was changed pass for the one that was
// signed. Defence: the key is sealed in the store under the root key, and what is signed names the node, the
// number of records and their hash. Gap: a process that was taken over signs what it is told, and so does who has
// the root key and a copy of the store; checkpoints that an auditor has kept are out of their reach.
type Signer struct {
	name string
	// key is the public key as [note.NewVerifier] reads it, hash its short name.
	key    string
	hash   uint32
	signer tink.Signer
	// earlier are those of the keys before this one, the oldest first.
	earlier []*Signer
}

var _ audit.Signer = (*Signer)(nil)

// Signer is the environment's, nil if its record has no key for that yet: see [AddSigning].
func (e *Environment) Signer() *Signer { return e.signer }

// newSigner is that of the primary key. The keys before it stay in the keyset: with them each replica signs, in its own
// log, that they hand over.
func newSigner(name string, h *keyset.Handle) (*Signer, error) {
	s, err := signerOf(name, h)
	if err != nil {
		return nil, err
	}
	for i := range h.Len() {
		entry, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("signing keyset: %w", err)
		}
		if entry.IsPrimary() {
			return s, nil
		}
		m := keyset.NewManagerFromHandle(h)
		if err := m.SetPrimary(entry.KeyID()); err != nil {
			return nil, fmt.Errorf("signing keyset: %w", err)
		}
		before, err := m.Handle()
		if err != nil {
			return nil, fmt.Errorf("signing keyset: %w", err)
		}
		earlier, err := signerOf(name, before)
		if err != nil {
			return nil, err
		}
		s.earlier = append(s.earlier, earlier)
	}
	return s, nil
}

// addSigningKey is the keyset with another key, which signs from then on.
func addSigningKey(h *keyset.Handle) (*keyset.Handle, error) {
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(environmentTemplate(purposeSigning))
	if err != nil {
		return nil, fmt.Errorf("generate signing key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	next, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	return next, nil
}

// signerOf is that of the primary key, without those before it.
func signerOf(name string, h *keyset.Handle) (*Signer, error) {
	public, err := h.Public()
	if err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	primary, err := public.Primary()
	if err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	key, ok := primary.Key().(*ed25519.PublicKey)
	if !ok {
		return nil, errors.New("keys: a signing key of another kind")
	}
	s := &Signer{name: name}
	if s.key, err = note.NewEd25519VerifierKey(name, key.KeyBytes()); err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	verifier, err := note.NewVerifier(s.key)
	if err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	s.hash = verifier.KeyHash()
	if s.signer, err = signature.NewSigner(h); err != nil {
		return nil, fmt.Errorf("signing keyset: %w", err)
	}
	return s, nil
}

// VerifierKey is the public key as text, as [note.NewVerifier] reads it.
func (s *Signer) VerifierKey() string { return s.key }

// Earlier implements audit.Signer.
func (s *Signer) Earlier() []audit.Signer {
	all := make([]audit.Signer, len(s.earlier))
	for i, e := range s.earlier {
		all[i] = e
	}
	return all
}

// Name implements note.Signer.
func (s *Signer) Name() string { return s.name }

// KeyHash implements note.Signer.
func (s *Signer) KeyHash() uint32 { return s.hash }

// Sign implements note.Signer.
func (s *Signer) Sign(message []byte) ([]byte, error) {
	signed, err := s.signer.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signed, nil
}
