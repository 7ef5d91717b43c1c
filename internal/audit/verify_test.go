package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"culvert/internal/audit"
)

// mustVerify verifies a log, with more checkpoints than the one beside it.
func mustVerify(t testing.TB, dir string, s signer, kept ...[]byte) audit.Report {
	t.Helper()
	c := audit.VerifyConfig{Dir: dir, Keys: s.keys(t)}
	for i, k := range kept {
		c.Checkpoints = append(c.Checkpoints, audit.Signed{From: fmt.Sprintf("kept %d", i), Note: k})
	}
	r, err := audit.Verify(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// codes lists the codes of what was found.
func codes(r audit.Report) (all []string) {
	for _, f := range r.Findings {
		all = append(all, f.Code)
	}
	return all
}

// history makes a log of several segments that was covered three times, and returns the checkpoints.
func history(t testing.TB, dir string, s signer) (kept [3][]byte) {
	t.Helper()
	store := &shelf{}
	for i := range kept {
		var records []string
		for r := range 7 {
			records = append(records, fmt.Sprintf("%d-%d", i, r))
		}
		kept[i] = covered(t, audit.Config{Dir: dir, SegmentBytes: 900}, s, store, records...)
	}
	return kept
}

func TestVerifyFindsNothingWrong(t *testing.T) {
	s, dir := newSigner(t), t.TempDir()
	kept := history(t, dir, s)
	r := mustVerify(t, dir, s, kept[0], kept[1])
	if len(r.Findings) > 0 || len(r.Notes) > 0 || r.Records != 22 || r.Size != 22 || r.Proven != 22 || r.Checkpoints != 3 || r.Node != "node-a" {
		t.Errorf("a whole log: got %+v", r)
	}
	if !slices.Equal(r.Nodes, []string{"node-a", "node-b"}) {
		t.Errorf("nodes: got %v", r.Nodes)
	}

	// Case: in use, with records that are not signed yet.
	l := MustOpen(t, audit.Config{Dir: dir})
	MustAppend(t, l, named("not signed"))
	if r := mustVerify(t, dir, s, kept[:]...); len(r.Findings) > 0 || r.Size != 23 || r.Proven != 22 || len(r.Notes) != 1 {
		t.Errorf("in use: got %+v", r)
	}
}

// crime is what somebody with the disk does to the segments of a log; each is drawn at random.
type crime struct {
	name   string
	commit func(t *rapid.T, dir string, names []string)
}

func rewrite(t *rapid.T, path string, change func(content []byte) []byte) {
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path) // it may be a link to the original
	}
	if err == nil {
		err = os.WriteFile(path, change(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// link makes a directory with the same files, which are not to be written to.
func link(t *rapid.T, from, to string) {
	all, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, entry := range all {
		if err == nil {
			err = os.Link(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lines splits a segment; a draw of one of them is never of an empty one.
func lines(content []byte) [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(content, []byte{'\n'}), []byte{'\n'})
}

func crimes() []crime {
	one := func(t *rapid.T, dir string, names []string) string {
		return filepath.Join(dir, rapid.SampledFrom(names).Draw(t, "segment"))
	}
	return []crime{
		{"a byte changed", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func(b []byte) []byte {
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
				return b
			})
		}},
		{"a byte removed", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func(b []byte) []byte {
				at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
				return slices.Delete(b, at, at+1)
			})
		}},
		{"a byte inserted", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func(b []byte) []byte {
				at := rapid.IntRange(0, len(b)).Draw(t, "at")
				return slices.Insert(b, at, rapid.Byte().Draw(t, "byte"))
			})
		}},
		{"a record removed", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func(b []byte) []byte {
				all := lines(b)
				at := rapid.IntRange(0, len(all)-1).Draw(t, "line")
				return bytes.Join(slices.Delete(all, at, at+1), nil)
			})
		}},
		{"a record twice", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func(b []byte) []byte {
				all := bytes.SplitAfter(b, []byte{'\n'})
				again := rapid.IntRange(0, len(all)-2).Draw(t, "line")
				return bytes.Join(slices.Insert(all, rapid.IntRange(0, len(all)-1).Draw(t, "at"), all[again]), nil)
			})
		}},
		{"two records swapped", func(t *rapid.T, dir string, names []string) {
			rewrite(t, filepath.Join(dir, names[1]), func(b []byte) []byte {
				all := bytes.SplitAfter(b, []byte{'\n'})
				at := rapid.IntRange(0, len(all)-3).Draw(t, "line")
				all[at], all[at+1] = all[at+1], all[at]
				return bytes.Join(all, nil)
			})
		}},
		{"a segment removed", func(t *rapid.T, dir string, names []string) {
			if err := os.Remove(one(t, dir, names)); err != nil {
				t.Fatal(err)
			}
		}},
		{"two segments swapped", func(t *rapid.T, dir string, names []string) {
			at := rapid.IntRange(0, len(names)-2).Draw(t, "segment")
			a, b := filepath.Join(dir, names[at]), filepath.Join(dir, names[at+1])
			for _, move := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a suffix cut", func(t *rapid.T, dir string, names []string) {
			at := rapid.IntRange(0, len(names)-1).Draw(t, "segment")
			for _, name := range names[at+1:] {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			rewrite(t, filepath.Join(dir, names[at]), func(b []byte) []byte { return b[:rapid.IntRange(0, len(b)-1).Draw(t, "at")] })
		}},
		{"something behind the end of a segment", func(t *rapid.T, dir string, names []string) {
			other, err := os.ReadFile(one(t, dir, names))
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, filepath.Join(dir, names[rapid.IntRange(0, len(names)-2).Draw(t, "of")]), func(b []byte) []byte {
				return append(b, other[:rapid.IntRange(1, len(other)).Draw(t, "bytes")]...)
			})
		}},
		{"half a line at the end of the log", func(t *rapid.T, dir string, names []string) {
			rewrite(t, filepath.Join(dir, names[len(names)-1]), func(b []byte) []byte {
				return append(b, b[:rapid.IntRange(1, bytes.IndexByte(b, '\n')).Draw(t, "bytes")]...)
			})
		}},
		{"a segment emptied", func(t *rapid.T, dir string, names []string) {
			rewrite(t, one(t, dir, names), func([]byte) []byte { return nil })
		}},
		{"a segment renamed", func(t *rapid.T, dir string, names []string) {
			to := filepath.Join(dir, fmt.Sprintf("%020d.jsonl", rapid.IntRange(0, 40).Draw(t, "index")))
			from := one(t, dir, names)
			if _, err := os.Stat(to); err == nil {
				to += ".aside"
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}},
		{"a segment that is a directory", func(t *rapid.T, dir string, names []string) {
			path := one(t, dir, names)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the last record another one", func(t *rapid.T, dir string, names []string) {
			rewrite(t, filepath.Join(dir, names[len(names)-1]), func(b []byte) []byte {
				return append(b[:len(b)-2], []byte(`,"revision":`+fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "revision"))+"}\n")...)
			})
		}},
	}
}

// TestVerifyFindsEveryCrime: whatever is done to the segments is found, by who has the directory alone, by who kept
// an earlier checkpoint, and whether or not the hash file was taken away too.
func TestVerifyFindsEveryCrime(t *testing.T) {
	s, original := newSigner(t), t.TempDir()
	kept := history(t, original, s)
	names := MustList(t, original)
	if len(names) < 4 {
		t.Fatalf("segments: got %v, want several", names)
	}
	key, base, count := s.keys(t), t.TempDir(), 0
	try := func(t *rapid.T, c crime) {
		count++
		dir := filepath.Join(base, fmt.Sprint(count))
		link(t, original, dir)
		defer func() { _ = os.RemoveAll(dir) }()
		c.commit(t, dir, names)
		if rapid.Bool().Draw(t, "without hashes") {
			if err := os.Remove(filepath.Join(dir, "hashes")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := audit.Verify(audit.VerifyConfig{Dir: dir, Keys: key, Idle: true, Checkpoints: []audit.Signed{{From: "kept", Note: kept[0]}}})
		if err != nil || len(r.Findings) == 0 {
			t.Fatalf("%s: not found: %+v, %v", c.name, r, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		// Several of them, so that in a hundred draws each is tried some thirty times.
		all := crimes()
		first := rapid.IntRange(0, len(all)-1).Draw(t, "crime")
		for i := 0; i < len(all); i += 4 {
			try(t, all[(first+i)%len(all)])
		}
	})
}

// FuzzVerify lets the fuzzer edit one segment as it likes.
func FuzzVerify(f *testing.F) {
	s, original := newSigner(f), f.TempDir()
	history(f, original, s)
	name := MustList(f, original)[1]
	content, err := os.ReadFile(filepath.Join(original, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content[:len(content)-1])
	f.Add(bytes.Replace(content, []byte("allowed"), []byte("denied"), 1))
	f.Add(append(bytes.Clone(content), content...))
	f.Add([]byte{})
	key := s.keys(f)
	f.Fuzz(func(t *testing.T, edited []byte) {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(original)))
		must(t, os.WriteFile(filepath.Join(dir, name), edited, 0o600))
		r, err := audit.Verify(audit.VerifyConfig{Dir: dir, Keys: key, Idle: true})
		must(t, err)
		if same := bytes.Equal(edited, content); same != (len(r.Findings) == 0) {
			t.Fatalf("edited %v: found %+v", !same, r.Findings)
		}
	})
}

func TestVerifySaysWhere(t *testing.T) {
	s, dir := newSigner(t), t.TempDir()
	kept := history(t, dir, s)
	names := MustList(t, dir)
	path := filepath.Join(dir, names[1])
	content, err := os.ReadFile(path)
	must(t, err)

	// Case 1: one record edited: which, and between which checkpoints.
	must(t, os.WriteFile(path, bytes.Replace(content, []byte("allowed"), []byte("denied"), 1), 0o600))
	r := mustVerify(t, dir, s, kept[:]...)
	first := strings.TrimLeft(strings.TrimSuffix(names[1], ".jsonl"), "0")
	if !slices.Equal(codes(r), []string{audit.FoundChanged, audit.FoundChanged}) || fmt.Sprint(r.Findings[1].Index) != first {
		t.Errorf("edited: got %+v, want record %s", r.Findings, first)
	}

	// Case 2: a segment gone: which records; the others are proven all the same.
	must(t, os.Remove(path))
	if r := mustVerify(t, dir, s, kept[:]...); !slices.Equal(codes(r), []string{audit.FoundMissing}) || r.Proven != 22 {
		t.Errorf("removed: got %+v", r)
	}
	must(t, os.WriteFile(path, content, 0o600))

	// Case 3: a hash file that somebody changed does no harm and is told.
	hashes, err := os.ReadFile(filepath.Join(dir, "hashes"))
	must(t, err)
	hashes[3] ^= 1
	must(t, os.WriteFile(filepath.Join(dir, "hashes"), hashes, 0o600))
	if r := mustVerify(t, dir, s); len(r.Findings) > 0 || len(r.Notes) != 1 {
		t.Errorf("damaged hash file: got %+v", r)
	}
}

// TestVerifyNeedsTheCheckpoint: without one nothing is proven, and one that somebody else has signed, or another
// node, is none.
func TestVerifyNeedsTheCheckpoint(t *testing.T) {
	s, dir, other := newSigner(t), t.TempDir(), t.TempDir()
	kept := history(t, dir, s)
	foreign := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, &shelf{}, "one")
	if r := mustVerify(t, dir, s, foreign); !slices.Equal(codes(r), []string{audit.FoundForged}) {
		t.Errorf("of another node: got %+v", r.Findings)
	}
	if r := mustVerify(t, dir, newSigner(t)); !slices.Contains(codes(r), audit.FoundForged) {
		t.Errorf("another key: got %+v", r.Findings)
	}
	must(t, os.Remove(filepath.Join(dir, "checkpoint")))
	if r := mustVerify(t, dir, s, kept[2]); !slices.Equal(codes(r), []string{audit.FoundUnproven}) || r.Proven != 22 {
		t.Errorf("checkpoint removed: got %+v", r)
	}
	if r := mustVerify(t, dir, s); !slices.Contains(codes(r), audit.FoundUnproven) || r.Proven != 0 {
		t.Errorf("without any checkpoint: got %+v", r)
	}
	if _, err := audit.Verify(audit.VerifyConfig{Dir: t.TempDir(), Keys: s.keys(t)}); err == nil {
		t.Error("an empty directory was verified")
	}
}

// TestVerifyAgainstALaterCheckpoint: a whole older state of the directory is found by who has a later checkpoint.
func TestVerifyAgainstALaterCheckpoint(t *testing.T) {
	s, dir, older := newSigner(t), t.TempDir(), filepath.Join(t.TempDir(), "copy")
	store := &shelf{}
	covered(t, audit.Config{Dir: dir}, s, store, "one")
	must(t, os.CopyFS(older, os.DirFS(dir)))
	later := covered(t, audit.Config{Dir: dir}, s, store, "two")
	if r := mustVerify(t, older, s); len(r.Findings) > 0 {
		t.Errorf("by itself: got %+v", r.Findings)
	}
	if r := mustVerify(t, older, s, later); !slices.Equal(codes(r), []string{audit.FoundCut}) {
		t.Errorf("against the later one: got %+v", r.Findings)
	}
	// It goes on from there, with another history: the log's own record tells, and so does the checkpoint.
	covered(t, audit.Config{Dir: older}, s, store, "another two", "and three")
	if r := mustVerify(t, older, s, later); !slices.Contains(codes(r), audit.FoundChanged) || !slices.Contains(codes(r), audit.FoundRecorded) {
		t.Errorf("gone on: got %+v", r.Findings)
	}
}

func TestSeenCheckpoints(t *testing.T) {
	s, store, other, dir := newSigner(t), &shelf{}, t.TempDir(), t.TempDir()
	first := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, store, "one")
	l := MustOpen(t, audit.Config{Dir: dir})
	n := MustNotary(t, l, s, store)
	eventually(t, "the other's checkpoint", func() bool {
		seen, err := audit.SeenCheckpoints(dir)
		return err == nil && len(seen["node-b"]) == 1 && bytes.Equal(seen["node-b"][0].Note, first)
	})
	must(t, n.Close())
}
