package pipes

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/access"
	"culvert/internal/events"
)

// Account returns a connected account.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrNoAccount], [ErrAccountSelection].
func (b *Broker) Account(ctx context.Context, call access.Call, r Request) (Account, error) {
	o, err := b.begin(ctx, call, access.AccountsRead)
	if err != nil {
		return Account{}, err
	}
	found, err := o.readAccount(ctx, &r)
	if err != nil {
		return answer(ctx, o, Account{}, err)
	}
	return answer(ctx, o, *found.Record, nil)
}

func (o *operation) readAccount(ctx context.Context, r *Request) (At[Account], error) {
	_, s, err := o.request(ctx, r)
	if err != nil {
		return At[Account]{}, err
	}
	found, err := s.choose(r)
	if err != nil {
		return At[Account]{}, err
	}
	o.Record.AccountID, o.Record.GrantID = string(found.Record.ID), string(found.Record.Grant)
	o.Record.Revision = found.Revision
	return found, nil
}

// DeleteAccount disconnects: the account and its tokens are gone. Nothing is revoked at the provider.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrNoAccount], [ErrAccountSelection], [ErrConflict].
func (b *Broker) DeleteAccount(ctx context.Context, call access.Call, r Request) error {
	o, err := b.begin(ctx, call, access.AccountsManage)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error {
		found, err := o.readAccount(ctx, &r)
		if err != nil {
			return err
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		change, err := b.removal(ctx, found, o.cause())
		if err != nil {
			return err
		}
		return b.store.Apply(ctx, change)
	})
	_, err = committed(ctx, o, struct{}{}, err)
	return err
}

// removal is the change that takes an account out, with its place among its owner's and its grant, unless
// other accounts have that.
func (b *Broker) removal(ctx context.Context, found At[Account], c cause) (Change, error) {
	a := found.Record
	change := Change{Environment: a.Environment, Account: &Put[Account]{Record: *a, Revision: found.Revision, Remove: true}}
	var err error
	if change.Left, err = b.leave(ctx, a); err != nil {
		return Change{}, err
	}
	if change.Connections, err = b.vacated(ctx, a); err != nil {
		return Change{}, err
	}
	e, err := c.aboutAccount(events.AccountDisconnected, a, b.now())
	change.Events = []events.Event{e}
	return change, err
}

// vacated is the connections record without an account; nil if the account is not in it, because another
// one has its place.
func (b *Broker) vacated(ctx context.Context, a *Account) (*Put[Connections], error) {
	found, err := b.store.Connections(ctx, a.Environment, a.Owner, a.Slug)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next := *found.Record
	next.Standard = slices.DeleteFunc(slices.Clone(next.Standard), func(id AccountID) bool { return id == a.ID })
	if next.Compatibility == a.ID {
		next.Compatibility = ""
	}
	if next.Compatibility == found.Record.Compatibility && len(next.Standard) == len(found.Record.Standard) {
		return nil, nil
	}
	return &Put[Connections]{
		Record: next, Revision: found.Revision, Remove: next.Compatibility == "" && len(next.Standard) == 0,
	}, nil
}
