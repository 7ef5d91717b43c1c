package pipes

import (
	"context"
	"errors"

	"culvert/internal/trail"
	"culvert/keys"
)

// once is [trail.Once] for a call that connects an account.
func (o *operation) once(ctx context.Context, do func(context.Context) (Account, error)) (Account, error) {
	return trail.Once(ctx, o.Operation, do, o.accountAgain)
}

// rounds is that with as many rounds as it takes.
func (o *operation) rounds(ctx context.Context, round func(context.Context) (*Account, error)) (Account, error) {
	return o.once(ctx, func(ctx context.Context) (stored Account, err error) {
		err = o.retry(ctx, func() error {
			account, err := round(ctx)
			if err == nil {
				stored = *account
			}
			return err
		})
		return stored, err
	})
}

// accountAgain is the account that an earlier request under the same Idempotency-Key has connected.
func (o *operation) accountAgain(ctx context.Context, ids []string) (Account, error) {
	found, err := o.accountMade(ctx, ids[0])
	if err != nil {
		return Account{}, err
	}
	kctx, err := found.Owner.keyContext()
	if err != nil {
		return Account{}, err
	}
	o.Record.AccountID, o.Record.GrantID = string(found.ID), string(found.Grant)
	return *found, o.complete(found.Slug, kctx)
}

func (o *operation) accountMade(ctx context.Context, id string) (*Account, error) {
	found, err := o.broker.store.Account(ctx, o.Environment(), AccountID(id))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNoAccount
	}
	if err != nil {
		return nil, err
	}
	return found.Record, nil
}

// integrationAgain is the integration that an earlier request under the same Idempotency-Key has made, with the
// account that came with it, if both are there still.
func (o *operation) integrationAgain(ctx context.Context, r *CreateIntegration, ids []string) (IntegrationView, error) {
	ownership := r.Ownership
	if ownership == "" {
		ownership = OwnedByUser
	}
	found, err := o.broker.integration(ctx, o.Environment(), r.Slug, ownership)
	if err != nil {
		return IntegrationView{}, err
	}
	if string(found.Record.ID) != ids[0] {
		return IntegrationView{}, ErrNoIntegration // another one has the slug by now
	}
	o.Record.Provider, o.Record.IntegrationID = found.Record.Slug, ids[0]
	if err := o.complete(found.Record.Slug, keys.Context{}); err != nil {
		return IntegrationView{}, err
	}
	view := o.broker.view(found.Record)
	if len(ids) > 1 {
		view.Installation, err = o.accountMade(ctx, ids[1])
	}
	return view, err
}
