package etcd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// List implements vault.Reader.
func (s *Store) List(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	index, full := s.indexes.of(env)
	if index == nil || !s.feed.current() {
		if full && q.Search != "" {
			return vault.Page{}, vault.ErrSearchUnavailable
		}
		return s.listFromEtcd(ctx, env, q)
	}
	page, ok, err := index.page(q)
	if err != nil {
		return vault.Page{}, err
	}
	if !ok {
		return vault.Page{}, keys.ErrTampered
	}
	return page, nil
}

// The first window of a walk through etcd, and how it grows: at the fastest rate at which one cluster
// can create objects, four milliseconds hold about a page.
const (
	firstWindow  = 4 * time.Millisecond
	windowGrowth = 4
)

// window is a span of creation times.
type window struct{ from, to int64 } // milliseconds, [from, to)

// listFromEtcd answers a page without the index, from ranges that are bounded in time in both orders:
// etcd visits the whole of a range even if it is asked for the first hundred.
func (s *Store) listFromEtcd(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	cursor, err := cursorOf(q)
	if err != nil {
		return vault.Page{}, err
	}
	f := newFilter(q)
	descending := q.Descending != (q.Before != "")
	found, err := s.walkEtcd(ctx, env, cursor, descending, f, q.Limit+1)
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
	back, err := s.walkEtcd(ctx, env, &found[0].id, !descending, f, 1)
	if err != nil {
		return vault.Page{}, err
	}
	behind := len(back) > 0
	if q.Before != "" {
		slices.Reverse(found)
		more, behind = behind, more
	}
	return newPage(found, behind, more), nil
}

// walkEtcd is listIndex.walk over etcd.
func (s *Store) walkEtcd(ctx context.Context, env access.EnvironmentID, cursor *uuid.UUID, descending bool, f filter, n int) ([]entry, error) {
	first, last := int64(0), time.Now().Add(time.Minute).UnixMilli()
	if !descending {
		// Nothing is older than the oldest object; without this the windows would start in 1970.
		oldest, err := s.oldest(ctx, env)
		if err != nil {
			return nil, err
		}
		first = oldest
	}
	position := first
	if descending {
		position = last
	}
	if cursor != nil {
		position = millisOf(*cursor)
		if descending {
			position++
		}
	}
	var found []entry
	for width := firstWindow.Milliseconds(); ; width *= windowGrowth {
		w := window{position, min(position+width, last)}
		if descending {
			w = window{max(position-width, first), position}
		}
		if w.from >= w.to {
			return found, nil
		}
		entries, err := s.window(ctx, env, w, cursor, descending, f)
		if err != nil {
			return nil, err
		}
		found = append(found, entries...)
		if len(found) >= n {
			return found[:n], nil
		}
		if position = w.to; descending {
			position = w.from
		}
	}
}

// window reads the objects created in a span of time, in the order of the walk.
func (s *Store) window(ctx context.Context, env access.EnvironmentID, w window, cursor *uuid.UUID, descending bool, f filter) ([]entry, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	from := s.client.abs(keyObject(env, vault.ObjectID(uuidPrefix(w.from))))
	to := s.client.abs(keyObject(env, vault.ObjectID(uuidPrefix(w.to))))
	resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(to))
	if err != nil {
		return nil, down(err)
	}
	var found []entry
	for _, kv := range resp.Kvs {
		it := newItem(s.client.rel(kv.Key), kv)
		h, err := s.stored(env, it)
		if err != nil {
			return nil, err
		}
		id, err := uuid.Parse(lastOf(it.key))
		if err != nil || id.String() != string(h.ID) {
			return nil, keys.ErrTampered
		}
		if cursor != nil && (!descending && compare(id, *cursor) <= 0 || descending && compare(id, *cursor) >= 0) {
			continue
		}
		e := entry{id: id, name: h.Name, updated: h.UpdatedAt().UnixMicro()}
		if f.keeps(&e) {
			found = append(found, e)
		}
	}
	if descending {
		slices.Reverse(found)
	}
	return found, nil
}

// oldest is the creation time of an environment's first object in milliseconds, found by halving the
// time since 1970: each step counts a range, and only the last ones are not empty.
func (s *Store) oldest(ctx context.Context, env access.EnvironmentID) (int64, error) {
	low, high := int64(0), time.Now().Add(time.Minute).UnixMilli()
	for high-low > 1 {
		middle := low + (high-low)/2
		stepCtx, cancel := bounded(ctx, readTimeout)
		resp, err := s.client.kv.Get(stepCtx, s.client.abs(keyObject(env, vault.ObjectID(uuidPrefix(low)))),
			clientv3.WithRange(s.client.abs(keyObject(env, vault.ObjectID(uuidPrefix(middle))))), clientv3.WithCountOnly())
		cancel()
		if err != nil {
			return 0, down(err)
		}
		if resp.Count > 0 {
			high = middle
		} else {
			low = middle
		}
	}
	return low, nil
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
	hex := fmt.Sprintf("%012x", min(max(ms, 0), math.MaxInt64>>16))
	return hex[:8] + "-" + hex[8:]
}
