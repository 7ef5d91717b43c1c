package etcd

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// timeline is a run of keys whose ids begin with their time of creation, so that a range can be bounded
// by time: etcd visits the whole of a range even if it is asked for the first hundred.
type timeline struct {
	// prefix is what stands before the ids, relative to the root.
	prefix string
	// text is how the ids of a time in milliseconds begin: a bound between ids.
	text func(millis int64) string
	// millis is the time in an id; false for what is none.
	millis func(id string) (int64, bool)
}

// uuids is a run of UUIDv7s.
func uuids(prefix string) timeline {
	return timeline{prefix: prefix, text: uuidPrefix, millis: func(text string) (int64, bool) {
		id, err := uuid.Parse(text)
		return millisOf(id), err == nil && id.String() == text
	}}
}

// ulids is a run of ids that are what stands before a ULID, and the ULID.
func ulids(prefix string) timeline {
	text := func(ms int64) string {
		var id ulid.ULID
		_ = id.SetTime(uint64(min(max(ms, 0), endOfTime))) // fails beyond 48 bits
		return id.String()[:10]
	}
	return timeline{prefix: prefix, text: text, millis: func(text string) (int64, bool) {
		id, err := ulid.ParseStrict(text)
		return int64(id.Time()), err == nil && id.String() == text
	}}
}

// walk reads up to n keys with ids strictly behind after, in order; fewer only at the end. What stands
// among them and has no id is none of ours, and is passed over.
func (s *Store) walk(ctx context.Context, l timeline, after string, n int) ([]*item, error) {
	now := time.Now().UnixMilli()
	bound := func(ms int64) string { return s.client.abs(l.prefix + l.text(ms)) }
	position, known := l.millis(after)
	from := s.client.abs(l.prefix+after) + "\x00"
	if !known {
		// Without this the windows would start in 1970.
		oldest, err := s.oldest(ctx, l, now, 0)
		if err != nil {
			return nil, err
		}
		position, from = oldest, bound(oldest)
	}
	var found []*item
	for width := int64(firstWindow); len(found) < n; {
		to := position + width
		end := bound(to)
		last := to > now+aheadMillis
		if last {
			end = s.client.end(l.prefix)
		}
		resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(n-len(found))))
		if err != nil {
			return nil, down(err)
		}
		for _, kv := range resp.Kvs {
			it := newItem(s.client.rel(kv.Key), kv)
			if _, ours := l.millis(it.key[len(l.prefix):]); ours {
				found = append(found, it)
			}
		}
		switch {
		case resp.More:
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		case last:
			return found, nil
		default:
			position, from = to, end
			width *= windowGrowth
		}
	}
	return found, nil
}

// countRange is how many keys have a prefix: etcd counts without reading them.
func (s *Store) countRange(ctx context.Context, prefix string) (uint64, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.get(ctx, s.client.abs(prefix), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, down(err)
	}
	return uint64(resp.Count), nil
}

// oldest is a time in milliseconds before which a run has no key: that of its first one, as it was when that was
// last searched for, or about now if there was none. Revision 0 is the present.
func (s *Store) oldest(ctx context.Context, l timeline, now, revision int64) (int64, error) {
	none := func(from, to int64) (bool, error) {
		bound := func(ms int64) string { return s.client.abs(l.prefix + l.text(ms)) }
		resp, err := s.client.get(ctx, bound(from), clientv3.WithRange(bound(to)), clientv3.WithCountOnly(), clientv3.WithRev(revision))
		if err != nil {
			return false, down(err)
		}
		return resp.Count == 0, nil
	}
	if known, ok := s.origins.of(l.prefix); ok && known <= now {
		if still, err := none(0, known); err != nil || still {
			return known, err
		}
	}
	// Found by halving the time since 1970: each step counts a range, and only the last ones are not empty.
	low, high := int64(0), now
	for high-low > 1 {
		middle := low + (high-low)/2
		empty, err := none(low, middle)
		if err != nil {
			return 0, err
		}
		if empty {
			low = middle
		} else {
			high = middle
		}
	}
	s.origins.note(l.prefix, low)
	return low, nil
}

// origins remembers where runs begin, to save forty reads: that there is nothing before is asked again each
// time, because clocks differ and a walk may be of the past.
type origins struct {
	mu sync.Mutex
	// byPrefix is guarded by mu.
	byPrefix map[string]int64
}

// maxOrigins bounds the memory: there is a run for every context item that somebody lists KEKs by.
const maxOrigins = 1000

func (o *origins) of(prefix string) (millis int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	millis, ok = o.byPrefix[prefix]
	return millis, ok
}

func (o *origins) note(prefix string, millis int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.byPrefix) >= maxOrigins {
		clear(o.byPrefix)
	}
	o.byPrefix[prefix] = millis
}
