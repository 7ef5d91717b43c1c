package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"culvert/internal/audit"
)

// follow reads until a follower has the whole log.
func follow(t *testing.T, f *audit.Follower, l *audit.Log) []uint64 {
	t.Helper()
	var all []uint64
	for end := time.Now().Add(30 * time.Second); f.Next() < l.Size(); {
		if time.Now().After(end) {
			t.Fatalf("at %d of %d", f.Next(), l.Size())
		}
		leaves, err := f.Read(13, 1<<20)
		must(t, err)
		for _, leaf := range leaves {
			if !bytes.Contains(leaf.Line, []byte(`"node":"node-a"`)) {
				t.Errorf("line %q", leaf.Line)
			}
			all = append(all, leaf.Index)
		}
	}
	return all
}

// TestFollowWhatIsBeingWritten: across segments, beside the writer, each record comes once and in order; a copy of a
// follower reads the same again.
func TestFollowWhatIsBeingWritten(t *testing.T) {
	l := MustOpen(t, audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), SegmentBytes: 4 << 10})
	begin := l.Follow(0)
	again := *begin
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			if _, err := l.Append(t.Context(), named("r")); err != nil {
				t.Error(err)
			}
		}
	}()
	var got []uint64
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		got = append(got, follow(t, begin, l)...)
	}
	for _, all := range [][]uint64{got, follow(t, &again, l), follow(t, l.Follow(0), l)} {
		for i, index := range all {
			if index != uint64(i) {
				t.Fatalf("record %d came as number %d", index, i)
			}
		}
		if uint64(len(all)) != l.Size() {
			t.Fatalf("%d records of %d", len(all), l.Size())
		}
	}
	if begin.Missing() != 0 {
		t.Errorf("%d are said to be missing", begin.Missing())
	}
	if got := l.Follow(1 << 40).Next(); got != l.Size() {
		t.Errorf("a place beyond the end is %d", got)
	}
}

// TestFollowPassesOverWhatIsNotThere: a segment that is gone, a line that is no record, and one too long for a line
// cost what they held, are counted, and nothing else is lost.
func TestFollowPassesOverWhatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := MustOpen(t, audit.Config{Dir: dir, SegmentBytes: 2 << 10})
	for range 100 {
		MustAppend(t, l, named("r"))
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	slices.Sort(segments)
	var want []uint64
	for i, path := range segments {
		text, err := os.ReadFile(path)
		must(t, err)
		lines := bytes.SplitAfter(text, []byte("\n"))
		first := MustFirst(t, lines[0])
		for j := range lines[:len(lines)-1] {
			if index := first + uint64(j); i != 1 && (i != 2 || j != 3) && (i != 3 || j < 2) {
				want = append(want, index)
			}
		}
		switch i {
		case 1:
			must(t, os.Remove(path))
		case 2:
			lines[3] = bytes.Repeat([]byte{'x'}, len(lines[3])-1)
			lines[3] = append(lines[3], '\n')
			must(t, os.WriteFile(path, bytes.Join(lines, nil), 0o600))
		case 3:
			lines[2] = append(bytes.Repeat([]byte{'x'}, audit.MaxLine+1), '\n')
			must(t, os.WriteFile(path, bytes.Join(lines, nil), 0o600))
		}
	}
	f := l.Follow(0)
	got := follow(t, f, l)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if missing := l.Size() - uint64(len(want)); f.Missing() != missing {
		t.Errorf("%d are said to be missing, %d are", f.Missing(), missing)
	}
}

// MustFirst is the index in a line.
func MustFirst(t *testing.T, line []byte) uint64 {
	t.Helper()
	r, err := audit.Parse(bytes.TrimSuffix(line, []byte("\n")))
	must(t, err)
	return r.Index
}

// TestFirstSince finds the record that a time leads to.
func TestFirstSince(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := now
	l := MustOpen(t, audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), SegmentBytes: 1 << 10, Now: func() time.Time { return at }})
	for i := range 40 {
		at = now.Add(time.Duration(i) * time.Minute)
		MustAppend(t, l, named("r"))
	}
	for minutes, want := range map[int]uint64{0: 0, 1: 2, 20: 21, 39: 40, 40: 41} {
		got, err := audit.FirstSince(l.Dir(), now.Add(time.Duration(minutes)*time.Minute))
		must(t, err)
		if got != want {
			t.Errorf("after %d minutes: %d, want %d", minutes, got, want)
		}
	}
}
