package keys

import (
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/mod/sumdb/note"
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
}

var _ note.Signer = (*Signer)(nil)

// Signer is the environment's, nil if its record has no key for that yet: see [AddSigning].
func (e *Environment) Signer() *Signer { return e.signer }

func newSigner(name string, h *keyset.Handle) (*Signer, error) {
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

// Name implements [note.Signer].
func (s *Signer) Name() string { return s.name }

// KeyHash implements [note.Signer].
func (s *Signer) KeyHash() uint32 { return s.hash }

// Sign implements [note.Signer].
func (s *Signer) Sign(message []byte) ([]byte, error) {
	signed, err := s.signer.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signed, nil
}
