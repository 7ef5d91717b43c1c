package bench_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// steadyReaders read steadyRate records a second, together: far below what the server could answer, so
	// that what they wait for is what else it does.
	steadyReaders = 8
	steadyRate    = 400
)

// connection is one to the server, for requests that are answered one after the other.
type connection struct {
	conn   net.Conn
	in     *bufio.Reader
	out    bytes.Buffer
	answer bytes.Buffer
}

func dial(addr string) (*connection, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn, in: bufio.NewReaderSize(conn, 32<<10)}, nil
}

func (c *connection) close() { _ = c.conn.Close() }

// do sends one request and leaves the body of its answer in c.answer.
func (c *connection) do(want int, write func(out *bytes.Buffer)) error {
	c.out.Reset()
	c.answer.Reset()
	write(&c.out)
	if _, err := c.conn.Write(c.out.Bytes()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(&c.answer, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("status %d: %s", resp.StatusCode, &c.answer)
	}
	return nil
}

// phase is what was seen while something went on.
type phase struct {
	rate
	memory
}

// memory is that of the server, in bytes. Its anonymous memory has what the collector lets grow in it; the
// least heap that was seen is about what is alive.
type memory struct {
	before, peak, after float64
	// early and late are the least heap in the first third and in the last one.
	early, late float64
}

// reading reads records at random and at a steady rate while something goes on.
func (k *keyBench) reading(b *testing.B, during func(progress func(float64))) (p phase) {
	b.Helper()
	stop := make(chan struct{})
	var workers sync.WaitGroup
	latencies := make([][]time.Duration, steadyReaders)
	var failed atomic.Pointer[error]
	for w := range steadyReaders {
		workers.Go(func() {
			var err error
			if latencies[w], err = k.readSteadily(stop); err != nil {
				failed.Store(&err)
			}
		})
	}
	began := time.Now()
	p.memory = k.watching(b, during)
	close(stop)
	workers.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	p.rate = rate{len(all), float64(len(all)) / time.Since(began).Seconds(), all[len(all)/2], all[len(all)*99/100]}
	return p
}

// readSteadily is one reader. Who gets behind his rate waits since when he should have asked.
func (k *keyBench) readSteadily(stop <-chan struct{}) (latencies []time.Duration, err error) {
	c, err := dial(k.culvert.addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for due := time.Now(); ; {
		due = due.Add(steadyReaders * time.Second / steadyRate)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			due = time.Now()
		}
		select {
		case <-stop:
			return latencies, nil
		default:
		}
		if err := c.do(http.StatusOK, func(out *bytes.Buffer) { k.readOf(out, rand.IntN(len(k.ids))) }); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(due))
	}
}

// watching watches the server's memory while something goes on.
func (k *keyBench) watching(b *testing.B, during func(progress func(float64))) (m memory) {
	b.Helper()
	m = memory{before: k.anonymous(b), early: math.Inf(1), late: math.Inf(1)}
	var far atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			m.peak = max(m.peak, k.anonymous(b))
			switch at := math.Float64frombits(far.Load()); {
			case at > 0 && at < 1./3:
				m.early = min(m.early, k.heap(b))
			case at > 2./3:
				m.late = min(m.late, k.heap(b))
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	during(func(at float64) { far.Store(math.Float64bits(at)) })
	close(stop)
	<-stopped
	m.after = k.anonymous(b)
	return m
}

// anonymous is the server's anonymous memory: not the pages of its database's file.
func (k *keyBench) anonymous(b *testing.B) float64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(k.culvert.cmd.Process.Pid), "status"))
	if err != nil {
		b.Error(err)
		return 0
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0 // a kernel that does not say
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib * 1024
}

// heap is what the server has allocated on it, garbage included.
func (k *keyBench) heap(b *testing.B) float64 {
	resp, err := http.Get("http://" + k.admin + "/metrics")
	if err != nil {
		b.Error(err)
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Error(err)
		return 0
	}
	_, after, _ := strings.Cut(string(text), "\ngo_memstats_heap_alloc_bytes ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(line, 64)
	if err != nil {
		b.Error(err)
	}
	return n
}

func (k *keyBench) report(b *testing.B, p phase) {
	b.ReportMetric(p.perSecond, "reads/s")
	b.ReportMetric(float64(p.p50.Microseconds()), "p50-µs")
	b.ReportMetric(float64(p.p99.Microseconds()), "p99-µs")
	k.reportMemory(b, p.memory)
}

func (k *keyBench) reportMemory(b *testing.B, m memory) {
	const mib = 1 << 20
	b.ReportMetric(m.before/mib, "anon-before-MiB")
	b.ReportMetric(m.peak/mib, "anon-peak-MiB")
	b.ReportMetric(m.after/mib, "anon-after-MiB")
	if !math.IsInf(m.early+m.late, 1) {
		b.ReportMetric(m.early/mib, "heap-early-MiB")
		b.ReportMetric(m.late/mib, "heap-late-MiB")
	}
	b.ReportMetric(0, "ns/op")
}
