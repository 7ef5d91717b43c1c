package pipes

import (
	"context"
	"errors"
)

// maxSharers bounds how many accounts are looked at to find out whether a consent is used by others.
const maxSharers = 2000

// sharedWith tells whether other accounts would lose their tokens with these, at a provider that ends the
// whole consent that its user gave to this client: those of the same user of the provider's, through
// whatever integration has the client. Empty: none; else the code of why it is left alone.
//
// Where it cannot be told, the answer is that they would: a consent too many at the provider can be taken
// back by its user, and tokens that died cannot be brought back. Gap: a flow whose code is exchanged in
// this very moment, or whose tokens wait; and another environment that has the same client.
func (r *revoking) sharedWith(ctx context.Context) (code string, err error) {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return "", err
	}
	all, err := b.store.Integrations(ctx, r.record.Environment)
	if err != nil {
		return "", err
	}
	left := maxSharers
	for _, i := range all {
		conn, err := b.connector(i.Record)
		if errors.Is(err, ErrNoIntegration) {
			continue
		}
		if err != nil {
			return "", err
		}
		if conn.SecretOrigin() != r.conn.SecretOrigin() || !i.Record.leavesClients() && i.Record.clientID() != r.integration.clientID() {
			continue
		}
		if code, err := r.sharedIn(ctx, i.Record, &left); err != nil || code != "" {
			return code, err
		}
	}
	return "", nil
}

// sharedIn looks through one integration's accounts. An account whose grant is gone or that never had one
// loses nothing, nor does one that was connected through another client: where organizations have their own
// that is the organization's.
func (r *revoking) sharedIn(ctx context.Context, i *Integration, left *int) (code string, err error) {
	for after := AccountID(""); ; {
		batch, err := r.broker.store.AccountsOf(ctx, r.record.Environment, i.ID, after, revokeBatch)
		if err != nil {
			return "", err
		}
		for _, found := range batch {
			a := found.Record
			after = a.ID
			through, err := r.broker.integrationFor(ctx, i, a.Owner)
			if err != nil {
				return "", err
			}
			switch {
			case a.Grant == "" || through.clientID() != r.integration.clientID():
			case a.Identifier != "" && a.Identifier == r.record.Identifier:
				return RevocationShared, nil
			case a.Identifier == "" || r.record.Identifier == "":
				return RevocationUnidentified, nil
			}
		}
		if len(batch) < revokeBatch {
			return "", nil
		}
		if *left -= len(batch); *left <= 0 {
			return RevocationUnidentified, nil
		}
	}
}
