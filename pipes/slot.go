package pipes

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/keys"
)

// slot is where an owner's account at a provider is, or would be.
type slot struct {
	owner Owner
	slug  string
	// connections has no record if the owner never had an account there.
	connections At[Connections]
	// account is that of the compatibility slot; no record if it is free.
	account At[Account]
	// standard are further accounts.
	standard []At[Account]
	// beside: an account that is new becomes one of those, because the compatibility slot is taken.
	beside bool
}

// findSlot reads what an owner has at an integration. Accounts of another integration, which had the
// slug before, count as absent: the sweeper is about to remove them.
func (o *operation) findSlot(ctx context.Context, i *Integration, w Owner) (slot, error) {
	s := slot{owner: w, slug: i.Slug}
	var err error
	s.connections, err = o.broker.store.Connections(ctx, o.Environment(), w, i.Slug)
	if errors.Is(err, ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return slot{}, err
	}
	if id := s.connections.Record.Compatibility; id != "" {
		s.account, err = o.broker.account(ctx, o.Environment(), id, w, i)
		if err != nil {
			return slot{}, err
		}
	}
	for _, id := range s.connections.Record.Standard {
		found, err := o.broker.account(ctx, o.Environment(), id, w, i)
		if err != nil {
			return slot{}, err
		}
		if found.Record != nil {
			s.standard = append(s.standard, found)
		}
	}
	return s, nil
}

// account reads one account of an owner at an integration; no record if there is none any more.
func (b *Broker) account(ctx context.Context, env access.EnvironmentID, id AccountID, w Owner, i *Integration) (At[Account], error) {
	found, err := b.store.Account(ctx, env, id)
	if errors.Is(err, ErrNotFound) {
		return At[Account]{}, nil
	}
	if err != nil {
		return At[Account]{}, err
	}
	a := found.Record
	if a.ID != id || a.Environment != env || a.Owner != w || a.Slug != i.Slug {
		return At[Account]{}, keys.ErrTampered
	}
	if a.Integration != i.ID {
		return At[Account]{}, nil
	}
	return found, nil
}

// choose is the account that a request means (contract section 2.3). [ErrNoAccount], [ErrAccountSelection].
func (s *slot) choose(r *Request) (At[Account], error) {
	var all []At[Account]
	if s.account.Record != nil {
		all = append(all, s.account)
	}
	if r.Plural || r.AccountID != "" {
		all = append(all, s.standard...)
	}
	if r.AccountID != "" {
		for _, a := range all {
			if a.Record.ID == r.AccountID {
				return a, nil
			}
		}
		return At[Account]{}, ErrNoAccount
	}
	switch len(all) {
	case 0:
		return At[Account]{}, ErrNoAccount
	case 1:
		return all[0], nil
	}
	return At[Account]{}, ErrAccountSelection
}

// taken is the connections record with a new account in the place that the slot is for. Accounts of an
// integration that is gone are not in it any more.
func (s *slot) taken(id AccountID) *Put[Connections] {
	next := Connections{Owner: s.owner, Slug: s.slug, Compatibility: id}
	for _, a := range s.standard {
		next.Standard = append(next.Standard, a.Record.ID)
	}
	if s.beside {
		next.Compatibility = s.connections.Record.Compatibility
		next.Standard = append(next.Standard, id)
	}
	return &Put[Connections]{Record: next, Revision: s.connections.Revision}
}

// request finds the integration, as it is for the owner, and the account that a request is about, and completes the permit for
// the account's key context.
func (o *operation) request(ctx context.Context, r *Request) (*Integration, slot, error) {
	owner, err := r.owner()
	if err != nil {
		return nil, slot{}, err
	}
	if err := r.checkAccountID(); err != nil {
		return nil, slot{}, err
	}
	found, err := o.findIntegration(ctx, r.Slug, owner.Kind)
	if err != nil {
		return nil, slot{}, err
	}
	o.about(found.Record.Slug, owner, r.UserID)
	kctx, err := owner.keyContext()
	if err != nil {
		return nil, slot{}, err
	}
	if err := o.complete(found.Record.Slug, kctx); err != nil {
		return nil, slot{}, err
	}
	i, err := o.broker.integrationFor(ctx, found.Record, owner)
	if err != nil {
		return nil, slot{}, err
	}
	s, err := o.findSlot(ctx, i, owner)
	return i, s, err
}
