package keys

import (
	"context"
	"errors"
)

// rewrap is the job of that kind: it walks all records that hold DEKs, and wraps those again which are
// under an older version of a KEK in the job's scope. Values are neither read nor touched.
func (w *worker) rewrap(ctx context.Context) error {
	if err := w.count(ctx, w.countHolders); err != nil {
		return err
	}
	return w.eachHolder(ctx, w.rewrapHolder)
}

// rewrapHolder brings one record up to date. A record that changed meanwhile is read again; one that is
// gone has nothing to be done for.
func (w *worker) rewrapHolder(ctx context.Context, h Holder) (changed bool, err error) {
	first := true
	err = w.again(ctx, func() error {
		if !first {
			if h, err = w.store.Holder(ctx, w.env(), h.Key); err != nil {
				return err
			}
		}
		first = false
		fresh, conditions, err := w.rewrapped(ctx, h)
		if changed = fresh != nil; !changed || err != nil || w.job.DryRun {
			return err
		}
		return w.store.Rewrap(ctx, w.env(), h, fresh, conditions)
	})
	return changed && err == nil, err
}

// rewrapped is what the DEKs of a record should be; nil if that is what they are. Conditions are of the
// KEKs that they were wrapped under.
func (w *worker) rewrapped(ctx context.Context, h Holder) (fresh [][]byte, conditions []Conditions, err error) {
	if h.Err != nil {
		return nil, nil, h.Err
	}
	for i, d := range h.DEKs {
		record, err := w.living(ctx, d.KeyID)
		if err != nil {
			return nil, nil, err
		}
		if record == nil || !record.stale(d.Wrapped) {
			continue
		}
		if w.job.DryRun {
			return [][]byte{}, nil, nil
		}
		with, generation, err := w.keys.load(ctx, w.env(), d.KeyID)
		if errors.Is(err, ErrShredded) {
			continue // a shred has begun that will destroy it
		}
		if err != nil {
			return nil, nil, err
		}
		_, a := d.Binding.bind(with)
		again, err := with.rewrap(d.Wrapped, a)
		if err != nil {
			return nil, nil, err
		}
		if fresh == nil {
			fresh = make([][]byte, len(h.DEKs))
			for j := range h.DEKs {
				fresh[j] = h.DEKs[j].Wrapped
			}
		}
		fresh[i] = again
		conditions = append(conditions, Conditions{Environment: w.env(), KeyID: d.KeyID, Generation: generation})
	}
	return fresh, conditions, nil
}
