package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/keys/keystest"
)

const (
	// recordsVariable says how many records BenchmarkKeys is about (see the package's documentation).
	recordsVariable = "CULVERT_BENCH_RECORDS"
	defaultRecords  = 20_000
	// keyContexts is how many KEKs they are under, unless there are few.
	keyContexts = 1000
)

// keyBench is a culvert whose root key is in a KMS that counts, with many records.
type keyBench struct {
	culvert *process
	admin   string
	kms     *keystest.AWS
	key     string
	value   string
	// ids are those of the records, in the order of their contexts: the n-th is under context n%contexts.
	ids      []string
	contexts int
}

// BenchmarkKeys is what operations on keys cost where there are many records of 1 KiB: how fast a rewrap of
// all is, what reads at a steady rate have of it, what memory it takes, and that warm reads need no KMS.
// CULVERT_BENCH_RECORDS=1000000 makes it a million.
func BenchmarkKeys(b *testing.B) {
	k := mustFillKeys(b)
	b.Run("read/before", func(b *testing.B) {
		for b.Loop() {
			k.report(b, k.reading(b, func(func(float64)) { time.Sleep(5 * time.Second) }))
		}
	})
	b.Run("read/warm", k.warm)
	b.Run("rewrap/alone", func(b *testing.B) {
		for b.Loop() {
			k.rotate(b)
			k.reportMemory(b, k.watching(b, func(progress func(float64)) { k.rewrap(b, progress) }))
		}
	})
	b.Run("rewrap/under-reads", func(b *testing.B) {
		for b.Loop() {
			k.rotate(b)
			k.report(b, k.reading(b, func(progress func(float64)) { k.rewrap(b, progress) }))
		}
	})
	b.Run("read/after", func(b *testing.B) {
		for b.Loop() {
			k.report(b, k.reading(b, func(func(float64)) { time.Sleep(5 * time.Second) }))
		}
	})
}

func mustFillKeys(b *testing.B) *keyBench {
	b.Helper()
	records := defaultRecords
	if text := os.Getenv(recordsVariable); text != "" {
		var err error
		if records, err = strconv.Atoi(text); err != nil || records < connections {
			b.Fatalf("%s is not a number of at least %d", recordsVariable, connections)
		}
	}
	keystest.SetAWSCredentials(b)
	k := &keyBench{
		kms: keystest.NewAWS(b), value: strings.Repeat("v", valueBytes), admin: freeAddr(b),
		ids: make([]string, records), contexts: min(keyContexts, records/20+1),
	}
	data, addr := filepath.Join(b.TempDir(), "data"), freeAddr(b)
	// What is in memory stays there: what the KMS is asked for, it would be asked for without a TTL, too.
	k.culvert = mustStart(b, addr, mustBuild(b, "culvert/cmd/culvert"), "dev", "--addr", addr, "--data-dir", data,
		"--set", "admin_addr="+k.admin, "--set", "keys.cache_ttl=24h", "--set", "root_key.provider=awskms",
		"--set", "root_key.key="+k.kms.NewKey(b, keystest.AWSAccount), "--set", "root_key.endpoint="+k.kms.Endpoint())
	mustBeReady(b, addr)
	key, err := os.ReadFile(filepath.Join(data, "root-api-key"))
	if err != nil {
		b.Fatal(err)
	}
	k.key = strings.TrimSpace(string(key))
	began := time.Now()
	k.each(b, 201, func(out *bytes.Buffer, n int) {
		body := fmt.Sprintf(`{"key_context":{"organization_id":"org_%d"},"value":%q,"name":"record-%d"}`, n%k.contexts, k.value, n)
		head(out, "POST", "/vault/v1/kv", k.key, len(body))
		out.WriteString(body)
	}, func(n int, answer []byte) error {
		var made struct {
			ID string `json:"id"`
		}
		err := json.Unmarshal(answer, &made)
		k.ids[n] = made.ID
		return err
	})
	b.Logf("%d records under %d KEKs, stored in %v", records, k.contexts, time.Since(began).Round(time.Second))
	return k
}

// each sends one request for every record, through all connections, and takes the answers.
func (k *keyBench) each(b *testing.B, want int, write func(out *bytes.Buffer, n int), take func(n int, answer []byte) error) {
	b.Helper()
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for w := range connections {
		workers.Go(func() {
			c, err := dial(k.culvert.addr)
			if err != nil {
				failed.Store(&err)
				return
			}
			defer c.close()
			for n := w; n < len(k.ids) && failed.Load() == nil; n += connections {
				err := c.do(want, func(out *bytes.Buffer) { write(out, n) })
				if err == nil {
					err = take(n, c.answer.Bytes())
				}
				if err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

func (k *keyBench) readOf(out *bytes.Buffer, n int) {
	head(out, "GET", "/vault/v1/kv/"+k.ids[n], k.key, 0)
}

// warm reads every record once, as fast as it goes, when all KEKs are in memory, and counts calls of the KMS.
func (k *keyBench) warm(b *testing.B) {
	k.load(b)
	for b.Loop() {
		calls, began := k.kms.Calls(""), time.Now()
		k.each(b, 200, k.readOf, func(int, []byte) error { return nil })
		b.ReportMetric(float64(len(k.ids))/time.Since(began).Seconds(), "reads/s")
		b.ReportMetric(float64(len(k.ids)), "reads")
		b.ReportMetric(float64(k.kms.Calls("")-calls), "kms-calls")
		b.ReportMetric(0, "ns/op")
	}
}

// load reads a record of every context, so that all KEKs are in memory.
func (k *keyBench) load(b *testing.B) {
	b.Helper()
	for n := range k.contexts {
		mustCall(b, "GET", "http://"+k.culvert.addr+"/vault/v1/kv/"+k.ids[n], k.key, "")
	}
}

// rotate makes all records stale. What it costs to have the new keys in memory is none of the rewrap's.
func (k *keyBench) rotate(b *testing.B) {
	b.Helper()
	k.job(b, "rotate", func(float64) {})
	k.load(b)
}

// rewrap brings all records up to date and reports how fast that was. Progress is told how far it is, from 0
// to 1.
func (k *keyBench) rewrap(b *testing.B, progress func(float64)) {
	b.Helper()
	calls, cpu := k.kms.Calls(""), k.culvert.cpu(b)
	j := k.job(b, "rewrap", progress)
	cpu = k.culvert.cpu(b) - cpu
	if j.Changed != len(k.ids) || j.Failed != 0 {
		b.Fatalf("the rewrap ended as %+v", j)
	}
	b.ReportMetric(float64(j.Done)/j.EndedAt.Sub(j.StartedAt).Seconds(), "records/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(j.Done), "cpu-µs/record")
	b.ReportMetric(float64(k.kms.Calls("")-calls), "kms-calls")
}

// storedJob is as much of a job as this looks at.
type storedJob struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Total     int       `json:"total"`
	Done      int       `json:"done"`
	Changed   int       `json:"changed"`
	Failed    int       `json:"failed"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
}

// job runs one over everything to its end.
func (k *keyBench) job(b *testing.B, kind string, progress func(float64)) (j storedJob) {
	b.Helper()
	base := "http://" + k.culvert.addr + "/culvert/v1/jobs"
	answer := mustCall(b, "POST", base, k.key, `{"kind":"`+kind+`","all":true}`)
	for {
		j = storedJob{}
		if err := json.Unmarshal(answer, &j); err != nil {
			b.Fatal(err)
		}
		switch {
		case j.State == "succeeded":
			return j
		case !j.EndedAt.IsZero():
			b.Fatalf("the %s ended as %+v", kind, j)
		}
		progress(float64(j.Done) / float64(max(j.Total, 1)))
		time.Sleep(200 * time.Millisecond)
		answer = mustCall(b, "GET", base+"/"+j.ID, k.key, "")
	}
}
