package audit_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"culvert/internal/audit"
	"culvert/internal/outage"
)

// MustOpen opens a log that the test's end closes.
func MustOpen(t testing.TB, c audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(withNode(c))
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func withNode(c audit.Config) audit.Config {
	if c.Node == "" {
		c.Node = "node-a"
	}
	return c
}

// MustAppend appends and returns the index.
func MustAppend(t testing.TB, l *audit.Log, r audit.Record) uint64 {
	t.Helper()
	index, err := l.Append(t.Context(), r)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return index
}

func MustClose(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// MustRead returns all records from an index on.
func MustRead(t testing.TB, dir string, from uint64) []audit.Record {
	t.Helper()
	var all []audit.Record
	err := audit.Read(dir, from, func(r audit.Record, _ []byte) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatalf("read from %d: %v", from, err)
	}
	return all
}

// named is a small record that can be told from others.
func named(request string) audit.Record {
	return audit.Record{RequestID: request, Action: "vault.data.read", Phase: audit.Access, Result: audit.Allowed}
}

// requests lists what callers wrote; the log's own records show as their action and code.
func requests(all []audit.Record) []string {
	var list []string
	for _, r := range all {
		if r.Phase == audit.Internal {
			list = append(list, strings.TrimSuffix(string(r.Action)+" "+r.Code, " "))
			continue
		}
		list = append(list, r.RequestID)
	}
	return list
}

func TestAppendIsReadable(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.FixedZone("CET", 3600))
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir, Now: func() time.Time { return at }})
	if got := l.Node(); got != "node-a" {
		t.Errorf("node: got %q", got)
	}
	want := read()
	index := MustAppend(t, l, want)

	// Case 1: what the caller put into the log's own fields does not count.
	forged := want
	forged.V, forged.Index, forged.Node, forged.Time = 9, 99, "node-b", time.Unix(0, 0)
	second := MustAppend(t, l, forged)

	// Case 2: both stand in the log before Append returned, while it is open.
	got := MustRead(t, dir, 1)
	want.V, want.Index, want.Node, want.Time = audit.Version, index, "node-a", at.UTC().Truncate(time.Microsecond)
	again := want
	again.Index = second
	if diff := cmp.Diff([]audit.Record{want, again}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if index != 1 || second != 2 {
		t.Errorf("indices: got %d and %d, want 1 and 2 behind the log's own", index, second)
	}
	if err := l.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}

func TestConcurrentAppendsHaveConsecutiveIndices(t *testing.T) {
	const goroutines, each = 64, 50
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir, SegmentBytes: 16 << 10})
	var mu sync.Mutex
	written := map[uint64]string{}
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				request := fmt.Sprintf("req-%d-%d", g, i)
				index, err := l.Append(t.Context(), named(request))
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				written[index] = request
				mu.Unlock()
			}
		})
	}
	group.Wait()
	MustClose(t, l)

	all := MustRead(t, dir, 1)
	if len(all) != goroutines*each {
		t.Fatalf("records: got %d, want %d", len(all), goroutines*each)
	}
	for _, r := range all {
		if written[r.Index] != r.RequestID {
			t.Fatalf("record %d: got %q, its caller was told that it is %q", r.Index, r.RequestID, written[r.Index])
		}
	}
	if files := MustList(t, dir); len(files) < 3 {
		t.Errorf("segments: got %v, want several of 16 KiB", files)
	}
}

// MustList returns the names in a directory.
func MustList(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	var names []string
	for _, e := range entries {
		if strings.Contains(e.Name(), ".jsonl") { // not what stands beside the segments
			names = append(names, e.Name())
		}
	}
	return names
}

func TestRestartContinues(t *testing.T) {
	dir := t.TempDir()
	config := audit.Config{Dir: dir, SegmentBytes: 300}
	var want []string
	for start := range 3 {
		l := MustOpen(t, config)
		for i := range 4 {
			request := fmt.Sprintf("start-%d-%d", start, i)
			if index := MustAppend(t, l, named(request)); index != uint64(start*4+i+1) {
				t.Fatalf("index: got %d, want %d", index, start*4+i+1)
			}
			want = append(want, request)
		}
		MustClose(t, l)
	}
	if diff := cmp.Diff(want, requests(MustRead(t, dir, 1))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if begun := MustRead(t, dir, 0)[0]; begun.Action != "audit.log.begun" || begun.Index != 0 {
		t.Errorf("first record: got %+v", begun)
	}
	for _, name := range MustList(t, dir) {
		first := MustRead(t, dir, 0)
		i := slices.IndexFunc(first, func(r audit.Record) bool { return fmt.Sprintf("%020d.jsonl", r.Index) == name })
		if i < 0 {
			t.Errorf("segment %s is named by no record", name)
		}
	}
}

func TestAppendRefusesRecordsThatSayNothing(t *testing.T) {
	l := MustOpen(t, audit.Config{Dir: t.TempDir()})
	for name, spoil := range map[string]func(*audit.Record){
		"no action":      func(r *audit.Record) { r.Action = "" },
		"no phase":       func(r *audit.Record) { r.Phase = "" },
		"unknown phase":  func(r *audit.Record) { r.Phase = "later" },
		"no result":      func(r *audit.Record) { r.Result = "" },
		"unknown result": func(r *audit.Record) { r.Result = "maybe" },
		"endless name":   func(r *audit.Record) { r.ObjectName = strings.Repeat("x", audit.MaxLine) },
	} {
		r := read()
		spoil(&r)
		if _, err := l.Append(t.Context(), r); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	MustAppend(t, l, read())
}

func TestOpenChecksTheConfig(t *testing.T) {
	for name, c := range map[string]audit.Config{
		"no dir":        {Node: "node-a"},
		"no node":       {Dir: t.TempDir()},
		"unknown fsync": {Dir: t.TempDir(), Node: "node-a", Fsync: "sometimes"},
		"no parent":     {Dir: t.TempDir() + "/a/b", Node: "node-a"},
	} {
		if l, err := audit.Open(c); err == nil {
			_ = l.Close()
			t.Errorf("%s: opened", name)
		}
	}
	MustOpen(t, audit.Config{Dir: t.TempDir() + "/a", Node: "node-a", Fsync: audit.FsyncAlways})
}

func TestClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir})
	MustAppend(t, l, named("kept"))
	MustClose(t, l)
	MustClose(t, l)
	goleak.VerifyNone(t, before)
	_, err := l.Append(t.Context(), named("late"))
	if o := outage.Of(err); o == nil || o.Dependency != outage.Audit {
		t.Errorf("append after close: got %v, want an outage of the audit log", err)
	}
	if l.Health() == nil {
		t.Error("a closed log calls itself healthy")
	}
	if diff := cmp.Diff([]string{"audit.log.begun", "kept"}, requests(MustRead(t, dir, 0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestAppendOutlivesItsCaller(t *testing.T) {
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir})
	ctx, hangUp := contextOf(t)
	hangUp()
	if _, err := l.Append(ctx, named("gone")); err != nil {
		t.Fatalf("append: %v", err)
	}
	if got := requests(MustRead(t, dir, 1)); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("records: got %v", got)
	}
}

// errStop ends a read early.
var errStop = errors.New("stop")
