package keys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// MaxVersions bounds the keys of one KEK. Old ones are never taken out, because clients hold data keys
// that were wrapped under them; a key is about 60 bytes of the record, and a cipher in memory.
const MaxVersions = 1000

// RotateKEK gives a KEK a new key, which wraps from then on. What older keys wrapped opens as before, and is
// stale until it is rewrapped.
//
// Errors: [ErrNoKEK], [ErrShredded], [ErrVersions]; [ErrConflict] if the KEK changed under every one of a
// bounded number of attempts.
func (ops *Operations) RotateKEK(ctx context.Context, call access.Call, id ID) (KEKInfo, error) {
	o, err := ops.begin(ctx, call, access.KEKRotate)
	if err != nil {
		return KEKInfo{}, err
	}
	info, err := trail.Once(ctx, o.Operation,
		func(ctx context.Context) (KEKInfo, error) { return o.rotate(ctx, id) },
		func(ctx context.Context, _ []string) (KEKInfo, error) { return o.rotated(ctx, id) })
	return trail.Committed(ctx, o.Operation, info, err)
}

func (o *operation) rotate(ctx context.Context, id ID) (KEKInfo, error) {
	var info KEKInfo
	err := o.retry(ctx, func() error {
		found, err := o.kek(ctx, id)
		if err != nil {
			return err
		}
		if err := found.Record.check(o.Environment(), id); err != nil {
			return err
		}
		if err := o.ops.keys.checkMarkers(ctx, found.Record); err != nil {
			return err
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		next, err := o.ops.keys.rotate(ctx, found.Record, o.ops.keys.now())
		if err != nil {
			return err
		}
		e, err := o.ops.keys.kekEvent(events.KEKRotated, id, o.cause())
		if err != nil {
			return err
		}
		info = next.info()
		o.Makes(string(id))
		return o.ops.store.ReplaceKEK(ctx, next, found.Generation, e)
	})
	return info, err
}

// rotated is the KEK that an earlier request under the same Idempotency-Key has rotated.
func (o *operation) rotated(ctx context.Context, id ID) (KEKInfo, error) {
	found, err := o.kek(ctx, id)
	if err != nil {
		return KEKInfo{}, err
	}
	return found.Record.info(), nil
}

// rotate makes the record of a KEK with one key more, its primary, under the same CMKs.
func (k *Keys) rotate(ctx context.Context, r *KEKRecord, at time.Time) (KEKRecord, error) {
	return k.sealUnder(ctx, r, r.cmkSlots(), at)
}

// sealUnder is that, under these CMKs. The keyset is sealed under fresh shares: the key that the old ones
// make has sealed one message, as it was meant to.
func (k *Keys) sealUnder(ctx context.Context, r *KEKRecord, cmks []RootKeyRef, at time.Time) (KEKRecord, error) {
	versions := max(r.Versions, 1)
	if versions >= MaxVersions {
		return KEKRecord{}, ErrVersions
	}
	old, err := openBundle(ctx, k.wrappers(), r.scope(), r.Shares)
	if err != nil {
		return KEKRecord{}, fmt.Errorf("unwrap KEK %s: %w", r.KeyID, err)
	}
	defer old.forget()
	h, err := old.keyset(ctx, r)
	if err != nil {
		return KEKRecord{}, err
	}
	next := *r
	next.Versions, next.RotatedAt = versions+1, at.UTC()
	grown, err := withNewPrimary(h, &next)
	if err != nil {
		return KEKRecord{}, fmt.Errorf("rotate KEK %s: %w", r.KeyID, err)
	}
	fresh, err := newBundle(ctx, k.wrappers(), r.scope(), cmks)
	if err != nil {
		return KEKRecord{}, fmt.Errorf("wrap KEK %s: %w", r.KeyID, err)
	}
	defer fresh.forget()
	settled, opened, err := fresh.settle(ctx, k.codec, next, grown)
	if err != nil {
		return KEKRecord{}, err
	}
	if err := opened.opensWhat(h); err != nil {
		return KEKRecord{}, fmt.Errorf("rotate KEK %s: %w", r.KeyID, err)
	}
	return settled, nil
}

// withNewPrimary adds a key to a keyset and notes in the record which.
func withNewPrimary(h *keyset.Handle, r *KEKRecord) (*keyset.Handle, error) {
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	r.Primary = id
	return m.Handle()
}

// opensWhat proves that a keyset has the keys of the one it is to replace: a mistake here would lose
// everything under the KEK.
func (k *kek) opensWhat(old *keyset.Handle) error {
	before, err := aead.New(old)
	if err != nil {
		return ErrTampered
	}
	probe := probeAAD(k.env, k.id, k.context)
	wrapped, err := before.Encrypt(nil, probe)
	if err != nil {
		return err
	}
	if _, err := k.aead.Decrypt(wrapped, probe); err != nil {
		return errors.New("keys: the new keyset does not open what the old one wrapped")
	}
	return nil
}

// stale reports that a key was wrapped under another key of the KEK than its primary, whose id it would
// begin with (Tink's prefix: 0x01 and the key id). Nothing has to be unwrapped to know that.
func (r *KEKRecord) stale(wrapped []byte) bool {
	const prefix = 5
	return r.rotated() && (len(wrapped) < prefix || wrapped[0] != 1 || binary.BigEndian.Uint32(wrapped[1:prefix]) != r.Primary)
}

// rotate is the job of that kind: it walks the KEKs of its scope and rotates those whose primary is older
// than the job says.
func (w *worker) rotate(ctx context.Context) error { return w.eachKEK(ctx, 0, w.rotateKEK) }

// rotateKEK rotates one KEK unless its primary is new enough, which it is once any node has done this.
func (w *worker) rotateKEK(ctx context.Context, id ID) (changed bool, err error) {
	due := func(r *KEKRecord) (bool, error) { return r.info().PrimaryAt.Before(w.job.Before), nil }
	return w.changeKEK(ctx, id, due, func(r *KEKRecord, generation int64) error {
		// Whatever this node's clock says: what the job has rotated is not older than the job.
		at := w.keys.now()
		if at.Before(w.job.Before) {
			at = w.job.Before
		}
		next, err := w.keys.rotate(ctx, r, at)
		if err != nil {
			return err
		}
		e, err := w.keys.kekEvent(events.KEKRotated, id, w.job.cause())
		if err != nil {
			return err
		}
		return w.store.ReplaceKEK(ctx, next, generation, e)
	})
}
