package access_test

import (
	"slices"
	"testing"
	"time"

	"culvert/internal/access"
)

// BenchmarkRefusal measures what it takes to refuse a key: one that nobody made, and one that has the id of a key
// that there is and another secret. It takes 10,000 samples of each in turn, however often it is run, and reports
// the medians and the 90th percentiles. It decides nothing: times depend on the machine.
//
//	go test ./internal/access -run '^$' -bench Refusal -benchtime 1x
func BenchmarkRefusal(b *testing.B) {
	h := newHouse(b)
	const samples = 10_000
	kinds := map[string][]access.APIKey{}
	for range samples {
		other, err := access.GenerateAPIKey(h.APIKey.Environment, h.now)
		if err != nil {
			b.Fatal(err)
		}
		wrong := other
		wrong.ID = h.APIKey.ID // the id of one, the text of another: what the checksum would let pass
		kinds["unknown"] = append(kinds["unknown"], other)
		kinds["wrong"] = append(kinds["wrong"], wrong)
	}
	for range b.N {
		times := map[string][]time.Duration{}
		for i := range samples {
			for _, kind := range []string{"unknown", "wrong"} {
				began := time.Now()
				_, err := h.Gate.Authenticate(b.Context(), kinds[kind][i])
				times[kind] = append(times[kind], time.Since(began))
				if err == nil {
					b.Fatalf("a key that is %s was let in", kind)
				}
			}
		}
		for kind, all := range times {
			slices.Sort(all)
			b.ReportMetric(float64(all[samples/2].Nanoseconds()), kind+"-p50-ns")
			b.ReportMetric(float64(all[samples*9/10].Nanoseconds()), kind+"-p90-ns")
		}
	}
}
