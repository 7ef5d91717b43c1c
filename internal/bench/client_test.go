package bench_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// connections is how many requests are in flight, on as many connections.
const connections = 64

// request writes the n-th request of a worker into b. It must be cheap: its cost is the client's.
type request func(b *bytes.Buffer, worker, n int)

// rate is what one round of load saw.
type rate struct {
	requests  int
	perSecond float64
	p50, p99  time.Duration
}

// mustLoad sends requests for a while. Every answer must have the wanted status; the client reads it
// whole and looks at nothing else, so that little of the processor is its own.
func mustLoad(t testing.TB, addr string, wantStatus int, next request, d time.Duration) rate {
	t.Helper()
	var failed atomic.Int64
	latencies := make([][]time.Duration, connections)
	deadline := time.Now().Add(d)
	started := time.Now()
	var workers sync.WaitGroup
	for w := range connections {
		workers.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				failed.Add(1)
				return
			}
			defer func() { _ = conn.Close() }()
			in := bufio.NewReaderSize(conn, 32<<10)
			var out bytes.Buffer
			for n := 0; time.Now().Before(deadline); n++ {
				out.Reset()
				next(&out, w, n)
				began := time.Now()
				if _, err := conn.Write(out.Bytes()); err != nil {
					failed.Add(1)
					return
				}
				status, err := readAnswer(in)
				if err != nil || status != wantStatus {
					failed.Add(1)
					return
				}
				latencies[w] = append(latencies[w], time.Since(began))
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(started)
	if failed.Load() > 0 {
		t.Fatalf("%d of %d connections saw a failure or another status than %d", failed.Load(), connections, wantStatus)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return rate{len(all), float64(len(all)) / elapsed.Seconds(), all[len(all)/2], all[len(all)*99/100]}
}

// readAnswer reads one HTTP/1.1 answer with a Content-Length.
func readAnswer(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("short status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length := 0
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	return status, err
}

// head writes the head of a request with a body of the given length.
func head(b *bytes.Buffer, method, path, key string, length int) {
	b.WriteString(method)
	b.WriteByte(' ')
	b.WriteString(path)
	b.WriteString(" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ")
	b.WriteString(key)
	if length > 0 {
		b.WriteString("\r\nContent-Type: application/json\r\nContent-Length: ")
		b.WriteString(strconv.Itoa(length))
	}
	b.WriteString("\r\n\r\n")
}
