package keys_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"sync"
	"testing"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/keys/keystest"
)

func TestDataKeyRoundTrip(t *testing.T) {
	s := keystest.New(t)
	c := keystest.MustContext(t, "organization_id", "org_1")
	permit := s.MustPermit(t, c)
	made, err := s.Keys.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	header, err := s.Keys.ParseDataKey(made.Blob)
	if err != nil || header.DataKeyID != made.ID {
		t.Fatalf("header = %+v, %v; want id %s", header, err, made.ID)
	}
	bound, err := s.Keys.Context(t.Context(), keystest.Environment, header.KeyID)
	if err != nil || !bound.Equal(c) {
		t.Fatalf("context of the blob's KEK: %v", err)
	}
	got, err := s.Keys.DecryptDataKey(t.Context(), permit, made.Blob)
	if err != nil || got.ID != made.ID || !got.Key.Equal(made.Key) {
		t.Errorf("decrypt: id %s, %v", got.ID, err)
	}
	// What the SDKs do with it.
	block, err := aes.NewCipher(got.Key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cipher.NewGCM(block); err != nil || got.Key.Len() != 32 {
		t.Errorf("data key of %d bytes: %v", got.Key.Len(), err)
	}
	other, err := s.Keys.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil || other.Key.Equal(made.Key) || other.ID == made.ID {
		t.Errorf("a second data key is the first: %v", err)
	}
}

func TestRekeyKeepsTheKey(t *testing.T) {
	s := keystest.New(t)
	from, to := keystest.MustContext(t, "organization_id", "org_1"), keystest.MustContext(t, "organization_id", "org_2")
	old, err := s.Keys.CreateDataKey(t.Context(), s.MustPermit(t, from), from, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	moved, err := s.Keys.Rekey(t.Context(), s.MustPermit(t, from), s.MustPermit(t, to), to, old.Blob, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	if moved.ID != old.ID || !moved.Key.Equal(old.Key) || bytes.Equal(moved.Blob, old.Blob) {
		t.Error("rekey changed the data key or its id, or gave the old blob back")
	}
	got, err := s.Keys.DecryptDataKey(t.Context(), s.MustPermit(t, to), moved.Blob)
	if err != nil || !got.Key.Equal(old.Key) {
		t.Errorf("decrypt in the new context: %v", err)
	}
	if _, err := s.Keys.DecryptDataKey(t.Context(), s.MustPermit(t, from), moved.Blob); !errors.Is(err, access.ErrDenied) {
		t.Errorf("decrypt with a permit for the old context: %v, want %v", err, access.ErrDenied)
	}
	if _, err := s.Keys.DecryptDataKey(t.Context(), s.MustPermit(t, from), old.Blob); err != nil {
		t.Errorf("the old blob: %v", err)
	}
}

// Whatever is wrong with a blob is the client's error and never an alarm.
func TestBlobDamagedAnywhereIsNotOurs(t *testing.T) {
	s := keystest.New(t)
	c := keystest.MustContext(t, "organization_id", "org_1")
	permit := s.MustPermit(t, c)
	one, err := s.Keys.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Keys.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	ids := len(keys.BlobMagic) + 1 + 32
	hostile := append(eachDamage(one.Blob),
		append(bytes.Clone(one.Blob[:ids]), two.Blob[ids:]...), // the id of one, the key of the other
		[]byte("WOS.EKM.v1\x00 and so on"),
		bytes.Repeat([]byte("CULVERT\x00\x01"), 1<<16),
	)
	for _, blob := range hostile {
		got, err := s.Keys.DecryptDataKey(t.Context(), permit, blob)
		if !errors.Is(err, keys.ErrNotOurs) || got.Key.Len() != 0 {
			t.Errorf("decrypt %x…: %d bytes, %v; want %v", blob[:min(len(blob), 60)], got.Key.Len(), err, keys.ErrNotOurs)
		}
		if _, err := s.Keys.Rekey(t.Context(), permit, permit, c, blob, keys.SealMeta{}); !errors.Is(err, keys.ErrNotOurs) {
			t.Errorf("rekey: %v, want %v", err, keys.ErrNotOurs)
		}
	}
	if _, err := s.Keys.DecryptDataKey(t.Context(), permit, one.Blob); err != nil {
		t.Errorf("genuine blob: %v", err)
	}
}

// A value's DEK and a client's data key are wrapped by the same KEK; neither passes for the other.
func TestValueDEKIsNoDataKey(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	in := goldenInput(t)
	sealed := mustSeal(t, kek, in.Object, "value")
	blob, err := keys.FormatBlob(keys.BlobHeader{DataKeyID: in.Object.VersionID, KeyID: in.KeyID}, sealed.WrappedDEK)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kek.OpenDataKey(blob); err == nil {
		t.Error("a value's DEK was handed out as a data key")
	}
	data, err := kek.DataKey(in.Object.VersionID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kek.OpenDataKey(data.Blob); err != nil {
		t.Errorf("genuine data key: %v", err)
	}
	_, wrapped, err := keys.ParseBlob(data.Blob)
	if err != nil {
		t.Fatal(err)
	}
	mustNotOpen(t, "client data key as DEK", kek, in.Object, keys.Sealed{WrappedDEK: wrapped, Ciphertext: sealed.Ciphertext})
}

// A KEK record that was tampered with is ours, and stays an integrity failure; so does a shredded one.
func TestBlobUnderABrokenKEKIsNoClientError(t *testing.T) {
	s := keystest.New(t)
	store := &hostileStore{Store: s.Store}
	k := s.MustKeys(t, keys.Config{Store: store})
	c := keystest.MustContext(t, "organization_id", "org_1")
	permit := s.MustPermit(t, c)
	data, err := k.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Sealed = eachDamage(r.Sealed)[40]
		return r, g + 1, nil
	})
	if _, err := k.DecryptDataKey(t.Context(), permit, data.Blob); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("damaged KEK: %v, want %v", err, keys.ErrTampered)
	}
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Shares, r.Sealed, r.ShreddedAt = nil, nil, r.CreatedAt
		return r, g + 2, nil
	})
	if _, err := k.DecryptDataKey(t.Context(), permit, data.Blob); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("shredded KEK: %v, want %v", err, keys.ErrShredded)
	}
	store.onKEK(nil)
	if _, err := k.DecryptDataKey(t.Context(), permit, data.Blob); err != nil {
		t.Errorf("genuine KEK: %v", err)
	}
}

func TestManyDataKeysInANewContext(t *testing.T) {
	s := keystest.New(t)
	c := keystest.MustContext(t, "organization_id", "org_1")
	permit := s.MustPermit(t, c)
	all := make([]keys.DataKey, 32)
	var work sync.WaitGroup
	for i := range all {
		work.Go(func() {
			var err error
			if all[i], err = s.Keys.CreateDataKey(t.Context(), permit, c, keys.SealMeta{}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	s.MustFence(t)
	for i, made := range all {
		got, err := s.Keys.DecryptDataKey(t.Context(), permit, made.Blob)
		if err != nil || !got.Key.Equal(made.Key) {
			t.Errorf("data key %d: %v", i, err)
		}
	}
}

// FuzzBlob: every blob is refused with one error or says ids that are UUIDs, and formats back to itself.
func FuzzBlob(f *testing.F) {
	_, kek := mustKEK(f, keystest.NewRoot(f))
	data, err := kek.DataKey("019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5e")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data.Blob)
	f.Add(data.Blob[:keys.BlobSize-1])
	f.Add(append(bytes.Clone(data.Blob), 0))
	f.Add([]byte(keys.BlobMagic))
	f.Fuzz(func(t *testing.T, blob []byte) {
		header, wrapped, err := keys.ParseBlob(blob)
		if err != nil {
			if !errors.Is(err, keys.ErrNotOurs) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := keys.FormatBlob(header, wrapped)
		if err != nil || !bytes.Equal(again, blob) {
			t.Fatalf("formats to another blob: %v", err)
		}
		if got, err := kek.OpenDataKey(blob); err == nil && !bytes.Equal(blob, data.Blob) {
			t.Fatalf("opened a blob that was not made here: %s", fmt.Sprint(got))
		}
	})
}
