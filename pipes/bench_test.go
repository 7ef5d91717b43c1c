package pipes_test

import (
	"testing"

	"culvert/pipes/pipestest"
)

// BenchmarkToken is the vend of a living token below HTTP: fence, key record, integration, connections,
// account and grant from memory, two AES opens, audit.
func BenchmarkToken(b *testing.B) {
	s := pipestest.New(b)
	s.MustIntegration(b, pipestest.Slug)
	s.MustConnect(b, "user_1")
	call, r := s.Call(), pipestest.Request("user_1")
	b.ReportAllocs()
	b.SetParallelism(32) // 64 callers on two cores: fence and audit answer many at once
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v, err := s.Broker.Token(b.Context(), call, r); err != nil || !v.Active {
				b.Errorf("%+v, %v", v, err)
			}
		}
	})
}
