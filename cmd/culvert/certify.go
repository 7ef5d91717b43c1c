package main

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/keys"
)

// certify has what is written to the audit log signed from now on, with the key of the first environment: the
// log of a node is one for all of them.
func (g *graph) certify(f *floor, env access.EnvironmentID, cfg AuditConfig) (err error) {
	f.checkpoints = f.store.Checkpoints(env)
	f.signing = &signing{floor: f, env: env}
	f.notary, err = audit.StartNotary(audit.NotaryConfig{
		Log: f.audit, Store: f.checkpoints, Logger: g.log,
		Signer: func(ctx context.Context) (audit.Signer, error) { return f.signing.current(ctx) },
	})
	if err != nil {
		return err
	}
	if cfg.Witness.File != "" {
		f.witness, err = audit.StartFileWitness(audit.WitnessConfig{Log: f.audit, Notary: f.notary, Path: cfg.Witness.File})
		if err != nil {
			return errors.Join(err, f.notary.Close())
		}
		g.opened("witness", f.witness.Close) // which is closed behind the notary, and gets what that signs last
	}
	g.opened("checkpoints", f.notary.Close)
	return nil
}

// signing is the key that checkpoints are signed with, as the store has it.
type signing struct {
	floor *floor
	env   access.EnvironmentID

	// mu guards the fields below.
	mu sync.Mutex
	// sealed is the keyset that signer was opened from.
	sealed []byte
	signer *keys.Signer
}

// current is the newest key. A store that an earlier version made has none yet: one of the processes that find that out
// makes it.
func (s *signing) current(ctx context.Context) (*keys.Signer, error) {
	// Behind the fence: who has seen what another node signed with a new key must find that key.
	if err := s.floor.store.Fence(ctx); err != nil {
		return nil, err
	}
	return s.change(ctx, keys.AddSigning, func(r *keys.EnvironmentRecord) bool { return len(r.SealedSigning) == 0 })
}

// rotate makes another key, and returns its public half.
func (s *signing) rotate(ctx context.Context) (string, error) {
	signer, err := s.change(ctx, keys.RotateSigning, func(*keys.EnvironmentRecord) bool { return true })
	if err != nil {
		return "", err
	}
	return signer.VerifierKey(), nil
}

// step makes the record of an environment another one.
type step func(context.Context, *keys.RootKeys, keys.EnvironmentRecord) (keys.EnvironmentRecord, *keys.Environment, error)

// change takes a step if the record needs it, and opens what comes of it.
func (s *signing) change(ctx context.Context, take step, needed func(*keys.EnvironmentRecord) bool) (*keys.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		record, revision, err := s.floor.store.EnvironmentRecord(ctx, s.env)
		if err != nil {
			return nil, err
		}
		if !needed(record) {
			return s.open(ctx, record)
		}
		next, opened, err := take(ctx, s.floor.roots, *record)
		if err != nil {
			return nil, err
		}
		if err := s.floor.store.ReplaceEnvironment(ctx, next, revision); errors.Is(err, keys.ErrConflict) {
			continue
		} else if err != nil {
			return nil, err
		}
		s.sealed, s.signer = next.SealedSigning, opened.Signer()
		return s.signer, nil
	}
}

// open asks the root key only if the keyset is another one than before.
func (s *signing) open(ctx context.Context, record *keys.EnvironmentRecord) (*keys.Signer, error) {
	if s.signer != nil && bytes.Equal(record.SealedSigning, s.sealed) {
		return s.signer, nil
	}
	opened, err := keys.OpenEnvironment(ctx, s.floor.roots, *record)
	if err != nil {
		return nil, err
	}
	s.sealed, s.signer = record.SealedSigning, opened.Signer()
	return s.signer, nil
}
