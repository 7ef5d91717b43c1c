package keys

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// atOnce looks at a few records at once: each change is a transaction of its own, and etcd syncs its disk once
// for all that arrive together, as a KMS answers several calls in the time of one.
func atOnce[T any](ctx context.Context, w *worker, some []T, cursor func(T) string, do func(context.Context, T) (changed bool, err error)) error {
	type outcome struct {
		changed bool
		failed  error
	}
	outcomes := make([]outcome, len(some))
	var work sync.WaitGroup
	for i, one := range some {
		if err := w.step(ctx); err != nil {
			break // the context has ended; done says so below
		}
		work.Go(func() { outcomes[i].changed, outcomes[i].failed = do(ctx, one) })
	}
	work.Wait()
	for i, one := range some {
		if err := w.done(ctx, cursor(one), outcomes[i].changed, outcomes[i].failed); err != nil {
			return err
		}
	}
	return nil
}

// eachKEK walks the KEKs of the job's scope. more is what the job looks at beside them.
func (w *worker) eachKEK(ctx context.Context, more uint64, do func(context.Context, ID) (changed bool, err error)) error {
	if id := w.job.Scope.KeyID; id != "" {
		w.job.Counts.Total = 1
		if w.job.Cursor != "" {
			return nil
		}
		changed, failed := do(ctx, id)
		return w.done(ctx, string(id), changed, failed)
	}
	if w.job.Cursor == "" {
		total, err := w.store.CountKEKs(ctx, w.env(), w.job.Scope.Item)
		if err != nil {
			return err
		}
		w.job.Counts.Total = total + more
	}
	for {
		page, err := w.store.KEKs(ctx, w.env(), w.job.Scope.Item, ID(w.job.Cursor), stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for some := range slices.Chunk(page, w.width()) {
			if err := atOnce(ctx, w, some, kekID, func(ctx context.Context, k KEKAt) (bool, error) {
				if k.Err != nil {
					return false, k.Err
				}
				return do(ctx, k.ID)
			}); err != nil {
				return err
			}
		}
	}
}

func kekID(k KEKAt) string { return string(k.ID) }

// changeKEK is what a job does to one living KEK: due says whether there is anything to do, and change does it
// to the generation that due has seen. It is neither for a KEK that was shredded, and a dry run changes nothing.
func (w *worker) changeKEK(ctx context.Context, id ID, due func(*KEKRecord) (bool, error), change func(r *KEKRecord, generation int64) error) (changed bool, err error) {
	err = w.again(ctx, func() error {
		changed = false
		r, generation, err := w.store.KEK(ctx, w.env(), id)
		if err == nil {
			err = r.check(w.env(), id)
		}
		if err == nil {
			changed, err = due(r)
		}
		switch {
		case errors.Is(err, ErrShredded):
			return nil
		case err != nil:
			return err
		case !changed || w.job.DryRun:
			return nil
		}
		return change(r, generation)
	})
	return changed && err == nil, err
}

// living is the record of a KEK in the job's scope; nil if the KEK is in another, or was shredded.
func (w *worker) living(ctx context.Context, id ID) (*KEKRecord, error) {
	r, _, err := w.store.KEK(ctx, w.env(), id)
	if errors.Is(err, ErrKEKNotFound) {
		return nil, ErrTampered // even a shredded KEK leaves a tombstone
	}
	if err == nil {
		err = r.check(w.env(), id)
	}
	if errors.Is(err, ErrShredded) || err == nil && !w.job.Scope.covers(r) {
		return nil, nil
	}
	return r, err
}

// kekCursor is before the id in the cursor of a job that is among the KEKs and goes on among records that hold
// DEKs, whose cursor begins with other words.
const kekCursor = "kek:"

// eachHolder walks all records that hold DEKs. It may come after a walk through the KEKs.
func (w *worker) eachHolder(ctx context.Context, do func(context.Context, Holder) (changed bool, err error)) error {
	after := w.job.Cursor
	if strings.HasPrefix(after, kekCursor) {
		after = ""
	}
	for {
		page, err := w.store.Holders(ctx, w.env(), after, stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for some := range slices.Chunk(page, w.width()) {
			if err := atOnce(ctx, w, some, holderKey, do); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Key
	}
}

func holderKey(h Holder) string { return h.Key }

// count sums up what the job has to look at, when it begins.
func (w *worker) count(ctx context.Context, counts ...func(context.Context) (uint64, error)) error {
	if w.job.Cursor != "" {
		return nil
	}
	total := uint64(0)
	for _, count := range counts {
		n, err := count(ctx)
		if err != nil {
			return err
		}
		total += n
	}
	w.job.Counts.Total = total
	return nil
}

func (w *worker) countKEKs(ctx context.Context) (uint64, error) {
	return w.store.CountKEKs(ctx, w.env(), Item{})
}

func (w *worker) countHolders(ctx context.Context) (uint64, error) {
	return w.store.CountHolders(ctx, w.env())
}

// among reports that the job has not come further than the walk with that cursor.
func (w *worker) among(prefix string) bool {
	return w.job.Cursor == "" || strings.HasPrefix(w.job.Cursor, prefix)
}
