package vault

import (
	"context"
	"slices"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// List returns a page of names in order of creation. A limit above 100 means 100.
//
// Errors: [*InvalidError] for a limit below 1, [ErrUnknownCursor], [ErrSearchUnavailable].
func (v *Vault) List(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := v.authorize(ctx, call, access.NamesList)
	if err != nil {
		return Page{}, err
	}
	page, err := o.list(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

// list shows the names that the actor may see, and asks for each unless it is all of them.
func (o *operation) list(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 {
		return Page{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if q.After != "" && !q.After.wellFormed() || q.Before != "" && !q.Before.wellFormed() {
		return Page{}, ErrUnknownCursor
	}
	q.Limit = min(q.Limit, maxPage)
	// The pagers of the SDKs repeat the cursor they began with: with both, what lies between is wanted.
	var until ObjectID
	if q.After != "" {
		until, q.Before = q.Before, ""
	}
	if permit := o.Lists(); !permit.Decided() {
		q.Viewer = viewer{permit}
	}
	page, err := o.vault.store.List(ctx, o.Environment(), q)
	if err != nil {
		return Page{}, err
	}
	return page.until(until, q.Descending), nil
}

// viewer sees what a permit allows.
type viewer struct{ permit access.Permit }

func (v viewer) Shows(name string, items map[string]string) bool {
	return v.permit.Allows(access.Resource{Name: name, Items: items})
}

func (v viewer) Within() []access.Bound { return v.permit.Bounds() }

// until cuts off an object (empty: none) and what follows it in the order of the page.
func (p Page) until(id ObjectID, descending bool) Page {
	if id == "" {
		return p
	}
	n := slices.IndexFunc(p.Data, func(s Summary) bool {
		return s.ID == id || (s.ID < id) == descending
	})
	switch n {
	case -1:
		return p
	case 0:
		// Never an empty page with a cursor.
		return Page{Data: []Summary{}}
	}
	p.Data, p.After = p.Data[:n], ""
	return p
}
