package vault

import (
	"context"

	"culvert/internal/access"
)

// List returns a page of names in order of creation. A limit above 100 means 100.
//
// Errors: [*InvalidError] for a limit below 1 or two cursors, [ErrUnknownCursor],
// [ErrSearchUnavailable].
func (v *Vault) List(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := v.authorize(ctx, call, access.NamesList)
	if err != nil {
		return Page{}, err
	}
	page, err := o.list(ctx, q)
	return answer(ctx, o, page, err)
}

// list needs no completed permit: NamesList is of a whole environment, and there is no role yet that
// may list a part of it.
func (o *operation) list(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 {
		return Page{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if q.After != "" && q.Before != "" {
		return Page{}, &InvalidError{Field: "before", Rule: "cannot be combined with after"}
	}
	if q.After != "" && !q.After.wellFormed() || q.Before != "" && !q.Before.wellFormed() {
		return Page{}, ErrUnknownCursor
	}
	q.Limit = min(q.Limit, maxPage)
	return o.vault.store.List(ctx, o.environment(), q)
}
