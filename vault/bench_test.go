package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

// BenchmarkGet is a warm read of 1 KiB below HTTP: fence, key record, caches, two AES opens, audit.
func BenchmarkGet(b *testing.B) {
	s := vaulttest.New(b)
	m := s.MustCreate(b, "n", strings.Repeat("v", 1024))
	call := s.Call()
	b.ReportAllocs()
	b.SetParallelism(32) // 64 callers on two cores: fence and audit answer many at once
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Vault.Get(b.Context(), call, m.ID); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkUpdate is a durable update of 1 KiB, each caller on an object of its own.
func BenchmarkUpdate(b *testing.B) {
	s := vaulttest.New(b)
	objects := make(chan vault.ObjectID, 1024)
	for i := range cap(objects) {
		objects <- s.MustCreate(b, fmt.Sprint("object ", i), "v").ID
	}
	value, call := vaulttest.Value(strings.Repeat("v", 1024)), s.Call()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		id := <-objects
		for pb.Next() {
			if _, err := s.Vault.Update(b.Context(), call, vault.UpdateRequest{ID: id, Value: value}); err != nil {
				b.Error(err)
			}
		}
	})
}
