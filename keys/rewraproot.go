package keys

import (
	"context"
	"fmt"
	"slices"

	"culvert/internal/events"
)

// A move to another root key changes shares alone: the share of slot root of every KEK, and that of the
// environment's own keysets. What the shares seal stays, byte for byte, because a share is the same under
// whatever key wraps it; so versions, DEKs and values stay too.

// rewrapRoot is the job of that kind: it brings what is in its scope under the root key that was the current one
// where the job was made.
func (w *worker) rewrapRoot(ctx context.Context) error {
	to, err := w.keys.roots.Key(ctx, w.job.RootKey)
	if err != nil {
		return err
	}
	if w.job.Cursor == environmentScope {
		return nil
	}
	ofEnvironment := uint64(0)
	if w.job.Scope == (Scope{}) {
		ofEnvironment = 1
	}
	if err := w.eachKEK(ctx, ofEnvironment, func(ctx context.Context, id ID) (bool, error) { return w.moveKEK(ctx, id, to) }); err != nil {
		return err
	}
	if ofEnvironment == 0 {
		return nil
	}
	changed, failed := w.moveEnvironment(ctx, to)
	return w.done(ctx, environmentScope, changed, failed)
}

// moveKEK moves one KEK, unless it is there.
func (w *worker) moveKEK(ctx context.Context, id ID, to RootKey) (changed bool, err error) {
	due := func(r *KEKRecord) (bool, error) { return rootURI(r.Shares) != to.URI(), nil }
	return w.changeKEK(ctx, id, due, func(r *KEKRecord, generation int64) error {
		next, err := w.keys.moved(ctx, r, to)
		if err != nil {
			return err
		}
		e, err := w.keys.kekEvent(events.KEKRewrapped, id, w.job.cause())
		if err != nil {
			return err
		}
		return w.store.ReplaceKEK(ctx, next, generation, e)
	})
}

// moveEnvironment moves the environment's keysets, unless they are there. Every process has them in memory
// since its start, and needs the root key for them at the next.
func (w *worker) moveEnvironment(ctx context.Context, to RootKey) (changed bool, err error) {
	err = w.again(ctx, func() error {
		changed = false
		r, revision, err := w.store.EnvironmentRecord(ctx, w.env())
		if err != nil || rootURI(r.Shares) == to.URI() {
			return err
		}
		changed = true
		if w.job.DryRun {
			return nil
		}
		next := *r
		if next.Shares, err = w.keys.roots.moved(ctx, scope{env: r.ID, id: environmentScope}, r.Shares, to); err != nil {
			return fmt.Errorf("environment %s: %w", r.ID, err)
		}
		if next, err = asStored(w.keys.codec, next); err != nil {
			return err
		}
		if _, err := OpenEnvironment(ctx, w.keys.roots, next); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		return w.store.ReplaceEnvironment(ctx, next, revision)
	})
	return changed && err == nil, err
}

// moved is the record of a KEK under another root key, proven from its stored form: a mistake here would lose
// everything under the KEK.
func (k *Keys) moved(ctx context.Context, r *KEKRecord, to RootKey) (KEKRecord, error) {
	next := *r
	var err error
	if next.Shares, err = k.roots.moved(ctx, r.scope(), r.Shares, to); err != nil {
		return KEKRecord{}, fmt.Errorf("KEK %s: %w", r.KeyID, err)
	}
	if next, err = asStored(k.codec, next); err != nil {
		return KEKRecord{}, fmt.Errorf("KEK %s: %w", r.KeyID, err)
	}
	if _, err = openKEK(ctx, k.wrappers(), &next); err != nil && len(r.Shares) > 1 {
		// A customer's key that refuses must not tie us to an old root key. The root's share alone is compared.
		err = k.wrappers().sameShare(ctx, r.scope(), r.Shares, next.Shares)
	}
	if err != nil {
		return KEKRecord{}, fmt.Errorf("read back: %w", err)
	}
	return next, nil
}

// moved is shares with that of slot root under another root key.
func (rs *RootKeys) moved(ctx context.Context, s scope, shares []Share, to RootKey) ([]Share, error) {
	if err := checkSlots(s, shares); err != nil {
		return nil, err
	}
	next := slices.Clone(shares)
	share := &next[slices.IndexFunc(next, isRoot)]
	from, err := rs.Key(ctx, share.KeyURI)
	if err != nil {
		return nil, err
	}
	wrapped, err := Rewrap(ctx, from, to, share.Wrapped, s.binding(RootSlot))
	if err != nil {
		return nil, err
	}
	share.KeyURI, share.Wrapped = to.URI(), wrapped
	return next, nil
}

// sameShare proves that two wrapped forms of the share of slot root are of one share.
func (w wrappers) sameShare(ctx context.Context, s scope, before, after []Share) error {
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	one, err := w.unwrap(ctx, s, &before[slices.IndexFunc(before, isRoot)])
	if err != nil {
		return err
	}
	defer one.Wipe()
	other, err := w.unwrap(ctx, s, &after[slices.IndexFunc(after, isRoot)])
	if err != nil {
		return err
	}
	defer other.Wipe()
	if !one.Equal(other) {
		return ErrTampered
	}
	return nil
}
