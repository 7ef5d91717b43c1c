package keys

import (
	"context"
	"errors"
	"time"
)

// reencrypt is the job of that kind: it opens every value whose KEK is in the job's scope and seals it again
// under a fresh DEK, where a rewrap leaves the DEK what it is. What was written since the job was made has a
// fresh one already, and what the job has done carries its mark: a node that takes it over does not begin anew.
//
// Plaintext is in memory for one value of each record that is worked on at once, and goes nowhere.
func (w *worker) reencrypt(ctx context.Context) error {
	if err := w.count(ctx, w.countHolders); err != nil {
		return err
	}
	return w.eachHolder(ctx, w.reencryptHolder)
}

// clocksDiffer is more than the clocks of two replicas do (2 s, or they refuse writes).
const clocksDiffer = 10 * time.Second

// reencryptHolder does one record. Each of its values is a transaction of its own: two of the largest do not fit
// into one.
func (w *worker) reencryptHolder(ctx context.Context, h Holder) (changed bool, err error) {
	if h.Err != nil {
		return false, h.Err
	}
	for _, d := range h.DEKs {
		if d.SealedAt.After(w.job.CreatedAt.Add(clocksDiffer)) {
			continue // its DEK is younger than the reason for the job; and the walk has an end, however much is created
		}
		did, err := w.reencryptValue(ctx, h.Key, d.Place)
		changed = changed || did
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// reencryptValue does the value at a place of a record. One that is gone by now, or whose KEK was shredded or is
// about to be, has nothing to be done for.
func (w *worker) reencryptValue(ctx context.Context, key, place string) (changed bool, err error) {
	err = w.again(ctx, func() error {
		changed = false
		h, err := w.store.Holder(ctx, w.env(), key)
		if err == nil {
			err = h.Err
		}
		at := h.at(place)
		if err != nil || at < 0 {
			return err
		}
		kek, err := w.living(ctx, h.DEKs[at].KeyID)
		if kek == nil || err != nil || h.DEKs[at].ReencryptedAt.Equal(w.job.CreatedAt) {
			return err
		}
		if !w.job.DryRun {
			err = w.reencryptAt(ctx, h, at)
		}
		if errors.Is(err, ErrShredded) {
			return nil
		}
		changed = err == nil
		return err
	})
	return changed, err
}

func (w *worker) reencryptAt(ctx context.Context, h Holder, at int) error {
	d := h.DEKs[at]
	ciphertext, err := w.store.HeldCiphertext(ctx, w.env(), h, at)
	if err != nil {
		return err
	}
	with, generation, err := w.keys.load(ctx, w.env(), d.KeyID)
	if err != nil {
		return err
	}
	fresh, err := with.reencrypt(Sealed{KeyID: d.KeyID, WrappedDEK: d.Wrapped, Ciphertext: ciphertext}, d.Binding.bind)
	if err != nil {
		return err
	}
	return w.store.Reencrypt(ctx, w.env(), h, at, fresh, w.job.CreatedAt, Conditions{Environment: w.env(), KeyID: d.KeyID, Generation: generation})
}

// reencrypt seals a value again under a fresh DEK, for the same place. It is opened once more before it is
// returned, because the old form is gone once this one is stored.
func (k *kek) reencrypt(s Sealed, to bind) (Sealed, error) {
	value, err := k.open(s, to)
	if err != nil {
		return Sealed{}, err
	}
	defer value.Wipe()
	fresh, err := k.seal(value, to)
	if err != nil {
		return Sealed{}, err
	}
	back, err := k.open(fresh, to)
	defer back.Wipe()
	if err != nil || !back.Equal(value) {
		return Sealed{}, errors.New("keys: what was sealed again does not open to what it was")
	}
	return fresh, nil
}
