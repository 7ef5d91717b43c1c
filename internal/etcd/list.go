package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// List implements vault.Reader. Memory is asked whether it is current before the index is taken, not the
// other way round: an index taken earlier may be one that a new watch no longer feeds.
func (s *Store) List(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	current := s.feed.current()
	index, full := s.indexes.of(env)
	switch {
	case index != nil && current:
		return index.page(q)
	case full && (q.Search != "" || q.Viewer != nil): // either would read an unknown number of objects
		return vault.Page{}, vault.ErrSearchUnavailable
	}
	return s.listFromEtcd(ctx, env, q)
}

// paginate makes a page of what a walk finds, whatever it walks through. A walk collects up to n
// entries strictly behind the cursor in its direction. The error is keys.ErrTampered for a page that
// would show a broken entry.
func paginate(q vault.Query, walk func(cursor *uuid.UUID, descending bool, n int) ([]entry, error)) (vault.Page, error) {
	cursor, err := cursorOf(q)
	if err != nil {
		return vault.Page{}, err
	}
	// A page before a cursor is collected walking away from it, then turned around.
	descending := q.Descending != (q.Before != "")
	found, err := walk(cursor, descending, q.Limit+1)
	if err != nil {
		return vault.Page{}, err
	}
	more := len(found) > q.Limit
	if more {
		found = found[:q.Limit]
	}
	if len(found) == 0 {
		return vault.Page{Data: []vault.Summary{}}, nil
	}
	back, err := walk(&found[0].id, !descending, 1)
	if err != nil {
		return vault.Page{}, err
	}
	behind := len(back) > 0
	if q.Before != "" {
		slices.Reverse(found)
		more, behind = behind, more
	}
	for i := range found {
		if found[i].broken {
			return vault.Page{}, keys.ErrTampered
		}
	}
	return newPage(found, behind, more), nil
}

// listFromEtcd answers a page without the index, from ranges that are bounded in both orders: etcd
// visits the whole of a range even if it is asked for the first hundred.
func (s *Store) listFromEtcd(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	page, err := s.listAtOnce(ctx, env, q)
	if errors.Is(err, rpctypes.ErrCompacted) {
		page, err = s.listAtOnce(ctx, env, q) // history was forgotten under a long walk
	}
	return page, err
}

// listAtOnce reads all ranges at one revision: objects come and go between them, and a list that saw
// each at another moment would show a state that never was.
func (s *Store) listAtOnce(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	head, err := s.client.head(ctx)
	if err != nil {
		return vault.Page{}, down(err)
	}
	return paginate(q, func(cursor *uuid.UUID, descending bool, n int) ([]entry, error) {
		w := etcdWalk{
			store: s, env: env, cursor: cursor, descending: descending, filter: newFilter(q),
			now: time.Now().UnixMilli(), revision: head.Revision,
		}
		return w.collect(ctx, n)
	})
}

// The first window of a walk through etcd, and how it grows: at the fastest rate at which one cluster
// can create objects, four milliseconds hold about a page.
const (
	firstWindow  = 4 // milliseconds
	windowGrowth = 4
	// windowObjects bounds what a window may hold ([Store.window]); one with more is narrowed, down to a
	// millisecond.
	windowObjects = 2000
	// endOfTime is behind every time that the 48 bits of a UUIDv7 can hold.
	endOfTime = 1<<48 - 1
	// aheadMillis is how far ids may be ahead of this clock; behind it one window takes all the rest.
	aheadMillis = 60_000
)

// window is a span of creation times.
type window struct{ from, to int64 } // milliseconds, [from, to)

// etcdWalk is listIndex.walk over etcd, through windows of time.
type etcdWalk struct {
	store      *Store
	env        access.EnvironmentID
	cursor     *uuid.UUID
	descending bool
	filter     filter
	now        int64 // milliseconds
	// revision is the moment the list is of.
	revision int64
}

func (w *etcdWalk) collect(ctx context.Context, n int) ([]entry, error) {
	position, err := w.start(ctx)
	if err != nil {
		return nil, err
	}
	var found []entry
	for width := int64(firstWindow); ; {
		span := w.span(position, width)
		if span.from >= span.to {
			return found, nil
		}
		limit := w.store.window
		if width == 1 {
			limit = 0 // it cannot be narrowed any more
		}
		entries, more, err := w.read(ctx, span, limit)
		if err != nil {
			return nil, err
		}
		if more {
			width = max(width/(windowGrowth*windowGrowth), 1)
			continue
		}
		found = append(found, entries...)
		if len(found) >= n {
			return found[:n], nil
		}
		if position = span.to; w.descending {
			position = span.from
		}
		width *= windowGrowth
	}
}

// start is the time at which the walk begins.
func (w *etcdWalk) start(ctx context.Context) (int64, error) {
	switch {
	case w.cursor != nil && w.descending:
		return millisOf(*w.cursor) + 1, nil
	case w.cursor != nil:
		return millisOf(*w.cursor), nil
	case w.descending:
		return endOfTime, nil
	}
	// Nothing is older than the oldest object; without this the windows would start in 1970.
	return w.store.oldest(ctx, uuids(keyObject(w.env, "")), w.now, w.revision)
}

// span is the next window. What lies ahead of the clock, nearly always nothing, goes with the first
// window of a walk down and the last of a walk up.
func (w *etcdWalk) span(position, width int64) window {
	if w.descending {
		return window{max(min(position, w.now)-width, 0), position}
	}
	to := position + width
	if to > w.now+aheadMillis {
		to = endOfTime
	}
	return window{position, to}
}

// read reads the objects created in a span of time, in the order of the walk. Of a span that holds more
// than the limit it reads nothing and says so.
func (w *etcdWalk) read(ctx context.Context, span window, limit int64) (found []entry, more bool, err error) {
	s := w.store
	bound := func(ms int64) string { return s.client.abs(keyObject(w.env, vault.ObjectID(uuidPrefix(ms)))) }
	resp, err := s.client.kv.Get(ctx, bound(span.from), clientv3.WithRange(bound(span.to)), clientv3.WithLimit(limit), clientv3.WithRev(w.revision))
	if err != nil {
		return nil, false, down(err)
	}
	if resp.More {
		return nil, true, nil
	}
	for _, kv := range resp.Kvs {
		e, ok := s.entry(w.env, newItem(s.client.rel(kv.Key), kv))
		if ok && w.isBehindCursor(e.id) && w.filter.keeps(&e) {
			found = append(found, e)
		}
	}
	if w.descending {
		slices.Reverse(found)
	}
	return found, false, nil
}

func (w *etcdWalk) isBehindCursor(id uuid.UUID) bool {
	if w.cursor == nil {
		return true
	}
	if w.descending {
		return compare(id, *w.cursor) < 0
	}
	return compare(id, *w.cursor) > 0
}

// millisOf is the creation time in a UUIDv7 (RFC 9562 section 5.7: its first 48 bits).
func millisOf(id uuid.UUID) int64 {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}

// uuidPrefix is the text of the first 48 bits of a UUIDv7 of that time: a bound between ids.
func uuidPrefix(ms int64) string {
	hex := fmt.Sprintf("%012x", min(max(ms, 0), endOfTime))
	return hex[:8] + "-" + hex[8:]
}
