package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/audit"
)

// written makes a log of three records in one segment and returns the segment's path and bytes.
func written3(t *testing.T) (dir, path string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir})
	for _, request := range []string{"one", "two", "three"} {
		MustAppend(t, l, named(request))
	}
	MustClose(t, l)
	path = onlySegment(t, dir)
	content, err := os.ReadFile(path)
	must(t, err)
	return dir, path, content
}

func TestTornTailIsCutAndTheCutRecorded(t *testing.T) {
	dir, path, content := written3(t)
	lastLine := bytes.LastIndexByte(content[:len(content)-1], '\n') + 1

	// A crash leaves the last record cut anywhere, or the blocks of it allocated and never written.
	tails := map[string][]byte{
		"zeros":           make([]byte, 8192),
		"garbage":         []byte("\x00\xff{]\n\n}"),
		"long":            bytes.Repeat([]byte("x\n"), 300<<10),
		"long in a piece": bytes.Repeat([]byte("x"), 700<<10),
	}
	for cut := lastLine + 1; cut < len(content); cut++ {
		tails["cut at "+string(rune('0'+cut%10))+strings.Repeat("+", cut-lastLine)] = content[lastLine:cut]
	}
	for name, torn := range tails {
		must(t, os.WriteFile(path, append(bytes.Clone(content[:lastLine]), torn...), 0o600))
		must(t, os.Remove(filepath.Join(dir, "hashes"))) // it comes to the disk behind the records
		l := MustOpen(t, audit.Config{Dir: dir})
		MustAppend(t, l, named("after"))
		MustClose(t, l)
		all := MustRead(t, dir, 0)
		want := []string{"audit.log.begun", "one", "two", "audit.log.cut torn_tail", "after"}
		if diff := cmp.Diff(want, requests(all)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
			continue
		}
		if all[3].Cut != int64(len(torn)) {
			t.Errorf("%s: record says that %d bytes were cut, want %d", name, all[3].Cut, len(torn))
		}
	}

	// Case: nothing torn, nothing cut, nothing recorded.
	must(t, os.WriteFile(path, content, 0o600))
	must(t, os.Remove(filepath.Join(dir, "hashes")))
	MustClose(t, MustOpen(t, audit.Config{Dir: dir}))
	if diff := cmp.Diff([]string{"audit.log.begun", "one", "two", "three"}, requests(MustRead(t, dir, 0))); diff != "" {
		t.Errorf("whole log (-want +got):\n%s", diff)
	}
}

func TestTornFirstRecord(t *testing.T) {
	dir, path, content := written3(t)
	must(t, os.WriteFile(path, content[:20], 0o600))
	must(t, os.Remove(filepath.Join(dir, "hashes")))
	MustClose(t, MustOpen(t, audit.Config{Dir: dir}))
	if diff := cmp.Diff([]string{"audit.log.begun", "audit.log.cut torn_tail"}, requests(MustRead(t, dir, 0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestDamageInTheMiddleStays(t *testing.T) {
	dir, path, content := written3(t)
	damaged := bytes.Replace(content, []byte(`"one"`), []byte(`"one}`), 1)
	must(t, os.WriteFile(path, damaged, 0o600))
	l := MustOpen(t, audit.Config{Dir: dir})
	if index := MustAppend(t, l, named("four")); index != 4 {
		t.Errorf("index: got %d, want 4", index)
	}
	err := audit.Read(dir, 0, func(audit.Record, []byte) error { return nil })
	if !errors.Is(err, audit.ErrCorrupt) || !strings.Contains(err.Error(), "record 1") {
		t.Errorf("read: got %v, want corrupt and which record", err)
	}
	if strings.Contains(err.Error(), "one}") {
		t.Errorf("the error repeats the line: %v", err)
	}
	if diff := cmp.Diff([]string{"two", "three", "four"}, requests(MustRead(t, dir, 2))); diff != "" {
		t.Errorf("records behind the damage (-want +got):\n%s", diff)
	}
}

func TestOpenRefusesWhatIsNoLog(t *testing.T) {
	const name = "00000000000000000000.jsonl"
	for what, make := range map[string]func(path string) error{
		"FIFO":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("/dev/null", path) },
		"a name that its records contradict": func(path string) error {
			line := audit.Line(nil, 3, goldenTime, `"n"`, &audit.Record{Action: "a", Phase: audit.Access, Result: audit.Denied})
			return os.WriteFile(strings.Replace(path, "0.jsonl", "9.jsonl", 1), line, 0o600)
		},
	} {
		dir := t.TempDir()
		must(t, make(filepath.Join(dir, name)))
		if l, err := audit.Open(audit.Config{Dir: dir, Node: "node-a"}); err == nil {
			_ = l.Close()
			t.Errorf("%s: opened", what)
		}
	}
	// Case: files of other names are let be.
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "notes.jsonl"), []byte("mine"), 0o600))
	MustAppend(t, MustOpen(t, audit.Config{Dir: dir}), named("x"))
	if got, err := os.ReadFile(filepath.Join(dir, "notes.jsonl")); err != nil || string(got) != "mine" {
		t.Errorf("foreign file: got %q, %v", got, err)
	}
}

func TestReadStopsAndResumes(t *testing.T) {
	dir, _, _ := written3(t)

	// Case 1: from an index, with the line as it stands.
	var lines [][]byte
	err := audit.Read(dir, 2, func(r audit.Record, line []byte) error {
		lines = append(lines, bytes.Clone(line))
		return nil
	})
	must(t, err)
	if len(lines) != 2 || !bytes.HasPrefix(lines[0], []byte(`{"v":1,"index":2,`)) || bytes.ContainsRune(lines[0], '\n') {
		t.Errorf("lines from 2: got %s", lines)
	}

	// Case 2: beyond the end there is nothing, and in an empty place neither.
	if got := MustRead(t, dir, 99); got != nil {
		t.Errorf("records from 99: got %v", got)
	}
	if got := MustRead(t, filepath.Join(dir, "absent"), 0); got != nil {
		t.Errorf("records of no log: got %v", got)
	}

	// Case 3: the caller's error comes back and ends it.
	calls := 0
	err = audit.Read(dir, 0, func(audit.Record, []byte) error { calls++; return errStop })
	if !errors.Is(err, errStop) || calls != 1 {
		t.Errorf("stopped read: got %v after %d calls", err, calls)
	}
}

func TestReadReportsGaps(t *testing.T) {
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir, SegmentBytes: 1}) // a segment a record
	for range 5 {
		MustAppend(t, l, named("x"))
	}
	MustClose(t, l)
	read := func(from uint64) (last uint64, err error) {
		err = audit.Read(dir, from, func(r audit.Record, _ []byte) error { last = r.Index; return nil })
		return last, err
	}
	if last, err := read(0); err != nil || last != 5 {
		t.Fatalf("whole log: got %d, %v", last, err)
	}
	must(t, os.Remove(filepath.Join(dir, "00000000000000000003.jsonl")))
	last, err := read(0)
	gap := new(audit.GapError)
	if !errors.As(err, &gap) || *gap != (audit.GapError{Want: 3, Found: 4}) || last != 2 {
		t.Errorf("gap: got %v behind %d", err, last)
	}
	if last, err := read(gap.Found); err != nil || last != 5 {
		t.Errorf("behind the gap: got %d, %v", last, err)
	}
	// Retention removes the oldest: no gap.
	must(t, os.Remove(filepath.Join(dir, "00000000000000000000.jsonl")))
	if last, err := read(0); !errors.As(err, &gap) || last != 2 {
		t.Errorf("without the oldest: got %d, %v", last, err)
	}
}

func TestReadReportsALineTakenOut(t *testing.T) {
	dir, path, content := written3(t)
	lines := bytes.SplitAfter(content, []byte{'\n'})
	must(t, os.WriteFile(path, bytes.Join([][]byte{lines[0], lines[1], lines[3]}, nil), 0o600))
	gap := new(audit.GapError)
	err := audit.Read(dir, 0, func(audit.Record, []byte) error { return nil })
	if !errors.As(err, &gap) || *gap != (audit.GapError{Want: 2, Found: 3}) {
		t.Errorf("read: got %v", err)
	}
	if diff := cmp.Diff([]string{"three"}, requests(MustRead(t, dir, gap.Found))); diff != "" {
		t.Errorf("behind the gap (-want +got):\n%s", diff)
	}
}

func TestReadRefusesWhatRepeats(t *testing.T) {
	dir, path, content := written3(t)
	again := content[:bytes.IndexByte(content, '\n')+1]
	must(t, os.WriteFile(path, append(bytes.Clone(content), again...), 0o600))
	err := audit.Read(dir, 0, func(audit.Record, []byte) error { return nil })
	if !errors.Is(err, audit.ErrCorrupt) {
		t.Errorf("index 0 twice: got %v", err)
	}
}

// A whole line of JSON at the end was acknowledged by somebody: a later version, or it was edited. It is
// evidence, and its index is in use, so the log refuses to go on instead of cutting it.
func TestWholeLinesAreNotCut(t *testing.T) {
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir})
	MustAppend(t, l, named("first"))
	MustAppend(t, l, named("last"))
	MustClose(t, l)
	path := onlySegment(t, dir)
	content, err := os.ReadFile(path)
	must(t, err)
	last := content[bytes.LastIndexByte(content[:len(content)-1], '\n')+1:]
	for name, line := range map[string][]byte{
		"foreign JSON":   []byte("{\"v\":1}\n"),
		"later version":  bytes.Replace(last, []byte(`{"v":1`), []byte(`{"v":9`), 1),
		"unknown member": bytes.Replace(last, []byte(`}`), []byte(`,"value":"x"}`), 1),
	} {
		edited := append(bytes.Clone(content), line...)
		must(t, os.WriteFile(path, edited, 0o600))
		if l, err := audit.Open(audit.Config{Dir: dir, Node: "node_1", Logger: slog.New(slog.DiscardHandler)}); err == nil {
			_ = l.Close()
			t.Errorf("%s: the log opened", name)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, edited) {
			t.Errorf("%s: the segment was changed", name)
		}
	}
	// The twin: the same segment as it was.
	must(t, os.WriteFile(path, content, 0o600))
	MustClose(t, MustOpen(t, audit.Config{Dir: dir}))
}
