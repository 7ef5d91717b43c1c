package audit_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/audit"
	"culvert/internal/outage"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

const (
	// wait is short so that tests of outages are, and long beside an fsync on a busy machine.
	wait = time.Second
	tick = 10 * time.Millisecond
	// patience is the wait of callers who are to get what they wait for, and of tests.
	patience = 20 * time.Second
)

func MustOpenOn(t *testing.T, d *disk, c audit.Config) *audit.Log {
	t.Helper()
	c = withNode(c)
	c.Wait, c.FsyncEvery = max(c.Wait, wait), tick
	l, err := audit.OpenWith(c, d.open)
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// mustFail wants an outage of the audit log in bounded time, and returns its text.
func mustFail(t *testing.T, l *audit.Log, request string) string {
	t.Helper()
	began := time.Now()
	_, err := l.Append(t.Context(), named(request))
	if o := outage.Of(err); o == nil || o.Dependency != outage.Audit {
		t.Fatalf("append of %s: got %v, want an outage of the audit log", request, err)
	}
	if took := time.Since(began); took > wait+patience {
		t.Errorf("append of %s took %v, the wait is %v", request, took, wait)
	}
	return err.Error()
}

// mustFailAtOnce wants the outage without the wait. The quickest of some calls counts: others may have met
// a busy machine, but whoever waits does so every time.
func mustFailAtOnce(t *testing.T, l *audit.Log, request string) (text string) {
	t.Helper()
	quickest := time.Hour
	for tries := 0; tries < 10 && quickest > wait/2; tries++ {
		began := time.Now()
		text = mustFail(t, l, request)
		quickest = min(quickest, time.Since(began))
	}
	if quickest > wait/2 {
		t.Errorf("a caller of a log known to fail waited %v", quickest)
	}
	return text
}

func mustBecomeHealthy(t *testing.T, l *audit.Log) {
	t.Helper()
	for deadline := time.Now().Add(patience); l.Health() != nil; time.Sleep(tick) {
		if time.Now().After(deadline) {
			t.Fatalf("did not recover: %v", l.Health())
		}
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(tick) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestFullDisk(t *testing.T) {
	for name, truncate := range map[string]error{"torn batch cut": nil, "torn batch left": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			segments := map[error]int{nil: 1, syscall.EIO: 2}[truncate]
			d, dir := &disk{}, t.TempDir()
			l := MustOpenOn(t, d, audit.Config{Dir: dir})
			MustAppend(t, l, named("before"))
			d.set(func(d *disk) { d.write, d.truncate = syscall.ENOSPC, truncate })

			// Case 1: the caller is told which sink failed and why, in bounded time, and so is health.
			cause := "no space left"
			if truncate != nil {
				cause = "cut torn batch"
			}
			if text := mustFail(t, l, "lost"); !strings.Contains(text, dir) || !strings.Contains(text, cause) {
				t.Errorf("error: %q does not name sink and cause", text)
			}
			if err := l.Health(); outage.Of(err) == nil || !strings.Contains(err.Error(), cause) {
				t.Errorf("health: got %v", err)
			}

			// Case 2: once it has been failing for longer than the wait, callers are refused at once.
			time.Sleep(wait)
			mustFailAtOnce(t, l, "refused")

			// Case 3: it recovers with nobody calling, and what was refused does not stand in it.
			d.set(func(d *disk) { d.write, d.truncate = nil, nil })
			mustBecomeHealthy(t, l)
			MustAppend(t, l, named("after"))
			MustClose(t, l)
			want := []string{"audit.log.begun", "before", "audit.log.resumed disk_full", "after"}
			if diff := cmp.Diff(want, requests(MustRead(t, dir, 0))); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if got := MustList(t, dir); len(got) != segments {
				t.Errorf("segments: got %v, want %d", got, segments)
			}
		})
	}
}

func TestCallersWaitForADiskThatRecovers(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	l := MustOpenOn(t, d, audit.Config{Dir: dir, Wait: patience})
	d.set(func(d *disk) { d.write = syscall.ENOSPC })
	go func() {
		for l.Health() == nil {
			time.Sleep(tick)
		}
		d.set(func(d *disk) { d.write = nil })
	}()
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if _, err := l.Append(t.Context(), named("patient")); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	group.Wait()
	if got := len(MustRead(t, dir, 0)); got != 66 {
		t.Errorf("records: got %d, want 64 and two of the log's own", got)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	l := MustOpenOn(t, d, audit.Config{Dir: dir, SegmentBytes: 200})
	MustAppend(t, l, named("before"))
	d.set(func(d *disk) { d.create = syscall.EROFS })
	if text := mustFail(t, l, "lost"); !strings.Contains(text, "read-only") {
		t.Errorf("error: got %q", text)
	}
	d.set(func(d *disk) { d.create = nil })
	mustBecomeHealthy(t, l)
	MustAppend(t, l, named("after"))
	want := []string{"audit.log.begun", "before", "audit.log.resumed read_only", "after"}
	if diff := cmp.Diff(want, requests(MustRead(t, dir, 0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	d.set(func(d *disk) { d.create = syscall.EROFS })
	if _, err := audit.OpenWith(audit.Config{Dir: t.TempDir(), Node: "node-a"}, d.open); err == nil {
		t.Error("a log began in a read-only directory")
	}
}

func TestHangingDisk(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	l := MustOpenOn(t, d, audit.Config{Dir: dir})
	release := make(chan struct{})
	d.set(func(d *disk) { d.hang = release })
	mustFail(t, l, "in flight")
	if text := mustFailAtOnce(t, l, "refused"); !strings.Contains(text, "hangs") || !strings.Contains(text, dir) {
		t.Errorf("error: got %q", text)
	}
	if l.Health() == nil {
		t.Error("a log that hangs calls itself healthy")
	}
	d.set(func(d *disk) { d.hang = nil })
	close(release)
	mustBecomeHealthy(t, l)
	MustAppend(t, l, named("after"))
	// The record that was in flight may stand there: it was handed to the kernel.
	got := requests(MustRead(t, dir, 0))
	if slices.Contains(got, "refused") || !slices.Contains(got, "after") {
		t.Errorf("records: got %v", got)
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	d, dir := &disk{}, t.TempDir()
	l := MustOpenOn(t, d, audit.Config{Dir: dir, Wait: patience})
	release := make(chan struct{})
	d.set(func(d *disk) { d.hang = release })
	var group sync.WaitGroup
	add := func() {
		if _, err := l.Append(t.Context(), named("queued")); err != nil {
			t.Errorf("append: %v", err)
		}
	}
	// One is in flight, the others wait behind it.
	group.Go(add)
	eventually(t, "a write that hangs", func() bool { return d.hanging.Load() == 1 })
	for range 7 {
		group.Go(add)
	}
	eventually(t, "a queue", func() bool { n, _ := l.Queued(); return n == 7 })
	group.Go(func() { MustClose(t, l) })
	eventually(t, "the close", func() bool { _, closed := l.Queued(); return closed })
	close(release)
	group.Wait()
	if got := len(MustRead(t, dir, 1)); got != 8 {
		t.Errorf("records: got %d, want 8", got)
	}
}

func TestCloseDoesNotWaitForADiskThatHangs(t *testing.T) {
	d := &disk{}
	l := MustOpenOn(t, d, audit.Config{Dir: t.TempDir()})
	release := make(chan struct{})
	defer close(release)
	d.set(func(d *disk) { d.hang = release })
	mustFail(t, l, "in flight")
	began := time.Now()
	if err := l.Close(); outage.Of(err) == nil {
		t.Errorf("close: got %v, want an outage", err)
	}
	if took := time.Since(began); took > wait+patience {
		t.Errorf("close took %v", took)
	}
}

func TestFailedFsyncGivesTheSegmentUp(t *testing.T) {
	for _, fsync := range []string{audit.FsyncInterval, audit.FsyncAlways} {
		t.Run(fsync, func(t *testing.T) {
			d, dir := &disk{}, t.TempDir()
			l := MustOpenOn(t, d, audit.Config{Dir: dir, Fsync: fsync})
			MustAppend(t, l, named("before"))
			d.set(func(d *disk) { d.sync = syscall.EIO })
			if fsync == audit.FsyncAlways {
				mustFail(t, l, "lost")
			} else {
				MustAppend(t, l, named("during"))
				for len(MustList(t, dir)) == 1 {
					time.Sleep(tick)
				}
			}
			d.set(func(d *disk) { d.sync = nil })
			mustBecomeHealthy(t, l)
			MustAppend(t, l, named("after"))
			MustClose(t, l)
			got := requests(MustRead(t, dir, 0))
			if !slices.Contains(got, "audit.log.resumed sync_failed") || got[1] != "before" || got[len(got)-1] != "after" {
				t.Errorf("records: got %v", got)
			}
			if slices.Contains(got, "lost") {
				t.Errorf("a refused record stands in the log: %v", got)
			}
		})
	}
}

// onlySegment is the path of the one segment.
func onlySegment(t *testing.T, dir string) string {
	t.Helper()
	names := MustList(t, dir)
	if len(names) != 1 {
		t.Fatalf("segments: got %v, want one", names)
	}
	return filepath.Join(dir, names[0])
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileTakenAway(t *testing.T) {
	for name, test := range map[string]struct {
		take func(t *testing.T, path string)
		code string
	}{
		"removed":            {func(t *testing.T, path string) { must(t, os.Remove(path)) }, "segment_removed"},
		"renamed":            {func(t *testing.T, path string) { must(t, os.Rename(path, path+".1")) }, "segment_moved"},
		"cut":                {func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, "segment_changed"},
		"appended to":        {func(t *testing.T, path string) { appendTo(t, path, "{}\n") }, "segment_changed"},
		"directory":          {func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) }, "segment_removed"},
		"replaced by FIFO":   {replace(func(path string) error { return syscall.Mkfifo(path, 0o600) }), "segment_removed"},
		"replaced by folder": {replace(func(path string) error { return os.Mkdir(path, 0o700) }), "segment_removed"},
		"replaced by link":   {replace(func(path string) error { return os.Symlink("/dev/null", path) }), "segment_removed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "audit")
			l := MustOpenOn(t, &disk{}, audit.Config{Dir: dir, Wait: patience})
			MustAppend(t, l, named("before"))
			test.take(t, onlySegment(t, dir))
			for deadline := time.Now().Add(patience); ; time.Sleep(tick) {
				index := MustAppend(t, l, named("after"))
				got := requests(from(t, dir, index))
				if !slices.Equal(got, []string{"after"}) && test.code != "segment_moved" {
					t.Fatalf("records from %d, acknowledged: got %v", index, got)
				}
				if slices.Contains(requests(from(t, dir, 2)), "audit.log.resumed "+test.code) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("went on unaware: %v", requests(from(t, dir, 2)))
				}
			}
			mustBecomeHealthy(t, l)
			MustClose(t, l)
			MustAppend(t, MustOpen(t, audit.Config{Dir: dir}), named("restarted"))
		})
	}
}

// from reads past the gap that the test made.
func from(t *testing.T, dir string, index uint64) []audit.Record {
	t.Helper()
	var all []audit.Record
	err := audit.Read(dir, index, func(r audit.Record, _ []byte) error {
		all = append(all, r)
		return nil
	})
	if gap := new(audit.GapError); err != nil && !errors.As(err, &gap) {
		t.Fatalf("read from %d: %v", index, err)
	}
	return all
}

func replace(with func(path string) error) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		must(t, os.Remove(path))
		must(t, with(path))
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = io.WriteString(f, text)
	must(t, err)
	must(t, f.Close())
}
