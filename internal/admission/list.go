package admission

import (
	"context"
	"errors"
	"slices"
	"strings"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// Order is that of a page.
type Order string

// The orders of contract section 4. Normal shows what Descending does, with the cursors exchanged.
const (
	Ascending  Order = "asc"
	Descending Order = "desc"
	Normal     Order = "normal"
)

// Query asks for a page of keys.
type Query struct {
	// Limit is at least 1; above 100 it means 100.
	Limit int
	Order Order
	// After and Before are ids of keys as clients see them, exclusive. With both, After counts.
	After, Before string
	// Organization keeps the keys of one; empty keeps all.
	Organization string
	// Present leaves out keys that were revoked.
	Present bool
}

// Page is a page of keys. Before and After are the cursors of its neighbours, empty at the ends.
type Page struct {
	Data          []Key
	Before, After string
}

const maxPage = 100

// Keys returns a page of the keys that the caller may see, in the order of their creation, those that have ended
// among them.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (r *Register) Keys(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := r.begin(ctx, call, access.APIKeyRead)
	if err != nil {
		return Page{}, err
	}
	page, err := o.keys(ctx, &q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (q *Query) check() (after, before string, err error) {
	if q.Limit < 1 {
		return "", "", invalid("limit", "must be at least 1")
	}
	q.Limit = min(q.Limit, maxPage)
	if q.Organization != "" {
		if err := checkText("organization_id", q.Organization, MaxID); err != nil {
			return "", "", err
		}
	}
	after, isAfter := parseID(q.After)
	before, isBefore := parseID(q.Before)
	if q.After != "" && !isAfter || q.Before != "" && !isBefore {
		return "", "", ErrUnknownCursor
	}
	if q.Order == Normal {
		after, before = before, after
	}
	return after, before, nil
}

func (o *operation) keys(ctx context.Context, q *Query) (Page, error) {
	after, before, err := q.check()
	if err != nil {
		return Page{}, err
	}
	o.Record.OrganizationID = q.Organization
	all, broken, err := o.register.store.APIKeys(ctx, o.Environment())
	if err != nil {
		return Page{}, err
	}
	for _, keyID := range broken {
		o.register.gate.Report(ctx, o.Environment(), keyID, ErrTampered)
	}
	permit := o.Lists()
	all = slices.DeleteFunc(all, func(k KeyAt) bool {
		r := k.Record
		return q.Organization != "" && r.Organization != q.Organization || q.Present && !r.RevokedAt.IsZero() ||
			!permit.Decided() && !permit.Allows(resource(r))
	})
	if q.Order != Ascending {
		slices.Reverse(all)
	}
	shown, previous, next := window(all, after, before, q.Limit, q.Order == Ascending)
	if q.Order == Normal {
		previous, next = next, previous
	}
	page := Page{Data: make([]Key, 0, len(shown)), Before: OnWire(previous), After: OnWire(next)}
	for _, k := range shown {
		key, err := o.tell(ctx, k.Record)
		if err != nil {
			return Page{}, err
		}
		page.Data = append(page.Data, key)
	}
	return page, nil
}

// window cuts a page out of a list in its order: what follows after, or what stands before before. A cursor whose
// key is gone stands where it was, because ids are ordered.
func window(list []KeyAt, after, before string, limit int, ascending bool) (shown []KeyAt, previous, next string) {
	position := func(cursor string, behind bool) int {
		for n, k := range list {
			order := strings.Compare(k.Record.ID, cursor)
			if !ascending {
				order = -order
			}
			if order > 0 || order == 0 && !behind {
				return n
			}
		}
		return len(list)
	}
	from, to := 0, min(len(list), limit)
	switch {
	case after != "":
		from = position(after, true)
		to = min(len(list), from+limit)
	case before != "":
		to = position(before, false)
		from = max(0, to-limit)
	}
	if shown = list[from:to]; len(shown) == 0 {
		return nil, "", ""
	}
	if from > 0 {
		previous = shown[0].Record.ID
	}
	if to < len(list) {
		next = shown[len(shown)-1].Record.ID
	}
	return shown, previous, next
}

// Key returns one key.
//
// Errors: [ErrNoKey].
func (r *Register) Key(ctx context.Context, call access.Call, keyID string) (Key, error) {
	o, err := r.begin(ctx, call, access.APIKeyRead)
	if err != nil {
		return Key{}, err
	}
	found, err := o.find(ctx, keyID)
	if err != nil {
		return trail.Answer(ctx, o.Operation, Key{}, err)
	}
	key, err := o.tell(ctx, found.Record)
	return trail.Answer(ctx, o.Operation, key, err)
}

// find is the key that a caller named. The permit is completed with it.
func (o *operation) find(ctx context.Context, text string) (KeyAt, error) {
	keyID, ok := parseID(text)
	if !ok {
		return KeyAt{}, ErrNoKey
	}
	record, revision, err := o.register.store.APIKey(ctx, o.Environment(), keyID)
	switch {
	case errors.Is(err, access.ErrNoKey):
		return KeyAt{}, ErrNoKey
	case err != nil:
		return KeyAt{}, err
	case record.ID != keyID || record.Environment != o.Environment():
		return KeyAt{}, ErrTampered
	}
	o.Record.Revision = revision
	return KeyAt{&record, revision}, o.about(&record)
}

// tell is a key with what is known of it besides its record.
func (o *operation) tell(ctx context.Context, r *access.KeyRecord) (Key, error) {
	used, err := o.register.store.LastUse(ctx, r.Environment, r.ID)
	return Key{*r, stateOf(r, o.register.now()), used}, err
}
