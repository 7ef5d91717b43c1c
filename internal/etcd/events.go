package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
)

const (
	// epochsAtOnce bounds how many epochs one range reads; it grows from one while they hold little.
	epochsAtOnce = 256
	// batchEvents is how many events a range may hold before the next one reads fewer epochs.
	batchEvents = 2000
	// skewEpochs is how many epochs an event's time may be off the order of epochs: replicas whose
	// clocks are two seconds apart, and an epoch a second.
	skewEpochs = 5
)

// logged is an event with its place in the order of the log: (epoch, revision, ordinal).
type logged struct {
	events.Stored
	epoch    uint64
	revision int64
	ordinal  int
}

// Page implements events.Store. A page costs what its epochs hold; a filter that keeps little reads more
// of them.
func (s *Store) Page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	at, err := s.epochs.current(ctx, env)
	if err != nil {
		return events.Page{}, err
	}
	cursor, descending := q.After, q.Order == events.Descending
	if q.Before != "" {
		// A page before a cursor is collected walking away from it, then turned around.
		cursor, descending = q.Before, !descending
	}
	w := eventWalk{store: s, env: env, q: q, descending: descending, last: at.number}
	found, err := w.collect(ctx, cursor, q.Limit+1)
	if err != nil {
		return events.Page{}, err
	}
	more := len(found) > q.Limit
	if more {
		found = found[:q.Limit]
	}
	if len(found) == 0 {
		return events.Page{Data: []events.Stored{}}, nil
	}
	behind := cursor != ""
	if q.Before != "" {
		slices.Reverse(found)
		more, behind = behind, more
	}
	page := events.Page{Data: make([]events.Stored, len(found))}
	for i, e := range found {
		page.Data[i] = e.Stored
	}
	if behind {
		page.Before = found[0].ID
	}
	if more {
		page.After = found[len(found)-1].ID
	}
	return page, nil
}

// eventWalk goes through the epochs of one environment in one direction.
type eventWalk struct {
	store      *Store
	env        access.EnvironmentID
	q          events.Query
	descending bool
	// last is the current epoch, the end of the log.
	last uint64
}

// collect returns up to n events that the query keeps, strictly behind the cursor.
func (w *eventWalk) collect(ctx context.Context, cursor string, n int) ([]logged, error) {
	var found []logged
	next, err := w.start(ctx)
	if err != nil {
		return nil, err
	}
	if cursor != "" {
		if found, next, err = w.behind(ctx, cursor); err != nil {
			return nil, err
		}
	}
	for width := uint64(1); len(found) < n && next >= 1 && next <= w.last; {
		from, to := next, min(next+width-1, w.last)
		if w.descending {
			from, to = max(next, width)-width+1, next
		}
		batch, err := w.store.readEpochs(ctx, w.env, from, to)
		if err != nil {
			return nil, err
		}
		if w.past(batch) {
			break
		}
		found = append(found, w.keep(batch)...)
		if next = to + 1; w.descending {
			next = from - 1
		}
		if width = min(2*width, epochsAtOnce); len(batch) > batchEvents {
			width = 1
		}
	}
	return found[:min(n, len(found))], nil
}

// behind reads the cursor's own epoch: what follows the cursor in it, and the epoch to go on with.
func (w *eventWalk) behind(ctx context.Context, cursor string) ([]logged, uint64, error) {
	epoch, ok := id.EventEpoch(cursor)
	if !ok || epoch < 1 || epoch > w.last {
		return nil, 0, events.ErrUnknownCursor
	}
	all, err := w.store.readEpochs(ctx, w.env, epoch, epoch)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(all, func(e logged) bool { return e.ID == cursor })
	if i < 0 {
		return nil, 0, events.ErrUnknownCursor
	}
	if w.descending {
		return w.keep(all[:i]), epoch - 1, nil
	}
	return w.keep(all[i+1:]), epoch + 1, nil
}

// keep filters a batch and puts it into the order of the walk.
func (w *eventWalk) keep(batch []logged) []logged {
	var kept []logged
	for _, e := range batch {
		if slices.Contains(w.q.Types, e.Type) && w.inRange(e.At) && w.ofOrganization(e.Data) {
			kept = append(kept, e)
		}
	}
	if w.descending {
		slices.Reverse(kept)
	}
	return kept
}

func (w *eventWalk) inRange(at time.Time) bool {
	return !at.Before(w.q.RangeStart) && (w.q.RangeEnd.IsZero() || at.Before(w.q.RangeEnd))
}

func (w *eventWalk) ofOrganization(data json.RawMessage) bool {
	if w.q.OrganizationID == "" {
		return true
	}
	var d struct {
		OrganizationID string            `json:"organization_id"`
		KeyContext     map[string]string `json:"key_context"`
	}
	return json.Unmarshal(data, &d) == nil &&
		(d.OrganizationID == w.q.OrganizationID || d.KeyContext["organization_id"] == w.q.OrganizationID)
}

// past reports that a batch lies wholly behind the range of times in the walk's direction, by more than
// clocks may differ.
func (w *eventWalk) past(batch []logged) bool {
	if len(batch) == 0 {
		return false
	}
	margin := skewEpochs * epochLength
	if w.descending {
		return !w.q.RangeStart.IsZero() && batch[len(batch)-1].At.Before(w.q.RangeStart.Add(-margin))
	}
	return !w.q.RangeEnd.IsZero() && batch[0].At.After(w.q.RangeEnd.Add(margin))
}

// start is the epoch a walk without a cursor begins with, found by halving where a time bounds it.
func (w *eventWalk) start(ctx context.Context) (uint64, error) {
	bound := w.q.RangeStart
	if w.descending {
		bound = w.q.RangeEnd
	}
	if bound.IsZero() {
		if w.descending {
			return w.last, nil
		}
		return 1, nil
	}
	low, high := uint64(1), w.last
	for low < high {
		middle := low + (high-low)/2
		upTo := min(middle+skewEpochs, high)
		batch, err := w.store.readEpochs(ctx, w.env, middle, upTo)
		if err != nil {
			return 0, err
		}
		if len(batch) == 0 || batch[0].At.Before(bound) {
			low = upTo
			if upTo == middle || middle+1 > low {
				low = middle + 1
			}
		} else {
			high = middle
		}
	}
	if w.descending {
		return min(low+2*skewEpochs, w.last), nil
	}
	return max(low, 2*skewEpochs+1) - 2*skewEpochs, nil
}

// readEpochs reads whole epochs in the order of the log.
func (s *Store) readEpochs(ctx context.Context, env access.EnvironmentID, from, to uint64) ([]logged, error) {
	resp, err := s.client.kv.Get(ctx, s.client.abs(prefixEpoch(env, from)), clientv3.WithRange(s.client.abs(prefixEpoch(env, to+1))))
	if err != nil {
		return nil, down(err)
	}
	all := make([]logged, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		it := newItem(s.client.rel(kv.Key), kv)
		record, err := open[eventRecord](s, env, it)
		if err != nil {
			return nil, err
		}
		e := logged{revision: it.revision, ordinal: record.Ordinal, Stored: events.Stored{ID: lastOf(it.key), Event: events.Event{
			Type: record.Type, Data: record.Data, At: record.At.UTC(), Node: record.Node, Index: record.Index,
		}}}
		e.epoch, _ = id.EventEpoch(e.ID)
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b logged) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.revision, b.revision), cmp.Compare(a.ordinal, b.ordinal))
	})
	return all, nil
}
