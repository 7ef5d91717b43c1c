package pipes

import (
	"context"
	"slices"
	"strings"

	"culvert/internal/access"
	"culvert/keys"
)

// Order is that of a page.
type Order string

// The orders of contract section 4. Normal shows what Descending does, with the cursors exchanged:
// after leads to newer records.
const (
	Ascending  Order = "asc"
	Descending Order = "desc"
	Normal     Order = "normal"
)

// IntegrationQuery asks for a page of integrations.
type IntegrationQuery struct {
	// Limit is 1 to 100; 0 stands for 10, and what is above 100 for 100.
	Limit int
	// After and Before are ids of integrations. With both, After counts.
	After, Before IntegrationID
	Order         Order // default Descending
	// Ownership keeps those of one; empty keeps all.
	Ownership Ownership
}

// IntegrationPage is a page. Before and After are the cursors of its neighbours, empty at the ends.
type IntegrationPage struct {
	Data          []IntegrationView
	Before, After IntegrationID
}

// Integrations returns a page of an environment's integrations in the order of their creation.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (b *Broker) Integrations(ctx context.Context, call access.Call, q IntegrationQuery) (IntegrationPage, error) {
	o, err := b.begin(ctx, call, access.IntegrationsRead)
	if err != nil {
		return IntegrationPage{}, err
	}
	page, err := o.listIntegrations(ctx, q)
	return answer(ctx, o, page, err)
}

const (
	defaultLimit = 10
	maxLimit     = 100
)

// checkLimit fills in how many records a page has at most.
func checkLimit(limit *int) error {
	switch {
	case *limit < 0:
		return malformed("limit", "must be at least 1")
	case *limit == 0:
		*limit = defaultLimit
	}
	*limit = min(*limit, maxLimit)
	return nil
}

func (q *IntegrationQuery) check() error {
	if err := checkLimit(&q.Limit); err != nil {
		return err
	}
	switch q.Order {
	case "":
		q.Order = Descending
	case Ascending, Descending, Normal:
	default:
		return malformed("order", "must be asc, desc or normal")
	}
	switch q.Ownership {
	case "", OwnedByUser, OwnedByOrganization:
	default:
		return malformed("ownership", `must be "user" or "organization"`)
	}
	for _, cursor := range []IntegrationID{q.After, q.Before} {
		if cursor != "" && !wellFormed(integrationPrefix, string(cursor)) {
			return ErrUnknownCursor
		}
	}
	return nil
}

// listIntegrations shows what may be read.
func (o *operation) listIntegrations(ctx context.Context, q IntegrationQuery) (IntegrationPage, error) {
	if err := q.check(); err != nil {
		return IntegrationPage{}, err
	}
	all, err := o.broker.store.Integrations(ctx, o.Environment())
	if err != nil {
		return IntegrationPage{}, err
	}
	permit := o.Lists()
	var kept []*Integration
	for _, found := range all {
		if (q.Ownership == "" || found.Record.Ownership == q.Ownership) && permit.Allows(resource(found.Record.Slug, keys.Context{})) {
			kept = append(kept, found.Record)
		}
	}
	if q.Order != Ascending {
		slices.Reverse(kept)
	}
	after, before := q.After, q.Before
	if q.Order == Normal {
		after, before = before, after
	}
	shown, previous, next := window(kept, after, before, q.Limit, q.Order == Ascending)
	page := IntegrationPage{Data: make([]IntegrationView, 0, len(shown)), Before: previous, After: next}
	if q.Order == Normal {
		page.Before, page.After = next, previous
	}
	for _, i := range shown {
		page.Data = append(page.Data, o.broker.view(i))
	}
	return page, nil
}

// window cuts a page out of a list in its order: what follows after, or what stands before before. A
// cursor whose integration is gone stands where it was, because ids are ordered.
func window(list []*Integration, after, before IntegrationID, limit int, ascending bool) (shown []*Integration, previous, next IntegrationID) {
	position := func(cursor IntegrationID, behind bool) int {
		for n, i := range list {
			order := strings.Compare(string(i.ID), string(cursor))
			if !ascending {
				order = -order
			}
			if order > 0 || order == 0 && !behind {
				return n
			}
		}
		return len(list)
	}
	from, to := 0, len(list)
	switch {
	case after != "":
		from = position(after, true)
		to = min(to, from+limit)
	case before != "":
		to = position(before, false)
		from = max(0, to-limit)
	default:
		to = min(to, limit)
	}
	if shown = list[from:to]; len(shown) == 0 {
		return nil, "", ""
	}
	if from > 0 {
		previous = shown[0].ID
	}
	if to < len(list) {
		next = shown[len(shown)-1].ID
	}
	return shown, previous, next
}
