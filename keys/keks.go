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

// KEKState is what a KEK can be used for.
type KEKState string

// The states of a KEK.
const (
	KEKActive   KEKState = "active"
	KEKShredded KEKState = "shredded"
)

// KEKInfo is what is told of a KEK.
type KEKInfo struct {
	ID        ID
	Context   Context
	State     KEKState
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

func (r *KEKRecord) info() KEKInfo {
	i := KEKInfo{ID: r.KeyID, Context: newContext(maps.Clone(r.Items)), State: KEKActive, CreatedAt: r.CreatedAt, ShreddedAt: r.ShreddedAt}
	if !r.ShreddedAt.IsZero() {
		i.State = KEKShredded
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

// KEKQuery asks for a page of KEKs.
type KEKQuery struct {
	// Item keeps the KEKs whose context has it; the zero Item keeps all.
	Item  Item
	Limit int
	// After is the id of a KEK, exclusive.
	After ID
	// Tally asks for the number of records of each KEK.
	Tally bool
}

// KEKPage is a page of KEKs in order of creation. After is the cursor of the next one, empty at the end:
// never an empty page with a cursor.
type KEKPage struct {
	Data  []KEKInfo
	After ID
}

// KEKs returns a page of KEKs, the shredded ones included. A limit above 100 means 100.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (ops *Operations) KEKs(ctx context.Context, call access.Call, q KEKQuery) (KEKPage, error) {
	o, err := ops.begin(ctx, call, access.KEKRead)
	if err != nil {
		return KEKPage{}, err
	}
	page, err := o.keks(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

// keks shows the KEKs of the contexts that the actor may see.
func (o *operation) keks(ctx context.Context, q KEKQuery) (KEKPage, error) {
	if q.Limit < 1 {
		return KEKPage{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if err := q.Item.check(); err != nil {
		return KEKPage{}, err
	}
	if _, err := parseUUID(string(q.After)); q.After != "" && err != nil {
		return KEKPage{}, ErrUnknownCursor
	}
	limit := min(q.Limit, maxPage)
	found, err := o.visible(ctx, q, limit+1)
	if err != nil {
		return KEKPage{}, err
	}
	page := KEKPage{Data: []KEKInfo{}}
	if len(found) > limit {
		found = slices.Delete(found, limit, len(found))
		page.After = found[limit-1].ID
	}
	for _, f := range found {
		page.Data = append(page.Data, f.Record.info())
	}
	if q.Tally {
		if err := o.tally(ctx, found, page.Data); err != nil {
			return KEKPage{}, err
		}
	}
	return page, nil
}

// visible are the first KEKs of a query, up to n, that the actor may see.
func (o *operation) visible(ctx context.Context, q KEKQuery, n int) ([]KEKAt, error) {
	permit, after := o.Lists(), q.After
	var visible []KEKAt
	for {
		found, err := o.ops.store.KEKs(ctx, o.Environment(), q.Item, after, n)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Err != nil {
				return nil, f.Err
			}
			if f.Record.Environment != o.Environment() || !q.Item.In(f.Record) {
				return nil, ErrTampered
			}
			after = f.ID
			if !permit.Decided() && !permit.Allows(access.Resource{Items: f.Record.Items}) {
				continue
			}
			if visible = append(visible, f); len(visible) == n {
				return visible, nil
			}
		}
		if len(found) < n {
			return visible, nil
		}
	}
}

// KEK returns one KEK with the number of its records, also one that was shredded.
//
// Errors: [ErrNoKEK].
func (ops *Operations) KEK(ctx context.Context, call access.Call, id ID) (KEKInfo, error) {
	o, err := ops.begin(ctx, call, access.KEKRead)
	if err != nil {
		return KEKInfo{}, err
	}
	found, err := o.kek(ctx, id)
	if err != nil {
		return trail.Answer(ctx, o.Operation, KEKInfo{}, err)
	}
	infos := []KEKInfo{found.Record.info()}
	if err := o.tally(ctx, []KEKAt{found}, infos); err != nil {
		return trail.Answer(ctx, o.Operation, KEKInfo{}, err)
	}
	return trail.Answer(ctx, o.Operation, infos[0], nil)
}
