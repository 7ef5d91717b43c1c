package bench_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// pageSizes are the numbers of objects between which the cost of a page must not change.
var pageSizes = []int64{10_000, 200_000}

// BenchmarkPage is a page of 100 names, in both orders, in a small store and in a large one: from the
// newest end, from the oldest, and from a cursor in the middle.
func BenchmarkPage(b *testing.B) {
	s := mustServers(b)
	var stored atomic.Int64
	stored.Store(objects)
	small := map[string]rate{}
	for _, size := range pageSizes {
		s.mustFill(b, &stored, size)
		middle := s.ids[objects/2]
		for _, query := range []string{
			"limit=100&order=desc", "limit=100&order=asc",
			"limit=100&order=asc&after=" + middle, "limit=100&order=desc&before=" + middle,
		} {
			b.Run(fmt.Sprintf("%d/%s", size, query[10:min(len(query), 26)]), func(b *testing.B) {
				var seen rate
				for b.Loop() {
					seen = mustLoad(b, s.culvert.addr, 200, func(out *bytes.Buffer, _, _ int) {
						head(out, "GET", "/vault/v1/kv?"+query, s.key, 0)
					}, 2*round)
				}
				b.ReportMetric(seen.perSecond, "req/s")
				b.ReportMetric(float64(seen.p50.Microseconds()), "p50-µs")
				b.ReportMetric(float64(seen.p99.Microseconds()), "p99-µs")
				b.ReportMetric(0, "ns/op")
				if size == pageSizes[0] {
					small[query] = seen
				} else {
					b.ReportMetric(seen.perSecond/small[query].perSecond, "of-small-store")
				}
			})
		}
	}
}

// mustFill creates objects until there are about as many as wanted.
func (s *bench) mustFill(b *testing.B, stored *atomic.Int64, want int64) {
	b.Helper()
	for deadline := time.Now().Add(5 * time.Minute); stored.Load() < want; {
		if time.Now().After(deadline) {
			b.Fatalf("only %d objects in five minutes", stored.Load())
		}
		stored.Add(int64(mustLoad(b, s.culvert.addr, 201, s.createSmall, time.Second).requests))
	}
}

// createSmall is create with a value of one byte: a list loads no values.
func (s *bench) createSmall(out *bytes.Buffer, w, n int) {
	body := fmt.Sprintf(`{"key_context":{},"value":"v","name":"page-%d-%d-%d"}`, time.Now().UnixNano(), w, n)
	head(out, "POST", "/vault/v1/kv", s.key, len(body))
	out.WriteString(body)
}
