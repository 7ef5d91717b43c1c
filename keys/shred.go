package keys

import (
	"context"
	"errors"
	"strings"

	"culvert/internal/events"
)

// A shred destroys the KEKs whose context has an item. From the moment its job and marker are stored, in one
// transaction, no replica uses such a KEK any more and none is created: every use of a KEK looks for markers
// behind its fence ([Keys.load]). The job then replaces each KEK by a tombstone and takes its pointer away,
// so that the context gets a new KEK afterwards, counts what became unreadable, and removes the marker with
// the transaction that ends it. It cannot be cancelled.

// makeTombstone is what is left of a KEK. The time is the job's, so that two nodes make the same one, and
// the job knows its own.
func (r *KEKRecord) makeTombstone(j *Job) KEKRecord {
	return KEKRecord{Environment: r.Environment, KeyID: r.KeyID, Items: r.Items, CreatedAt: r.CreatedAt, ShreddedAt: j.StartedAt}
}

// isOf reports a tombstone that the job made.
func (r *KEKRecord) isOf(j *Job) bool { return r.ShreddedAt.Equal(j.StartedAt) && j.Scope.covers(r) }

// shred is the job of that kind.
func (w *worker) shred(ctx context.Context) error {
	if err := w.count(ctx, w.countKEKs, w.countHolders); err != nil {
		return err
	}
	if err := w.shredKEKs(ctx); err != nil {
		return err
	}
	return w.countUnreadable(ctx)
}

// shredKEKs walks all KEKs there are, and not the index by item: an entry that somebody took out of it must
// not save a key.
func (w *worker) shredKEKs(ctx context.Context) error {
	after, among := strings.CutPrefix(w.job.Cursor, kekCursor)
	if w.job.Cursor != "" && !among {
		return nil
	}
	for {
		page, err := w.store.KEKs(ctx, w.env(), Item{}, ID(after), stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, k := range page {
			if err := w.step(ctx); err != nil {
				return err
			}
			changed, failed := false, k.Err
			if failed == nil && w.job.Scope.covers(k.Record) {
				changed, failed = w.shredKEK(ctx, k.ID)
			}
			if err := w.done(ctx, kekCursor+string(k.ID), changed, failed); err != nil {
				return err
			}
			after = string(k.ID)
		}
	}
}

// shredKEK replaces one KEK by its tombstone.
func (w *worker) shredKEK(ctx context.Context, id ID) (changed bool, err error) {
	due := func(*KEKRecord) (bool, error) { return true, nil }
	return w.changeKEK(ctx, id, due, func(r *KEKRecord, generation int64) error {
		e, err := w.keys.kekEvent(events.KEKDeleted, id, w.job.cause())
		if err != nil {
			return err
		}
		return w.store.Shred(ctx, r.makeTombstone(&w.job), generation, e)
	})
}

// countUnreadable walks the records that hold DEKs. One counts if a DEK of it is under a KEK that the job
// destroyed, or would.
func (w *worker) countUnreadable(ctx context.Context) error {
	// The tombstones are this node's own, and its memory may not have them yet.
	if err := w.store.Fence(ctx); err != nil {
		return err
	}
	after := w.job.Cursor
	if strings.HasPrefix(after, kekCursor) {
		after = ""
	}
	for {
		page, err := w.store.Holders(ctx, w.env(), after, stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, h := range page {
			if err := w.step(ctx); err != nil {
				return err
			}
			unreadable, failed := w.isUnreadable(ctx, h)
			if unreadable {
				w.job.Counts.Unreadable++
			}
			if err := w.done(ctx, h.Key, false, failed); err != nil {
				return err
			}
			after = h.Key
		}
	}
}

func (w *worker) isUnreadable(ctx context.Context, h Holder) (bool, error) {
	if h.Err != nil {
		return false, h.Err
	}
	for _, d := range h.DEKs {
		record, _, err := w.store.KEK(ctx, w.env(), d.KeyID)
		if errors.Is(err, ErrKEKNotFound) {
			return false, ErrTampered
		}
		if err != nil {
			return false, err
		}
		if record.isOf(&w.job) || w.job.DryRun && record.ShreddedAt.IsZero() && w.job.Scope.covers(record) {
			return true, nil
		}
	}
	return false, nil
}

// endShred ends the job with its marker, unless a KEK could not be looked at: then the marker stays, and
// with it the refusal, until another shred of the item has seen them all.
func (w *worker) endShred(ctx context.Context) error {
	if err := w.forget(ctx); err != nil {
		return err
	}
	if w.job.Counts.Failed > 0 || w.job.DryRun {
		reason := ""
		if w.job.Counts.Failed > 0 {
			reason = "incomplete"
		}
		return w.end(ctx, reason)
	}
	now := w.keys.now().UTC()
	w.job.State, w.job.EndedAt, w.job.CachesUntil = JobSucceeded, now, now
	if w.keys.cache != nil {
		w.job.CachesUntil = w.keys.cache.longest(now)
	}
	w.job.Beat++
	e, err := w.job.event(events.JobEnded, now)
	if err != nil {
		return err
	}
	if w.revision, err = w.store.EndShred(ctx, w.job, w.revision, e); errors.Is(err, ErrConflict) {
		return errNotOurs
	}
	return err
}

// forget has the store forget its history once a job has replaced KEKs that nobody is to open any more as they
// were: until then whoever can read etcd can read those.
func (w *worker) forget(ctx context.Context) error {
	if w.job.DryRun {
		return nil
	}
	if err := w.store.Compact(ctx); err != nil {
		return err
	}
	w.job.HistoryUntil = w.keys.now().UTC()
	return nil
}
