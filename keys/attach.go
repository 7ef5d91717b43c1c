package keys

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"culvert/internal/events"
)

// Attaching a CMK puts its share into the KEKs that are there, and detaching takes it out: each gets a new
// key and is sealed again under fresh shares of all its slots, in a transaction that compares the map's
// revision. Whoever finds the job in the map is its owner, so that one that was cancelled does nothing more.
//
// Before that, the map says that new KEKs are under the CMK, and goes on saying so while it is detached. Only
// when every KEK was looked at, the CMK is released: from then on new KEKs are without it, and a second walk
// finds those that were made since the first one came by.

// releasedCursor is before the id in the cursor of the second walk, as kekCursor is in that of the first.
const releasedCursor = "released:"

// attach is the job of that kind. Once all KEKs are under the key, DEKs are brought under their new versions,
// so that who has an old backup and the root key opens nothing that is newer. At last the store forgets its history,
// where everything stands as it was: a backup that is taken a moment later would have it too, and be an old one.
func (w *worker) attach(ctx context.Context) error {
	counts := []func(context.Context) (uint64, error){w.countKEKs, w.countHolders}
	if w.job.DryRun {
		counts = counts[:1]
	}
	if err := w.count(ctx, counts...); err != nil {
		return err
	}
	if err := w.sealAll(ctx, kekCursor); err != nil || w.job.DryRun {
		return err
	}
	if w.among(kekCursor) {
		if w.job.Counts.Failed > 0 {
			return nil // what is not under the key must not pass for attached
		}
		if err := w.setCMK(ctx, CMKAttached); err != nil {
			return err
		}
	}
	if err := w.eachHolder(ctx, w.rewrapHolder); err != nil {
		return err
	}
	return w.store.Compact(ctx)
}

// detach is the job of that kind.
func (w *worker) detach(ctx context.Context) error {
	counts := []func(context.Context) (uint64, error){w.countKEKs, w.countKEKs}
	if w.job.DryRun {
		counts = counts[:1]
	}
	if err := w.count(ctx, counts...); err != nil {
		return err
	}
	if err := w.sealAll(ctx, kekCursor); err != nil || w.job.DryRun || w.job.Counts.Failed > 0 {
		return err
	}
	if err := w.setCMK(ctx, CMKReleased); err != nil {
		return err
	}
	if err := w.store.Fence(ctx); err != nil {
		return err
	}
	return w.sealAll(ctx, releasedCursor)
}

// sealAll walks all KEKs there are, and not the index by item: an entry that somebody took out of it must not
// let a KEK escape. It does nothing if the job is past that walk.
func (w *worker) sealAll(ctx context.Context, prefix string) error {
	if prefix == kekCursor && !w.among(prefix) {
		return nil
	}
	after := ""
	if rest, ok := strings.CutPrefix(w.job.Cursor, prefix); ok {
		after = rest
	}
	cursor := func(k KEKAt) string { return prefix + string(k.ID) }
	for {
		page, err := w.store.KEKs(ctx, w.env(), Item{}, ID(after), stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		end := slices.IndexFunc(page, func(k KEKAt) bool { return prefix == kekCursor && w.leavesToSecondWalk(k) })
		if end >= 0 {
			page = page[:end]
		}
		for some := range slices.Chunk(page, w.width()) {
			if err := atOnce(ctx, w, some, cursor, w.sealIfCovered); err != nil {
				return err
			}
		}
		if end >= 0 {
			return nil
		}
		after = string(page[len(page)-1].ID)
	}
}

// leavesToSecondWalk reports a KEK that was made since the job began: who goes on making them would otherwise
// be run after for ever.
func (w *worker) leavesToSecondWalk(k KEKAt) bool {
	return w.job.Kind == DetachJob && !w.job.DryRun && k.Err == nil && k.Record.CreatedAt.After(w.job.StartedAt)
}

func (w *worker) sealIfCovered(ctx context.Context, k KEKAt) (changed bool, err error) {
	if k.Err != nil || !w.job.Scope.covers(k.Record) {
		return false, k.Err
	}
	return w.sealAgain(ctx, k.ID)
}

// stops reports what ends a job or interrupts it: without its own CMK nothing more can be done.
func (w *worker) stops(err error) bool {
	var failed *CMKError
	return errors.Is(err, errNotOurs) || errors.As(err, &failed) && failed.URI == w.job.KeyURI
}

// sealAgain brings one KEK to the slots that it is to have, unless a shred is about to destroy it.
func (w *worker) sealAgain(ctx context.Context, id ID) (changed bool, err error) {
	due := func(r *KEKRecord) (bool, error) {
		if err := w.keys.checkMarkers(ctx, r); err != nil {
			return false, err
		}
		_, changes := w.slots(r)
		return changes, nil
	}
	return w.changeKEK(ctx, id, due, func(r *KEKRecord, generation int64) error {
		_, _, revision, err := w.ownCMK(ctx)
		if err != nil {
			return err
		}
		slots, _ := w.slots(r)
		next, err := w.keys.sealUnder(ctx, r, slots, w.keys.now())
		if err != nil {
			return err
		}
		e, err := w.keys.kekEvent(events.KEKRotated, id, w.job.cause())
		if err != nil {
			return err
		}
		return w.store.ResealKEK(ctx, next, generation, revision, e)
	})
}

// slots are those that a KEK is to have beside the root key's, and whether they are others than it has.
func (w *worker) slots(r *KEKRecord) ([]RootKeyRef, bool) {
	slot := w.job.Scope.Item.slot()
	if w.job.Kind == AttachJob {
		ref := RootKeyRef{Slot: slot, URI: w.job.KeyURI}
		return r.slotsWith(ref), !r.under(ref)
	}
	slots := r.slotsWithout(slot)
	return slots, len(slots) != len(r.cmkSlots())
}

// ownCMK is the CMK of the job, in its map and at the map's revision. The error is errNotOurs if the CMK is
// another job's by now, or gone.
func (w *worker) ownCMK(ctx context.Context) (*CMK, *CMKMap, int64, error) {
	m, revision, err := w.store.CMKMap(ctx, w.env())
	if err != nil {
		return nil, nil, 0, err
	}
	c := m.find(w.job.CMK)
	if c == nil || c.Job != w.job.ID {
		return nil, nil, 0, errNotOurs
	}
	return c, m, revision, nil
}

// setCMK notes in the map how far the job is, and saves the job with it.
func (w *worker) setCMK(ctx context.Context, state CMKState) error {
	return w.changeCMK(ctx, func(c *CMK, m *CMKMap) (*CMKMap, []events.Event, error) {
		if c.State == state {
			return nil, nil, nil
		}
		next := *c
		next.State = state
		if state == CMKAttached {
			next.AttachedAt = w.keys.now().UTC()
		}
		changed := m.with(next)
		return &changed, nil, nil
	})
}

// endDetach ends the job with its CMK, unless a KEK could not be looked at: it may still be under the key, and
// the map goes on saying so.
func (w *worker) endDetach(ctx context.Context) error {
	switch {
	case w.job.Counts.Failed > 0:
		return w.end(ctx, "incomplete")
	case w.job.DryRun:
		return w.end(ctx, "")
	}
	return w.changeCMK(ctx, func(c *CMK, m *CMKMap) (*CMKMap, []events.Event, error) {
		now := w.keys.now().UTC()
		w.job.State, w.job.EndedAt = JobSucceeded, now
		deleted, err := c.deleted(now, w.job.cause())
		if err != nil {
			return nil, nil, err
		}
		ended, err := w.job.event(events.JobEnded, now)
		if err != nil {
			return nil, nil, err
		}
		changed := m.without(c.ID)
		return &changed, []events.Event{deleted, ended}, nil
	})
}

// changeCMK changes the map and saves the job in one transaction. A nil map is left as it is.
func (w *worker) changeCMK(ctx context.Context, change func(*CMK, *CMKMap) (*CMKMap, []events.Event, error)) error {
	err := w.again(ctx, func() error {
		c, m, revision, err := w.ownCMK(ctx)
		if err != nil {
			return err
		}
		next, told, err := change(c, m)
		if err != nil || next == nil {
			return err
		}
		w.job.Beat++
		saved, err := w.store.ChangeCMKs(ctx, CMKChange{
			Map: next, MapRevision: revision, Job: &w.job, JobRevision: w.revision, Events: told,
		})
		if err == nil {
			w.revision, w.saved = saved, time.Now()
		}
		return err
	})
	if errors.Is(err, ErrConflict) {
		return errNotOurs // the job was cancelled
	}
	return err
}
