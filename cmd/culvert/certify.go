package main

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/keys"
)

// certify has what is written to the audit log signed from now on, with the key of the first environment: the
// log of a node is one for all of them.
func (g *graph) certify(f *floor, env access.EnvironmentID) (err error) {
	f.checkpoints = f.store.Checkpoints(env)
	f.notary, err = audit.StartNotary(audit.NotaryConfig{
		Log: f.audit, Store: f.checkpoints, Logger: g.log,
		Signer: func(ctx context.Context) (audit.Signer, error) { return f.signer(ctx, env) },
	})
	if err != nil {
		return err
	}
	g.opened("checkpoints", f.notary.Close)
	return nil
}

// signer is the environment's. A store that an earlier version made has none yet: one of the processes that find
// that out makes it.
func (f *floor) signer(ctx context.Context, id access.EnvironmentID) (*keys.Signer, error) {
	env, err := f.environments.Environment(id)
	if err != nil {
		return nil, err
	}
	for env.Signer() == nil {
		record, revision, err := f.store.EnvironmentRecord(ctx, id)
		if err != nil {
			return nil, err
		}
		made := len(record.SealedSigning) == 0
		next, opened, err := keys.AddSigning(ctx, f.roots, *record)
		if err != nil {
			return nil, err
		}
		if made {
			if err := f.store.ReplaceEnvironment(ctx, next, revision); errors.Is(err, keys.ErrConflict) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		env = opened
	}
	return env.Signer(), nil
}
