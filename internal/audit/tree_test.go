package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/audit"
)

// stored is a tree as the library keeps it.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, i := range indexes {
		all = append(all, s[i])
	}
	return all, nil
}

func TestEdgeIsTheTreeOfTheLibrary(t *testing.T) {
	var want stored
	var edge audit.Edge
	var got []byte
	for n := range int64(300) {
		data := fmt.Appendf(nil, "record %d", n)
		more, err := tlog.StoredHashes(n, data, want)
		must(t, err)
		want = append(want, more...)
		got = edge.Add(tlog.RecordHash(data), got)
		whole, err := tlog.TreeHash(n+1, want)
		must(t, err)
		if root, err := edge.Root(); err != nil || root != whole {
			t.Fatalf("root of %d records: got %v, %v, want %v", n+1, root, err, whole)
		}
	}
	var flat []byte
	for _, h := range want {
		flat = append(flat, h[:]...)
	}
	if !bytes.Equal(flat, got) {
		t.Error("the stored hashes are not the library's")
	}
}

// treeOf is the root of the records that can be read, as an auditor works it out.
func treeOf(t *testing.T, dir string) (uint64, tlog.Hash) {
	t.Helper()
	var all stored
	n := int64(0)
	must(t, audit.Read(dir, 0, func(_ audit.Record, line []byte) error {
		more, err := tlog.StoredHashes(n, line, all)
		all = append(all, more...)
		n++
		return err
	}))
	root, err := tlog.TreeHash(n, all)
	must(t, err)
	return uint64(n), root
}

// mustMatch wants the tree of the log to be that of its records.
func mustMatch(t *testing.T, what string, l *audit.Log, dir string) {
	t.Helper()
	size, root := treeOf(t, dir)
	if gotSize, got := l.RootOf(); gotSize != size || got != root {
		t.Errorf("%s: the tree has %d records and root %v, want %d and %v", what, gotSize, got, size, root)
	}
}

func TestHashesAreThoseOfTheRecords(t *testing.T) {
	dir := t.TempDir()
	c := audit.Config{Dir: dir, SegmentBytes: 2000}
	l := MustOpen(t, c)
	for i := range 40 {
		MustAppend(t, l, named(fmt.Sprint(i)))
	}
	mustMatch(t, "while it is written", l, dir)
	MustClose(t, l)
	path := filepath.Join(dir, "hashes")
	whole, err := os.ReadFile(path)
	must(t, err)
	if got, want := int64(len(whole)), tlog.StoredHashCount(41)*tlog.HashSize; got != want {
		t.Fatalf("the hash file has %d bytes, want %d", got, want)
	}

	// Case 1: a start goes on from the file: it looks at no record that is hashed already.
	segment := filepath.Join(dir, MustList(t, dir)[0])
	first, err := os.ReadFile(segment)
	must(t, err)
	must(t, os.WriteFile(segment, bytes.Replace(first, []byte(`"0"`), []byte(`"x"`), 1), 0o600))
	l = MustOpen(t, c)
	_, before := l.RootOf()
	MustClose(t, l)
	must(t, os.WriteFile(segment, first, 0o600))
	if _, want := treeOf(t, dir); before != want {
		t.Error("the start hashed what is hashed already")
	}

	// Case 2: a file that is missing, cut, or ends in half a hash is made again.
	for what, content := range map[string][]byte{"missing": nil, "cut": whole[:500], "one leaf": whole[:32], "empty": {}} {
		must(t, os.Remove(path))
		if content != nil {
			must(t, os.WriteFile(path, content, 0o600))
		}
		l = MustOpen(t, c)
		mustMatch(t, what, l, dir)
		MustClose(t, l)
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, whole) {
			t.Errorf("%s: the hash file was not made again: %d bytes, %v", what, len(again), err)
		}
	}
}

// A hash file that is taken away while the log is open is made anew; the tree goes on, since the log knows its edge.
func TestHashFileTakenAway(t *testing.T) {
	dir := t.TempDir()
	c := audit.Config{Dir: dir, FsyncEvery: tick}
	l := MustOpen(t, c)
	for i := range 20 {
		MustAppend(t, l, named(fmt.Sprint(i)))
	}
	path := filepath.Join(dir, "hashes")
	eventually(t, "the hashes", func() bool { _, err := os.Stat(path); return err == nil })
	must(t, os.Remove(path))
	eventually(t, "another hash file", func() bool { _, err := os.Stat(path); return err == nil })
	MustAppend(t, l, named("after"))
	mustMatch(t, "made anew", l, dir)
	MustClose(t, l)
	l = MustOpen(t, c)
	mustMatch(t, "opened again", l, dir)
	mustBecomeHealthy(t, l)
}

// What stands in the place of the hash file and cannot be written turns health red, and records go on: until then
// their hashes wait.
func TestHashFileInTheWay(t *testing.T) {
	dir := t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir, FsyncEvery: tick})
	MustAppend(t, l, named("before"))
	path := filepath.Join(dir, "hashes")
	eventually(t, "the hashes", func() bool { _, err := os.Stat(path); return err == nil })
	// The log makes the file again as often as it is away, which may be between the two.
	eventually(t, "a directory in its place", func() bool {
		_ = os.Remove(path)
		return os.Mkdir(path, 0o700) == nil
	})
	eventually(t, "red health", func() bool { return l.Health() != nil })
	MustAppend(t, l, named("during"))
	must(t, os.Remove(path))
	mustBecomeHealthy(t, l)
	mustMatch(t, "out of the way again", l, dir)
}

// Records that a loss of power took were signed by nobody, and their indices are given again.
func TestRecordsLostBehindTheLastCheckpoint(t *testing.T) {
	dir, path, content := written3(t)
	last := bytes.LastIndexByte(content[:len(content)-1], '\n') + 1
	must(t, os.WriteFile(path, content[:last], 0o600))
	l := MustOpen(t, audit.Config{Dir: dir})
	mustMatch(t, "without the last", l, dir)
	want := []string{"audit.log.begun", "one", "two", "audit.log.cut records_lost"}
	if diff := cmp.Diff(want, requests(MustRead(t, dir, 0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	MustClose(t, l)
	// The twin: nothing is lost.
	MustClose(t, MustOpen(t, audit.Config{Dir: dir}))
	if got := requests(MustRead(t, dir, 0)); !slices.Equal(got, want) {
		t.Errorf("opened again: got %v", got)
	}
}
