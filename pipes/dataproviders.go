package pipes

import (
	"context"

	"culvert/internal/access"
)

// DataProvider is an integration as one owner sees it.
type DataProvider struct {
	IntegrationView
	// Account is the one in the compatibility slot, nil if there is none. Accounts are all of them, for
	// callers who know of several.
	Account  *Account
	Accounts []*Account
}

// DataProviders lists what an owner can connect: the integrations for users or for organizations that are
// enabled for him, and those that he is connected to all the same. Of the request Slug and AccountID do not count.
//
// Errors: [*InvalidError].
func (b *Broker) DataProviders(ctx context.Context, call access.Call, r Request) ([]DataProvider, error) {
	o, err := b.begin(ctx, call, access.AccountsRead)
	if err != nil {
		return nil, err
	}
	list, err := o.dataProviders(ctx, &r)
	return answer(ctx, o, list, err)
}

func (o *operation) dataProviders(ctx context.Context, r *Request) ([]DataProvider, error) {
	owner, err := r.owner()
	if err != nil {
		return nil, err
	}
	o.about("", owner, r.UserID)
	kctx, err := owner.keyContext()
	if err != nil {
		return nil, err
	}
	o.Record.KeyContext = kctx.Items()
	permit := o.Lists()
	all, err := o.broker.store.Integrations(ctx, o.Environment())
	if err != nil {
		return nil, err
	}
	list := []DataProvider{}
	for _, found := range all {
		if found.Record.Ownership != owner.Kind || !permit.Allows(resource(found.Record.Slug, kctx)) {
			continue
		}
		i, err := o.broker.integrationFor(ctx, found.Record, owner)
		if err != nil {
			return nil, err
		}
		s, err := o.findSlot(ctx, i, owner)
		if err != nil {
			return nil, err
		}
		p := DataProvider{IntegrationView: o.broker.view(i), Account: s.account.Record}
		if s.account.Record != nil {
			p.Accounts = append(p.Accounts, s.account.Record)
		}
		if r.Plural {
			for _, a := range s.standard {
				p.Accounts = append(p.Accounts, a.Record)
			}
		}
		if i.Enabled && (!i.lacksClient() || len(i.AuthMethods) > 1) || len(p.Accounts) > 0 {
			list = append(list, p)
		}
	}
	return list, nil
}
