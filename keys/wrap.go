package keys

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"

	"culvert/internal/secret"
)

// wrappers are whatever wraps shares: root keys, and customers' keys.
type wrappers struct {
	roots *RootKeys
	// cmks is nil where no CMK applies: the keysets of environments.
	cmks *customers
}

// slots are those of a new set of shares in slot order: the current root key's, and CMKs'.
func (w wrappers) slots(cmks []RootKeyRef) []RootKeyRef {
	refs := append([]RootKeyRef{{Slot: RootSlot, URI: w.roots.Current().URI()}}, cmks...)
	slices.SortFunc(refs, bySlot)
	return refs
}

// wrap makes a fresh share and wraps it.
func (w wrappers) wrap(ctx context.Context, s scope, ref RootKeyRef) (wrapped, share []byte, err error) {
	share = make([]byte, ShareSize)
	_, _ = rand.Read(share) // never fails: it ends the process rather than return less
	err = w.ask(ctx, s, ref, func(key RootKey) error {
		wrapped, err = key.Wrap(ctx, secret.New(share), s.binding(ref.Slot))
		return err
	})
	return wrapped, share, err
}

// unwrap is the reverse.
func (w wrappers) unwrap(ctx context.Context, s scope, share *Share) (opened secret.Bytes, err error) {
	err = w.ask(ctx, s, RootKeyRef{Slot: share.Slot, URI: share.KeyURI}, func(key RootKey) error {
		opened, err = key.Unwrap(ctx, share.Wrapped, s.binding(share.Slot))
		if err == nil && opened.Len() != ShareSize {
			err = ErrTampered
		}
		return err
	})
	return opened, err
}

// ask makes a call of the key that a slot is under.
func (w wrappers) ask(ctx context.Context, s scope, ref RootKeyRef, call func(RootKey) error) error {
	if ref.Slot != RootSlot && w.cmks == nil {
		return cmkError(ref, ErrRefused)
	}
	if ref.Slot != RootSlot {
		return w.cmks.ask(ctx, customerRef{s.env, ref}, false, call)
	}
	root, err := w.roots.Key(ctx, ref.URI)
	if err != nil {
		return err
	}
	if err := call(root); err != nil {
		return rootError(root, err)
	}
	return nil
}

// sideBySide does something for each of n shares: their keys are asked side by side, because all are needed and
// some may be far away. Of several errors a refusal is told first, because it is final.
func sideBySide(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	failed := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { failed[i] = do(i) })
	}
	all.Wait()
	for _, err := range failed {
		if errors.Is(err, ErrRefused) {
			return err
		}
	}
	return cmp.Or(failed...)
}
