package audit_test

import (
	"testing"

	"culvert/internal/audit"
)

// read is the record of a read: the one that stands on the hot path.
func read() audit.Record {
	return audit.Record{
		EnvironmentID: "01JD8Z6Q5RN5T4M0A1B2C3D4E5",
		RequestID:     "01jd8z6q5rn5t4m0a1b2c3d4e5",
		ActorID:       "key_01JD8Z6Q5RN5T4M0A1B2C3D4E5",
		ActorName:     "root",
		ActorSource:   "api",
		Action:        "vault.data.read",
		Phase:         audit.Access,
		Result:        audit.Allowed,
		Status:        200,
		ObjectID:      "01935d2a-4f3b-7c1e-8a2b-9c3d4e5f6a7b",
		ObjectName:    "customers/4711/iban",
		VersionID:     "01935d2a-4f3b-7c1e-8a2b-9c3d4e5f6a7c",
		KeyID:         "01935d2a-4f3b-7c1e-8a2b-9c3d4e5f6a7d",
		KeyContext:    map[string]string{"organization_id": "org_01JD8Z6Q5RN5T4M0A1B2C3D4E5"},
		Revision:      123456,
		Route:         "/vault/v1/kv/:id",
	}
}

func BenchmarkEncode(b *testing.B) {
	r := read()
	var line []byte
	for b.Loop() {
		line = audit.Line(line[:0], 4711, "2026-11-23T10:00:00.000000Z", `"node-a"`, &r)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
}

// BenchmarkAppend reports the cost of a record at several loads, and how many share a write.
func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name       string
		goroutines int
		fsync      string
	}{
		{"1", 1, audit.FsyncInterval},
		{"64", 64, audit.FsyncInterval},
		{"64-always", 64, audit.FsyncAlways},
	} {
		b.Run(bench.name, func(b *testing.B) {
			l := MustOpen(b, audit.Config{Dir: b.TempDir(), Node: "node-a", Fsync: bench.fsync})
			r := read()
			b.ReportAllocs()
			b.SetParallelism(max(bench.goroutines/2, 1))
			if bench.goroutines == 1 {
				for b.Loop() {
					MustAppend(b, l, r)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					MustAppend(b, l, r)
				}
			})
		})
	}
}
