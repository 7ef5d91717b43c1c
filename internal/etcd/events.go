package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/keys"
)

const (
	// epochsAtOnce bounds how many epochs one range reads; it grows from one while they hold little.
	epochsAtOnce = 256
	// batchEvents is how many events a range of several epochs may hold. One epoch is always read
	// whole: that is what its length is bounded for.
	batchEvents = 4 * epochEvents
	// disorder is how far the times of events may be off the order of the log: a replica's clock may be
	// 2 s off, and between the time an event bears and its commit lie an audit record, perhaps a call
	// of a KMS, and the deadlines of a transaction.
	disorder = 15 * time.Second
)

// logged is an event with its place in the order of the log: (epoch, revision, ordinal).
type logged struct {
	events.Stored
	epoch    uint64
	revision int64
	ordinal  int
	// raw is the record as it stood in etcd, where somebody moves it; nil elsewhere.
	raw *item
}

// Page implements events.Store. A page costs what its epochs hold; a filter that keeps little reads more
// of them.
func (s *Store) Page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error) {
	page, err := s.page(ctx, env, q)
	if errors.Is(err, keys.ErrTampered) {
		// The log of events stands below keys and has a word of its own for it.
		err = fmt.Errorf("%w: %w", events.ErrTampered, err)
	}
	return page, err
}

func (s *Store) page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	q.RangeStart, q.RangeEnd = q.RangeStart.Truncate(time.Millisecond), q.RangeEnd.Truncate(time.Millisecond)
	at, err := s.lastEpoch(ctx, env)
	if err != nil {
		return events.Page{}, err
	}
	whole, err := s.lookup(ctx, keyArchive(env))
	if err != nil {
		return events.Page{}, err
	}
	begins, err := s.archiveIn(env, whole)
	if err != nil {
		return events.Page{}, err
	}
	cursor, descending := q.After, q.Order == events.Descending
	if q.Before != "" {
		// A page before a cursor is collected walking away from it, then turned around.
		cursor, descending = q.Before, !descending
	}
	w := eventWalk{store: s, env: env, q: q, descending: descending, first: begins.From, last: at.number}
	found, err := w.collect(ctx, cursor, q.Limit+1)
	if err != nil {
		return events.Page{}, err
	}
	more := len(found) > q.Limit
	if more {
		found = found[:q.Limit]
	}
	if len(found) == 0 {
		return events.Page{Data: []events.Stored{}, Forgotten: begins.Forgotten}, nil
	}
	behind := cursor != ""
	if q.Before != "" {
		slices.Reverse(found)
		more, behind = behind, more
	}
	page := events.Page{Data: make([]events.Stored, len(found)), Forgotten: begins.Forgotten}
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
	// first is the first epoch that is known, last the current one, the end of the log.
	first, last uint64
}

// collect returns up to n events that the query keeps, strictly behind the cursor.
func (w *eventWalk) collect(ctx context.Context, cursor string, n int) ([]logged, error) {
	found, next, err := w.begin(ctx, cursor)
	if err != nil {
		return nil, err
	}
	return w.goOn(ctx, found, next, n)
}

// goOn collects from an epoch on, behind what was found before it.
func (w *eventWalk) goOn(ctx context.Context, found []logged, next uint64, n int) ([]logged, error) {
	for width := uint64(1); len(found) < n && next >= w.first && next <= w.last; {
		from, to := next, min(next+width-1, w.last)
		if w.descending {
			from, to = max(max(next, width)-width+1, w.first), next
		}
		batch, more, err := w.store.readEpochs(ctx, w.env, from, to)
		if o := outage.Of(err); o != nil && o.Dependency == outage.Segments && width > 1 {
			width = 1 // what etcd still has may be enough
			continue
		}
		if err != nil {
			return nil, err
		}
		if more {
			width = max(width/16, 1)
			continue
		}
		if w.past(batch) {
			break
		}
		found = append(found, w.keep(batch)...)
		if next = to + 1; w.descending {
			next = from - 1
		}
		width = min(2*width, epochsAtOnce)
	}
	return found[:min(n, len(found))], nil
}

// begin is where a walk starts: behind the cursor, or where the range of times begins.
func (w *eventWalk) begin(ctx context.Context, cursor string) ([]logged, uint64, error) {
	if cursor != "" {
		return w.behind(ctx, cursor)
	}
	next, err := w.start(ctx)
	return nil, next, err
}

// behind reads the cursor's own epoch: what follows the cursor in it, and the epoch to go on with.
func (w *eventWalk) behind(ctx context.Context, cursor string) ([]logged, uint64, error) {
	epoch, ok := id.EventEpoch(cursor)
	if !ok || epoch < w.first || epoch > w.last {
		return nil, 0, events.ErrUnknownCursor
	}
	all, _, err := w.store.readEpochs(ctx, w.env, epoch, epoch)
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
		if (len(w.q.Types) == 0 || slices.Contains(w.q.Types, e.Type)) && w.inRange(e.At) && w.ofOrganization(e.Data) {
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

// past reports that a batch lies wholly behind the range of times in the walk's direction.
func (w *eventWalk) past(batch []logged) bool {
	if len(batch) == 0 {
		return false
	}
	if w.descending {
		return !w.q.RangeStart.IsZero() && batch[len(batch)-1].At.Before(w.q.RangeStart.Add(-disorder))
	}
	return !w.q.RangeEnd.IsZero() && batch[0].At.After(w.q.RangeEnd.Add(disorder))
}

// start is the epoch a walk without a cursor begins with, found by halving where a time bounds it.
func (w *eventWalk) start(ctx context.Context) (uint64, error) {
	switch {
	case w.descending && w.q.RangeEnd.IsZero():
		return w.last, nil
	case w.descending:
		_, behind, err := w.split(ctx, w.q.RangeEnd.Add(disorder))
		return min(behind, w.last), err
	case w.q.RangeStart.IsZero():
		return w.first, nil
	}
	before, _, err := w.split(ctx, w.q.RangeStart.Add(-disorder))
	return before, err
}

// split finds a place in the log where the times pass a bound: no event of an epoch before the first
// result is of that bound plus the disorder or later, and none from the second on is older than the
// bound less the disorder. What a single epoch holds may span hours, if nothing happened in between, so
// an epoch is judged by its first event alone, and only what lies outside it is concluded from that.
func (w *eventWalk) split(ctx context.Context, bound time.Time) (before, behind uint64, err error) {
	before, behind = w.first, w.last+1
	for behind-before > 1 {
		middle := before + (behind-before)/2
		first, err := w.store.firstEvent(ctx, w.env, middle, behind)
		switch {
		case err != nil:
			return 0, 0, err
		case first == nil || !first.At.Before(bound):
			behind = middle
		default:
			before = first.epoch
		}
	}
	return before, behind, nil
}

// lastEpoch is the epoch that events go to now: as current as the caller's fence, unlike epochs.current.
func (s *Store) lastEpoch(ctx context.Context, env access.EnvironmentID) (epoch, error) {
	it, err := s.lookup(ctx, keyEpoch(env))
	if err != nil {
		return epoch{}, err
	}
	return s.epochs.learn(env, it)
}

// firstEvent is the first one, in order of keys, of the epochs from one up to another (exclusive), or
// nil. Few epochs are empty; it looks at more at a time because a range costs what it spans, whatever
// its limit.
func (s *Store) firstEvent(ctx context.Context, env access.EnvironmentID, from, to uint64) (*logged, error) {
	for width := uint64(1); from < to; width *= 16 {
		end := min(from+width, to)
		a, kvs, _, err := s.epochRange(ctx, env, from, end-1, 1)
		if err != nil {
			return nil, err
		}
		if a.Through >= from {
			if found, err := s.firstArchived(ctx, env, from, min(a.Through, end-1)); err != nil || found != nil {
				return found, err
			}
		}
		if len(kvs) > 0 {
			e, err := s.logged(env, kvs[0])
			return &e, err
		}
		from = end
	}
	return nil, nil
}

// epochRange reads what of a range of epochs is in etcd, and at the same revision what is not any more.
func (s *Store) epochRange(ctx context.Context, env access.EnvironmentID, from, to uint64, limit int64) (archive, []*mvccpb.KeyValue, bool, error) {
	key := keyArchive(env)
	resp, err := s.client.kv.Txn(ctx).Then(
		clientv3.OpGet(s.client.abs(key)),
		clientv3.OpGet(s.client.abs(prefixEpoch(env, from)), clientv3.WithRange(s.client.abs(prefixEpoch(env, to+1))), clientv3.WithLimit(limit)),
	).Commit()
	if err != nil {
		return archive{}, nil, false, down(err)
	}
	a, err := s.archiveIn(env, newItem(key, firstOf(resp.Responses[0].GetResponseRange())))
	found := resp.Responses[1].GetResponseRange()
	return a, found.GetKvs(), found.GetMore(), err
}

// readEpochs reads whole epochs in the order of the log. Of several that hold more than batchEvents it
// reads nothing and says so.
func (s *Store) readEpochs(ctx context.Context, env access.EnvironmentID, from, to uint64) (all []logged, more bool, err error) {
	limit := int64(0)
	if from < to {
		limit = batchEvents
	}
	a, kvs, more, err := s.epochRange(ctx, env, from, to, limit)
	if err != nil || more {
		return nil, more, err
	}
	if a.Through >= from {
		if all, err = s.archived(ctx, env, from, min(to, a.Through)); err != nil {
			return nil, false, err
		}
		if from < to && len(all) > batchEvents {
			return nil, true, nil
		}
	}
	for _, kv := range kvs {
		e, err := s.logged(env, kv)
		if err != nil {
			return nil, false, err
		}
		all = append(all, e)
	}
	sortLog(all)
	return all, false, nil
}

func (s *Store) logged(env access.EnvironmentID, kv *mvccpb.KeyValue) (logged, error) {
	return s.loggedItem(env, newItem(s.client.rel(kv.Key), kv))
}

func (s *Store) loggedItem(env access.EnvironmentID, it *item) (logged, error) {
	record, err := open[eventRecord](s, env, it)
	if err != nil {
		return logged{}, err
	}
	e := logged{revision: it.revision, ordinal: record.Ordinal, Stored: events.Stored{ID: lastOf(it.key), Event: events.Event{
		Type: record.Type, Data: record.Data, At: record.At.UTC(), Node: record.Node, Index: record.Index,
	}}}
	e.epoch, _ = id.EventEpoch(e.ID)
	return e, nil
}
