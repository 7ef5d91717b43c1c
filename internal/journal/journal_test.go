package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"culvert/internal/journal"
	"culvert/internal/outage"
)

func mustOpen(t testing.TB, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustAppend(t testing.TB, j *journal.Journal, body string) uint64 {
	t.Helper()
	room, err := j.Reserve(len(body))
	if err != nil {
		t.Fatal(err)
	}
	id, err := room.Append([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func bodies(j *journal.Journal) string {
	var all []string
	for _, e := range j.Entries() {
		all = append(all, string(e.Body))
	}
	return strings.Join(all, " ")
}

// What was appended and not removed is there again after a crash, in its order, in a file for its owner's
// eyes.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	mustAppend(t, j, "one")
	two := mustAppend(t, j, "two")
	mustAppend(t, j, "three")
	j.Remove(two)
	j.Remove(two)
	if got := bodies(j); got != "one three" {
		t.Errorf("entries %q", got)
	}
	// Not closed: a kill closes nothing. The removal was not written, which costs a look when it is replayed.
	again := mustOpen(t, path)
	if got := bodies(again); got != "one two three" {
		t.Errorf("after a crash: %q", got)
	}
	for _, e := range again.Entries() {
		again.Remove(e.ID)
	}
	if got := bodies(mustOpen(t, path)); got != "" {
		t.Errorf("an empty journal is opened with %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(bytes.Trim(data, "\x00")) != 0 {
		t.Errorf("removed entries are still in the file: %v", err)
	}
}

// A crash in the middle of a write costs the entry that was being written and no other, and so does damage
// anywhere else.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := mustOpen(t, path)
	for _, body := range []string{"first", "second", "third"} {
		mustAppend(t, j, body)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frame := len("CJR\x01") + 8
	third := 2*frame + len("firstsecond")
	for cut := third + 1; cut < third+frame+len("third"); cut++ {
		torn := bytes.Clone(whole[:cut])
		if err := os.WriteFile(path, append(torn, make([]byte, 100)...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := bodies(mustOpen(t, path)); got != "first second" {
			t.Errorf("cut at %d: %q", cut, got)
		}
	}
	for at := range third + frame + len("third") {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x40
		found, bytes := journal.Scan(damaged)
		if len(found) != 2 || bytes == 0 {
			t.Errorf("byte %d damaged: %d entries, %d bytes cut", at, len(found), bytes)
		}
	}
	if found, bytes := journal.Scan(whole); len(found) != 3 || bytes != 0 {
		t.Errorf("whole: %d entries, %d bytes cut", len(found), bytes)
	}
}

// A link, a directory or a pipe in the place of the file is an error and not a hang.
func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	for what, make := range map[string]func(string) error{
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"link":      func(p string) error { return os.Symlink(filepath.Join(dir, "elsewhere"), p) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		path := filepath.Join(dir, what)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if j, err := journal.Open(journal.Config{Path: path}); err == nil {
			_ = j.Close()
			t.Errorf("a %s was opened as a journal", what)
		}
	}
	if _, err := journal.Open(journal.Config{Path: filepath.Join(dir, "absent", "journal")}); err == nil {
		t.Error("a directory was made that was not there")
	}
}

// faults are what a disk does wrong: each call fails with its error while it is set.
type faults struct {
	write, sync, create atomic.Pointer[error]
	syncs               atomic.Int64
}

func (f *faults) open(path string) (journal.File, error) {
	if err := f.create.Load(); err != nil {
		return nil, *err
	}
	file, err := journal.OSOpen(path)
	return &faulty{file, f}, err
}

type faulty struct {
	journal.File
	faults *faults
}

func (f *faulty) WriteAt(b []byte, at int64) (int, error) {
	if err := f.faults.write.Load(); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, *err
	}
	return f.File.WriteAt(b, at)
}

func (f *faulty) Sync() error {
	f.faults.syncs.Add(1)
	if err := f.faults.sync.Load(); err != nil {
		return *err
	}
	return f.File.Sync()
}

func withFaults(t *testing.T, max int64) (*journal.Journal, *faults, string) {
	t.Helper()
	f, path := new(faults), filepath.Join(t.TempDir(), "journal")
	j, err := journal.OpenWith(journal.Config{Path: path, MaxBytes: max}, f.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, f, path
}

// A disk that is full or read-only is found out before an entry is needed, named, and used again as soon
// as it can be.
func TestNoRoom(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS} {
		j, f, path := withFaults(t, 0)
		mustAppend(t, j, "before")
		f.write.Store(&cause)
		f.create.Store(&cause)
		_, err := j.Reserve(10)
		o := outage.Of(err)
		if o == nil || o.Dependency != outage.Journal || !errors.Is(err, cause) {
			t.Errorf("%v: got %v", cause, err)
		}
		if err := j.Health(); !errors.Is(err, cause) {
			t.Errorf("%v: health %v", cause, err)
		}
		f.write.Store(nil)
		f.create.Store(nil)
		if err := j.Health(); err != nil {
			t.Errorf("after %v: health %v", cause, err)
		}
		mustAppend(t, j, "after")
		if got := bodies(mustOpen(t, path)); got != "before after" {
			t.Errorf("%v: %q", cause, got)
		}
	}
}

// Room that was given is there when the disk is full: the blocks are the file's.
func TestRoomLasts(t *testing.T) {
	j, f, path := withFaults(t, 0)
	body := strings.Repeat("x", journal.MaxEntry)
	room, err := j.Reserve(len(body))
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	full := error(syscall.ENOSPC)
	f.create.Store(&full)
	if _, err := room.Append([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || after.Size() != before.Size() {
		t.Errorf("the file grew from %d to %d bytes, %v", before.Size(), after.Size(), err)
	}
}

// A write or fsync that fails behind the reservation costs no entry: all go to a new file, at once or with
// the next room.
func TestFailedWriteIsMadeGood(t *testing.T) {
	eio := error(syscall.EIO)
	for what, fault := range map[string]func(*faults) *atomic.Pointer[error]{
		"write": func(f *faults) *atomic.Pointer[error] { return &f.write },
		"fsync": func(f *faults) *atomic.Pointer[error] { return &f.sync },
	} {
		j, f, path := withFaults(t, 0)
		mustAppend(t, j, "one")
		room, err := j.Reserve(10)
		if err != nil {
			t.Fatal(err)
		}
		fault(f).Store(&eio)
		if _, err := room.Append([]byte("two")); !errors.Is(err, eio) || outage.Of(err) == nil {
			t.Errorf("%s: got %v", what, err)
		}
		fault(f).Store(nil)
		mustAppend(t, j, "three")
		if got := bodies(mustOpen(t, path)); got != "one two three" {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// The file stays within its bound, and is used again once entries are removed.
func TestBound(t *testing.T) {
	j, _, path := withFaults(t, 4*journal.Chunk)
	body := strings.Repeat("x", 50_000)
	var ids []uint64
	for range 100 {
		room, err := j.Reserve(len(body))
		if err != nil {
			break
		}
		id, err := room.Append([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if n := len(ids); n < 10 || n > 30 {
		t.Fatalf("%d entries in four chunks", n)
	}
	for _, id := range ids[1:] {
		j.Remove(id)
	}
	for range 50 { // one entry stays, so only a new file makes room
		j.Remove(mustAppend(t, j, body))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 6*journal.Chunk {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

// A file that was removed from outside is made again before anything is promised.
func TestRemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	mustAppend(t, j, "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "two")
	if got := bodies(mustOpen(t, path)); got != "one two" {
		t.Errorf("%q", got)
	}
}

// Many at once share fsyncs, and none is lost or read twice.
func TestAtOnce(t *testing.T) {
	j, f, path := withFaults(t, 0)
	const callers, each = 32, 20
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for n := range each {
				room, err := j.Reserve(100)
				if err != nil {
					t.Error(err)
					return
				}
				id, err := room.Append(fmt.Appendf(nil, "%d/%d", c, n))
				if err != nil {
					t.Error(err)
				}
				if n%2 == 0 {
					j.Remove(id)
				}
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, e := range j.Entries() {
		seen[string(e.Body)] = true
	}
	if len(seen) != callers*each/2 {
		t.Errorf("%d entries", len(seen))
	}
	for _, e := range mustOpen(t, path).Entries() {
		delete(seen, string(e.Body))
	}
	if len(seen) != 0 {
		t.Errorf("%d entries did not come back", len(seen))
	}
	t.Logf("%d fsyncs for %d entries", f.syncs.Load(), callers*each)
}

func TestClosed(t *testing.T) {
	j := mustOpen(t, filepath.Join(t.TempDir(), "journal"))
	room, err := j.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := room.Append([]byte("late")); err == nil {
		t.Error("appended to a closed journal")
	}
	if _, err := j.Reserve(1); err == nil {
		t.Error("room in a closed journal")
	}
}
