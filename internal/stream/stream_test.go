package stream_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/audit"
	"culvert/internal/stream"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// quick is a timing for tests: what is waited for comes soon, and nothing is given up soon.
func quick() stream.Timing {
	return stream.Timing{
		Poll: 5 * time.Millisecond, Timeout: 2 * time.Second, First: 5 * time.Millisecond, Longest: 20 * time.Millisecond,
		Window: 50, Settle: 20 * time.Millisecond, Checkpoint: time.Hour,
	}
}

// MustLog opens an audit log that the test's end closes.
func MustLog(t testing.TB) *audit.Log {
	t.Helper()
	l, err := audit.Open(audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), Node: "node-a", SegmentBytes: 8 << 10})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// MustAppend appends n records.
func MustAppend(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for range n {
		_, err := l.Append(t.Context(), audit.Record{
			Action: "vault.data.read", Phase: audit.Access, Result: audit.Denied, ActorID: "key_1", ObjectName: "a \"name\"\n",
		})
		must(t, err)
	}
}

// MustStart starts streams that the test's end closes.
func MustStart(t testing.TB, l *audit.Log, dir string, specs ...stream.Spec) *stream.Streams {
	t.Helper()
	s, err := stream.Start(stream.Config{Log: l, Dir: dir, Streams: specs, Timing: quick()})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// caughtUp waits until everything is acknowledged.
func caughtUp(t testing.TB, s *stream.Streams, l *audit.Log) {
	t.Helper()
	eventually(t, "caught up", func() bool {
		return !slices.ContainsFunc(s.Statuses(time.Now()), func(st stream.Status) bool { return st.Next < l.Size() || st.State != stream.Delivering })
	})
}

// entry is what tests look at of what was sent.
type entry struct {
	Index      *uint64 `json:"index"`
	Node       string  `json:"node"`
	Leaf       string  `json:"leaf_hash"`
	Size       uint64  `json:"size"`
	Checkpoint string  `json:"checkpoint"`
	raw        []byte
}

// MustEntries reads JSON lines.
func MustEntries(t testing.TB, text []byte) []entry {
	t.Helper()
	var all []entry
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := entry{raw: bytes.Clone(lines.Bytes())}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("not JSON: %q", lines.Text())
		}
		all = append(all, e)
	}
	must(t, lines.Err())
	return all
}

// wantAll is the check of at least once, in order: each index below the end is there, and the first appearance of one
// is behind those of all lower ones. It returns how many came more than once.
func wantAll(t testing.TB, indices []uint64, end uint64) (again int) {
	t.Helper()
	next := uint64(0)
	for i, index := range indices {
		switch {
		case index == next:
			next++
		case index > next:
			t.Fatalf("entry %d is record %d, and %d did not come before", i, index, next)
		default:
			again++
		}
	}
	if next != end {
		t.Fatalf("got records up to %d, want up to %d", next, end)
	}
	return again
}

func indices(entries []entry) []uint64 {
	var all []uint64
	for _, e := range entries {
		if e.Index != nil {
			all = append(all, *e.Index)
		}
	}
	return all
}

// TestFileSurvivesRotation: whatever is done to the file, each record is in one of them, once, in order.
func TestFileSurvivesRotation(t *testing.T) {
	l, dir := MustLog(t), t.TempDir()
	path := filepath.Join(dir, "audit.log")
	s := MustStart(t, l, filepath.Join(dir, "streams"), stream.Spec{Name: "disk", Kind: stream.File, Path: path, Batch: 7})
	var text []byte
	for i := range 4 {
		MustAppend(t, l, 40)
		caughtUp(t, s, l)
		now, err := os.ReadFile(path)
		must(t, err)
		text = append(text, now...)
		switch i {
		case 0: // renamed
			must(t, os.Rename(path, path+".1"))
		case 1: // copied and cut
			must(t, os.Truncate(path, 0))
		case 2: // removed
			must(t, os.Remove(path))
		}
	}
	if again := wantAll(t, indices(MustEntries(t, text)), l.Size()); again != 0 {
		t.Errorf("%d records came twice", again)
	}
}

// TestFileThatCannotBeWritten: a FIFO without a reader, a directory that is not there and one in the file's place
// stall a stream, say so, and are over when they are over; half a line that a crash left is gone then.
func TestFileThatCannotBeWritten(t *testing.T) {
	l, dir := MustLog(t), t.TempDir()
	path := filepath.Join(dir, "mount", "audit.log")
	s := MustStart(t, l, filepath.Join(dir, "streams"), stream.Spec{Name: "disk", Kind: stream.File, Path: path})
	stalled := func(what string) {
		t.Helper()
		MustAppend(t, l, 5)
		eventually(t, what, func() bool {
			st := s.Statuses(time.Now().Add(time.Minute))[0]
			return st.State == stream.Stalled && st.Reason == stream.ReasonFile && st.Next == 0 && st.Lag >= time.Minute
		})
		if s.Health() == nil {
			t.Errorf("%s: healthy", what)
		}
	}
	stalled("no directory")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	must(t, syscall.Mkfifo(path, 0o600))
	stalled("FIFO")
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, []byte("{\"v\":1,\"index\":0,\"ti"), 0o600))
	caughtUp(t, s, l)
	if err := s.Health(); err != nil {
		t.Errorf("recovered: %v", err)
	}
	text, err := os.ReadFile(path)
	must(t, err)
	wantAll(t, indices(MustEntries(t, text)), l.Size())
}

// TestEntriesLeadToTheCheckpoint: who has what was sent computes the root that the node signed.
func TestEntriesLeadToTheCheckpoint(t *testing.T) {
	l, dir := MustLog(t), t.TempDir()
	path := filepath.Join(dir, "audit.log")
	MustAppend(t, l, 20)
	MustNotary(t, l)
	s := MustStart(t, l, filepath.Join(dir, "streams"), stream.Spec{Name: "disk", Kind: stream.File, Path: path})
	var entries []entry
	eventually(t, "checkpoint", func() bool {
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 || text[len(text)-1] != '\n' {
			return false
		}
		entries = MustEntries(t, text)
		return slices.ContainsFunc(entries, func(e entry) bool { return e.Checkpoint != "" })
	})
	caughtUp(t, s, l)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range at {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	for _, e := range entries {
		if e.Checkpoint != "" {
			root, err := tlog.TreeHash(int64(e.Size), reader)
			must(t, err)
			if !bytes.Contains([]byte(e.Checkpoint), []byte(fmt.Sprintf("\n%d\n%s\n", e.Size, root))) {
				t.Errorf("the checkpoint is of another tree than %d %s:\n%s", e.Size, root, e.Checkpoint)
			}
			return
		}
		line := append(e.raw[:bytes.LastIndex(e.raw, []byte(`,"leaf_hash":`))], '}')
		leaf := tlog.RecordHash(line)
		if got := base64.StdEncoding.EncodeToString(leaf[:]); got != e.Leaf {
			t.Fatalf("record %d: leaf %s, want %s", *e.Index, e.Leaf, got)
		}
		hashes, err := tlog.StoredHashes(int64(*e.Index), line, reader)
		must(t, err)
		stored = append(stored, hashes...)
	}
	t.Error("no checkpoint")
}

// TestRestartGoesOn: a stream that ends and starts goes on where it was, one that knows more than the log has begins
// at its end, and a place that is none is refused.
func TestRestartGoesOn(t *testing.T) {
	l, dir := MustLog(t), t.TempDir()
	path, places := filepath.Join(dir, "audit.log"), filepath.Join(dir, "streams")
	spec := stream.Spec{Name: "disk", Kind: stream.File, Path: path}
	for range 3 {
		MustAppend(t, l, 10)
		s := MustStart(t, l, places, spec)
		caughtUp(t, s, l)
		must(t, s.Close())
	}
	text, err := os.ReadFile(path)
	must(t, err)
	if again := wantAll(t, indices(MustEntries(t, text)), l.Size()); again != 0 {
		t.Errorf("%d records came twice", again)
	}
	place := filepath.Join(places, "disk.json")
	must(t, os.WriteFile(place, []byte(`{"v":1,"next":5000}`), 0o600))
	end := l.Size()
	s := MustStart(t, l, places, spec)
	if got, ok := s.Needed(); !ok || got != end {
		t.Errorf("needed from %d, want the end, %d", got, end)
	}
	MustAppend(t, l, 3)
	caughtUp(t, s, l)
	must(t, s.Close())
	text, err = os.ReadFile(path)
	must(t, err)
	wantAll(t, indices(MustEntries(t, text)), l.Size())
	must(t, os.WriteFile(place, []byte(`{"v":2}`), 0o600))
	if _, err := stream.Start(stream.Config{Log: l, Dir: places, Streams: []stream.Spec{spec}}); err == nil {
		t.Error("a place of another version was taken")
	}
}

// TestSpecsAreChecked: what would be without effect, or in clear on the wire, is refused; each refusal has a twin.
func TestSpecsAreChecked(t *testing.T) {
	file := stream.Spec{Name: "a", Kind: stream.File, Path: "/var/log/a"}
	syslog := stream.Spec{Name: "a", Kind: stream.Syslog, Address: "siem.example.com:6514"}
	local := stream.Spec{Name: "a", Kind: stream.Syslog, Address: "127.0.0.1:514", Plain: true}
	http := stream.Spec{Name: "a", Kind: stream.HTTP, URL: "https://siem.example.com/in"}
	near := stream.Spec{Name: "a", Kind: stream.HTTP, URL: "http://127.0.0.1:9/in"}
	for _, s := range []stream.Spec{file, syslog, local, http, near} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for name, tc := range map[string]struct {
		of     stream.Spec
		change func(*stream.Spec)
	}{
		"name":            {file, func(s *stream.Spec) { s.Name = "A b" }},
		"no type":         {file, func(s *stream.Spec) { s.Kind, s.Path = "", "" }},
		"relative":        {file, func(s *stream.Spec) { s.Path = "a" }},
		"batch":           {file, func(s *stream.Spec) { s.Batch = -1 }},
		"file with url":   {file, func(s *stream.Spec) { s.URL = "https://a.example" }},
		"no port":         {syslog, func(s *stream.Spec) { s.Address = "siem.example.com" }},
		"facility":        {syslog, func(s *stream.Spec) { s.Facility = 24 }},
		"in clear":        {syslog, func(s *stream.Spec) { s.Plain = true }},
		"plain with TLS":  {local, func(s *stream.Spec) { s.CAFile = "/ca.pem" }},
		"half a pair":     {syslog, func(s *stream.Spec) { s.CertFile = "/cert.pem" }},
		"array":           {syslog, func(s *stream.Spec) { s.Format = stream.Array }},
		"http in clear":   {http, func(s *stream.Spec) { s.URL = "http://siem.example.com/in" }},
		"user":            {http, func(s *stream.Spec) { s.URL = "https://a:b@siem.example.com/in" }},
		"query":           {http, func(s *stream.Spec) { s.URL = "https://siem.example.com/in?token=1" }},
		"other scheme":    {http, func(s *stream.Spec) { s.URL = "ftp://siem.example.com/in" }},
		"structured":      {http, func(s *stream.Spec) { s.Format = stream.Structured }},
		"no such format":  {http, func(s *stream.Spec) { s.Format = "xml" }},
		"metadata":        {http, func(s *stream.Spec) { s.URL = "https://169.254.169.254/" }},
		"http with plain": {http, func(s *stream.Spec) { s.Plain = true }},
	} {
		s := tc.of
		tc.change(&s)
		if s.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// received collects what a receiver got.
type received struct {
	mu      sync.Mutex
	indices []uint64
}

func (r *received) add(indices ...uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.indices = append(r.indices, indices...)
}

func (r *received) all() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.indices)
}
