package keys_test

import (
	"context"
	"testing"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

// memoryStore answers at once, so that a benchmark measures keys and not the store's lookup.
type memoryStore struct {
	keys.Store
	record     *keys.KEKRecord
	generation int64
}

func (s *memoryStore) KEK(context.Context, access.EnvironmentID, keys.ID) (*keys.KEKRecord, int64, error) {
	return s.record, s.generation, nil
}

func (s *memoryStore) KEKOf(context.Context, access.EnvironmentID, keys.Context) (keys.ID, error) {
	return s.record.KeyID, nil
}

// warm is keys with one warm KEK, and an object of 1 KiB sealed under it.
type warm struct {
	keys    *keys.Keys
	permit  access.Permit
	context keys.Context
	object  keys.ObjectBinding
	value   secret.Bytes
	sealed  keys.Sealed
}

func newWarm(b *testing.B, overStore bool) *warm {
	b.Helper()
	s := keystest.New(b)
	w := &warm{
		context: keystest.MustContext(b, "organization_id", "org_01JQ3T5V7X9Z1B3D5F7H9K1M3P"),
		object:  goldenInput(b).Object, value: secret.New(make([]byte, 1<<10)), keys: s.Keys,
	}
	w.permit = s.MustPermit(b, w.context)
	w.sealed = s.MustSeal(b, w.context, w.object, string(w.value.Reveal()))
	if !overStore {
		r, generation, err := s.Store.KEK(b.Context(), keystest.Environment, w.sealed.KeyID)
		if err != nil {
			b.Fatal(err)
		}
		w.keys = s.MustKeys(b, keys.Config{Store: &memoryStore{record: r, generation: generation}})
	}
	w.open(b)
	b.ReportAllocs()
	b.ResetTimer()
	return w
}

func (w *warm) open(b *testing.B) {
	if _, err := w.keys.Open(b.Context(), w.permit, w.sealed, w.object); err != nil {
		b.Error(err)
	}
}

func (w *warm) seal(b *testing.B) {
	if _, _, err := w.keys.Seal(b.Context(), w.permit, w.context, w.object, w.value, keys.SealMeta{}); err != nil {
		b.Error(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	w := newWarm(b, false)
	for b.Loop() {
		w.open(b)
	}
}

// BenchmarkOpen64 is 64 goroutines on one KEK, as behind 64 connections of one customer.
func BenchmarkOpen64(b *testing.B) {
	w := newWarm(b, false)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.open(b)
		}
	})
}

func BenchmarkOpenOverStore(b *testing.B) {
	w := newWarm(b, true)
	for b.Loop() {
		w.open(b)
	}
}

func BenchmarkSeal(b *testing.B) {
	w := newWarm(b, false)
	for b.Loop() {
		w.seal(b)
	}
}

func BenchmarkSealOverStore(b *testing.B) {
	w := newWarm(b, true)
	for b.Loop() {
		w.seal(b)
	}
}

// BenchmarkUnwrap is a cold KEK: what the root key itself takes comes on top.
func BenchmarkUnwrap(b *testing.B) {
	root := keystest.NewRoot(b)
	r, _ := mustKEK(b, root)
	b.ReportAllocs()
	for b.Loop() {
		mustOpenKEK(b, root, r)
	}
}

func BenchmarkNameIndex(b *testing.B) {
	_, e := mustEnvironment(b, keystest.NewRoot(b), "one")
	b.ReportAllocs()
	for b.Loop() {
		e.NameIndex("payments/card")
	}
}

func BenchmarkVerifyMAC(b *testing.B) {
	_, e := mustEnvironment(b, keystest.NewRoot(b), "one")
	body := make([]byte, 512)
	tag, err := e.MAC("object/one/x", body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.VerifyMAC("object/one/x", body, tag); err != nil {
			b.Fatal(err)
		}
	}
}
