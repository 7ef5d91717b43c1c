package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/audit"
)

// streamed is what a receiver got, by the indices of records.
type streamed struct {
	mu      sync.Mutex
	indices []uint64
}

func (s *streamed) take(line string) {
	var r struct {
		Index *uint64 `json:"index"`
	}
	if json.Unmarshal([]byte(line), &r) == nil && r.Index != nil {
		s.mu.Lock()
		s.indices = append(s.indices, *r.Index)
		s.mu.Unlock()
	}
}

// whole tells up to which index everything came, and what came before its turn.
func (s *streamed) whole() (next uint64, early bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, index := range s.indices {
		if index == next {
			next++
		} else if index > next {
			early = true
		}
	}
	return next, early
}

// TestKilledStreamLosesNothing kills the server with SIGKILL while it streams to a file, to syslog and over HTTP, whose
// receiver refuses every third batch after it has read it. Each of them has every record, in order.
func TestKilledStreamLosesNothing(t *testing.T) {
	var web, siem, disk streamed
	batches := 0
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if batches++; err != nil || batches%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for line := range strings.Lines(string(body)) {
			web.take(line)
		}
	}))
	defer collector.Close()
	receiver, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = receiver.Close() }()
	go receive(receiver, &siem)

	root := t.TempDir()
	dir, file := filepath.Join(root, "data"), filepath.Join(root, "audit.jsonl")
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{
		"--set", "audit.streams.web.type=http", "--set", "audit.streams.web.url=" + collector.URL, "--set", "audit.streams.web.batch_records=20",
		"--set", "audit.streams.siem.type=syslog", "--set", "audit.streams.siem.address=" + receiver.Addr().String(), "--set", "audit.streams.siem.plain=true",
		"--set", "audit.streams.disk.type=file", "--set", "audit.streams.disk.path=" + file,
	}
	for range 3 {
		p := MustStartDev(t, dir, addrs[0], flags...)
		api := MustAPI(t, p.Base, dir)
		for range 60 {
			if status, err := api.Call(http.MethodGet, "/vault/v1/kv/nowhere", nil, nil, nil); err != nil || status != http.StatusNotFound {
				t.Fatalf("read: %d %v", status, err)
			}
		}
		before, _ := siem.whole()
		waitFor(t, "the receiver gets more", func() bool { now, _ := siem.whole(); return now > before })
		p.Kill()
		api.http.CloseIdleConnections()
	}
	p := MustStartDev(t, dir, addrs[0], flags...)
	_, end, err := audit.End(filepath.Join(dir, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*streamed{"http": &web, "syslog": &siem, "file": &disk} {
		waitFor(t, name, func() bool {
			if s == &disk {
				text, err := os.ReadFile(file)
				if err != nil {
					return false
				}
				disk.indices = nil
				for line := range strings.Lines(string(text)) {
					disk.take(line)
				}
			}
			next, early := s.whole()
			if early {
				t.Fatalf("%s: a record came before one of a lower index", name)
			}
			return next >= end
		})
	}
	p.MustStop(t)
}

// receive is a syslog receiver that ends connections when they are ended.
func receive(listener net.Listener, into *streamed) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(conn)
		for {
			length, err := in.ReadString(' ')
			if err != nil {
				break
			}
			n, err := strconv.Atoi(strings.TrimSpace(length))
			if err != nil {
				break
			}
			message := make([]byte, n)
			if _, err := io.ReadFull(in, message); err != nil {
				break
			}
			if _, entry, ok := strings.Cut(string(message), " - {"); ok {
				into.take("{" + entry)
			}
		}
		_ = conn.Close()
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(errors.New(what + ": not within a minute"))
		}
	}
}
