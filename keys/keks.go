package keys

import (
	"context"
	"maps"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// maxPage is the largest page of a list; a larger limit means this one.
const maxPage = 100

// State is what a KEK can be used for.
type State string

// The states of a KEK.
const (
	Active   State = "active"
	Shredded State = "shredded"
)

// Info is what is told of a KEK.
type Info struct {
	ID        ID
	Context   Context
	State     State
	CreatedAt time.Time
	// Versions is how many keys the keyset has, and PrimaryAt when the newest of them was made, which
	// wraps. Both are zero once the KEK was shredded.
	Versions  int
	PrimaryAt time.Time
	// RootKeys are all needed to unwrap the KEK; none once it was shredded.
	RootKeys   []RootKeyRef
	ShreddedAt time.Time
	// Tally is nil where nothing was counted: nobody asked, or there were too many records.
	Tally *Tally
}

func (r *KEKRecord) info() Info {
	i := Info{ID: r.KeyID, Context: newContext(maps.Clone(r.Items)), State: Active, CreatedAt: r.CreatedAt, ShreddedAt: r.ShreddedAt}
	if !r.ShreddedAt.IsZero() {
		i.State = Shredded
		return i
	}
	i.Versions, i.PrimaryAt = 1, r.CreatedAt
	if r.rotated() {
		i.Versions, i.PrimaryAt = r.Versions, r.RotatedAt
	}
	for _, s := range r.Shares {
		i.RootKeys = append(i.RootKeys, s.ref())
	}
	return i
}

// Query asks for a page of KEKs.
type Query struct {
	// Item keeps the KEKs whose context has it; the zero Item keeps all.
	Item  Item
	Limit int
	// After is the id of a KEK, exclusive.
	After ID
	// Tally asks for the number of records of each KEK.
	Tally bool
}

// Page is a page of KEKs in order of creation. After is the cursor of the next one, empty at the end:
// never an empty page with a cursor.
type Page struct {
	Data  []Info
	After ID
}

// List returns a page of KEKs, the shredded ones included. A limit above 100 means 100.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (ops *Operations) List(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := ops.begin(ctx, call, access.KEKRead)
	if err != nil {
		return Page{}, err
	}
	page, err := o.list(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

// list needs no completed permit: it is of a whole environment, and there is no role yet that may see a
// part of it.
func (o *operation) list(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 {
		return Page{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if err := q.Item.check(); err != nil {
		return Page{}, err
	}
	if _, err := parseUUID(string(q.After)); q.After != "" && err != nil {
		return Page{}, ErrUnknownCursor
	}
	limit := min(q.Limit, maxPage)
	found, err := o.ops.store.KEKs(ctx, o.Environment(), q.Item, q.After, limit+1)
	if err != nil {
		return Page{}, err
	}
	page := Page{Data: []Info{}}
	if len(found) > limit {
		found = slices.Delete(found, limit, len(found))
		page.After = found[limit-1].ID
	}
	for _, f := range found {
		if f.Err != nil {
			return Page{}, f.Err
		}
		if f.Record.Environment != o.Environment() || !q.Item.In(f.Record) {
			return Page{}, ErrTampered
		}
		page.Data = append(page.Data, f.Record.info())
	}
	if q.Tally {
		if err := o.tally(ctx, found, page.Data); err != nil {
			return Page{}, err
		}
	}
	return page, nil
}

// Describe returns one KEK with the number of its records, also one that was shredded.
//
// Errors: [ErrNoKEK].
func (ops *Operations) Describe(ctx context.Context, call access.Call, id ID) (Info, error) {
	o, err := ops.begin(ctx, call, access.KEKRead)
	if err != nil {
		return Info{}, err
	}
	found, err := o.kek(ctx, id)
	if err != nil {
		return trail.Answer(ctx, o.Operation, Info{}, err)
	}
	infos := []Info{found.Record.info()}
	if err := o.tally(ctx, []KEKAt{found}, infos); err != nil {
		return trail.Answer(ctx, o.Operation, Info{}, err)
	}
	return trail.Answer(ctx, o.Operation, infos[0], nil)
}
