package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// auditedRounds are many and short, because a machine's other work changes from one second to the next: each
	// round of one server stands between two of the other.
	auditedRounds = 24
	auditedRound  = 500 * time.Millisecond
)

// BenchmarkAudited is the rate of reads with an audit log as a part of that of the same server whose log drops
// every record. Both run with the default settings.
func BenchmarkAudited(b *testing.B) {
	audited := mustReader(b, mustBuild(b, "culvert/cmd/culvert"))
	dropping := mustReader(b, mustBuildDropping(b))
	for _, r := range []*reader{audited, dropping} {
		mustLoad(b, r.culvert.addr, 200, r.read, 4*auditedRound)
	}
	for b.Loop() {
		var ratios []float64
		var client, cpus [2]time.Duration
		var requests [2]int
		var rates [2]rate
		for range auditedRounds {
			for i, r := range []*reader{audited, dropping} {
				cpus[i] -= r.culvert.cpu(b)
				client[i] -= ownCPU(b)
				rates[i] = mustLoad(b, r.culvert.addr, 200, r.read, auditedRound)
				client[i] += ownCPU(b)
				cpus[i] += r.culvert.cpu(b)
				requests[i] += rates[i].requests
			}
			ratios = append(ratios, rates[0].perSecond/rates[1].perSecond)
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "ratio")
		b.ReportMetric(float64(requests[0])/float64(requests[1]), "ratio-of-all")
		b.ReportMetric(rates[0].perSecond, "req/s")
		b.ReportMetric(rates[1].perSecond, "dropping-req/s")
		b.ReportMetric(float64(rates[0].p99.Microseconds()), "p99-µs")
		b.ReportMetric(float64(rates[1].p99.Microseconds()), "dropping-p99-µs")
		b.ReportMetric(float64(cpus[0].Microseconds())/float64(requests[0]), "cpu-µs/req")
		b.ReportMetric(float64(cpus[1].Microseconds())/float64(requests[1]), "dropping-cpu-µs/req")
		b.ReportMetric(100*client[0].Seconds()/(client[0]+cpus[0]).Seconds(), "client-cpu-%")
		b.ReportMetric(0, "ns/op")
	}
}

// reader is a server and an object for each connection.
type reader struct {
	culvert *process
	key     string
	ids     []string
}

func (r *reader) read(out *bytes.Buffer, w, _ int) {
	head(out, "GET", "/vault/v1/kv/"+r.ids[w], r.key, 0)
}

func mustReader(b *testing.B, bin string) *reader {
	b.Helper()
	addr, data := freeAddr(b), filepath.Join(b.TempDir(), "data")
	r := &reader{culvert: mustStart(b, addr, bin, "dev", "--addr", addr, "--data-dir", data)}
	mustBeReady(b, addr)
	key, err := os.ReadFile(filepath.Join(data, "root-api-key"))
	if err != nil {
		b.Fatal(err)
	}
	r.key = strings.TrimSpace(string(key))
	for w := range connections {
		answer := mustCall(b, "POST", "http://"+addr+"/vault/v1/kv", r.key, fmt.Sprintf(
			`{"name":"object-%03d","value":%q,"key_context":{"organization_id":"org_1"}}`, w, strings.Repeat("v", valueBytes)))
		var made struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(answer, &made); err != nil {
			b.Fatal(err)
		}
		r.ids = append(r.ids, made.ID)
	}
	return r
}

// mustBuildDropping compiles a culvert whose audit log drops records. The source has no switch for that, lest
// somebody finds it: what is compiled differs in this one statement, and nowhere but here.
func mustBuildDropping(b *testing.B) string {
	b.Helper()
	const begins = "func (l *Log) Append(_ context.Context, r Record) (uint64, error) {\n"
	original, err := filepath.Abs("../audit/log.go")
	if err != nil {
		b.Fatal(err)
	}
	source, err := os.ReadFile(original)
	if err != nil {
		b.Fatal(err)
	}
	if strings.Count(string(source), begins) != 1 {
		b.Fatalf("%s does not have %q", original, begins)
	}
	dir := b.TempDir()
	changed, overlay := filepath.Join(dir, "log.go"), filepath.Join(dir, "overlay.json")
	text := strings.Replace(string(source), begins, begins+"\tif l != nil {\n\t\treturn 0, nil\n\t}\n", 1)
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		b.Fatal(err)
	}
	bin := filepath.Join(dir, "culvert")
	cmd := exec.Command("go", "build", "-overlay", overlay, "-trimpath", "-ldflags", "-s -w", "-o", bin, "culvert/cmd/culvert")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build a culvert that drops records: %v\n%s", err, out)
	}
	return bin
}
