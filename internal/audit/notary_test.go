package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

// signer is a key pair of a test.
type signer struct {
	note.Signer
	public  string
	earlier []audit.Signer
}

func (s signer) VerifierKey() string { return s.public }

func (s signer) Earlier() []audit.Signer { return s.earlier }

// keys are what somebody has who has the public key.
func (s signer) keys(t testing.TB) *audit.Keys {
	t.Helper()
	return audit.NewKeys(s.verifier(t))
}

// next is the signer of a key that takes over from this one.
func (s signer) next(t testing.TB) signer {
	t.Helper()
	next := newSigner(t)
	next.earlier = append(slices.Clone(s.earlier), s)
	return next
}

func newSigner(t testing.TB) signer {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "culvert-audit-test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer{Signer: s, public: public}
}

func (s signer) verifier(t testing.TB) note.Verifier {
	t.Helper()
	v, err := note.NewVerifier(s.public)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shelf keeps checkpoints in memory: a store that can be away. The one in etcd has tests of its own.
type shelf struct {
	mu     sync.Mutex
	newest map[string][]byte
	away   error
}

func (s *shelf) Put(_ context.Context, node string, _ time.Time, signed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return s.away
	}
	if s.newest == nil {
		s.newest = map[string][]byte{}
	}
	s.newest[node] = signed
	return nil
}

func (s *shelf) Newest(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.newest), s.away
}

func (s *shelf) Nodes(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{"node-b", "node-a"}, s.away
}

func (s *shelf) of(node string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[node]
}

func (s *shelf) set(away error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// MustNotary signs for a log; the log's end is after its.
func MustNotary(t testing.TB, l *audit.Log, s signer, store audit.CheckpointStore) *audit.Notary {
	t.Helper()
	n, err := audit.StartNotary(audit.NotaryConfig{
		Log: l, Store: store, Every: tick, PeersEvery: tick,
		Signer: func(context.Context) (audit.Signer, error) { return s, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// covered makes a log with a checkpoint over all of its records, and returns the checkpoint.
func covered(t testing.TB, c audit.Config, s signer, store *shelf, records ...string) []byte {
	t.Helper()
	l := MustOpen(t, c)
	n := MustNotary(t, l, s, store)
	for _, r := range records {
		MustAppend(t, l, named(r))
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	MustClose(t, l)
	signed, err := os.ReadFile(filepath.Join(c.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestCheckpointCoversTheLog(t *testing.T) {
	s, store, dir := newSigner(t), &shelf{}, t.TempDir()
	signed := covered(t, audit.Config{Dir: dir}, s, store, "one", "two")
	c, err := audit.OpenCheckpoint(signed, s.keys(t))
	must(t, err)
	size, root := treeOf(t, dir)
	if c.Node != "node-a" || c.Size != size || c.Root != root || c.At.IsZero() {
		t.Errorf("checkpoint: got %+v, want %d records with root %v", c, size, root)
	}
	if diff := cmp.Diff([]string{"node-a", "node-b"}, c.Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if !bytes.Equal(store.of("node-a"), signed) {
		t.Error("the store has another checkpoint")
	}
	if key, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || string(key) != s.public+"\n" {
		t.Errorf("public key: got %q, %v", key, err)
	}

	// Case: it does not pass under another key, nor changed anywhere.
	if _, err := audit.OpenCheckpoint(signed, newSigner(t).keys(t)); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("under another key: got %v", err)
	}
	for i := range signed {
		if i == len(signed)-3 {
			continue // the last digit of the signature in base64 has two bits that mean nothing
		}
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if _, err := audit.OpenCheckpoint(changed, s.keys(t)); err == nil {
			t.Errorf("byte %d changed: it opens", i)
		}
	}
}

func TestCheckpointsWaitForTheStore(t *testing.T) {
	s, store, dir := newSigner(t), &shelf{}, t.TempDir()
	l := MustOpen(t, audit.Config{Dir: dir})
	n := MustNotary(t, l, s, store)
	eventually(t, "the first checkpoint", func() bool { return store.of("node-a") != nil })
	store.set(errors.New("away"))
	index := MustAppend(t, l, named("meanwhile"))
	eventually(t, "a fault", func() bool { return n.Health() != nil })
	store.set(nil)
	eventually(t, "the checkpoint of what came meanwhile", func() bool {
		c, err := audit.OpenCheckpoint(store.of("node-a"), s.keys(t))
		return err == nil && c.Size > index && n.Health() == nil
	})
}

// Records that a checkpoint covers are never written over, whatever is missing of them: the log goes on behind.
func TestCoveredRecordsAreNotGivenAgain(t *testing.T) {
	for what, take := range map[string]func(path string, content []byte) error{
		"cut at a record": func(path string, content []byte) error {
			return os.Truncate(path, int64(bytes.IndexByte(content, '\n'))+1)
		},
		"cut in a record": func(path string, content []byte) error { return os.Truncate(path, int64(len(content))-10) },
		"damaged at the end": func(path string, content []byte) error {
			return os.WriteFile(path, append(bytes.Clone(content[:len(content)-9]), "\x00\x00\x00\n"...), 0o600)
		},
		"removed": func(path string, _ []byte) error { return os.Remove(path) },
	} {
		s, store, dir := newSigner(t), &shelf{}, t.TempDir()
		covered(t, audit.Config{Dir: dir}, s, store, "one", "two")
		path := onlySegment(t, dir)
		content, err := os.ReadFile(path)
		must(t, err)
		must(t, take(path, content))
		damaged, _ := os.ReadFile(path)
		covered(t, audit.Config{Dir: dir}, s, store, "after")
		if left, _ := os.ReadFile(path); !bytes.Equal(left, damaged) {
			t.Errorf("%s: the damaged segment was changed", what)
		}
		if got := requests(from(t, dir, 3)); !slices.Equal(got, []string{"audit.log.cut records_missing", "after"}) {
			t.Errorf("%s: records behind the checkpoint: got %v", what, got)
		}
	}
}

// contradictions lists what the notary found, with the nodes.
func contradictions(t *testing.T, dir string) (found []string) {
	t.Helper()
	for _, r := range MustRead(t, dir, 0) {
		if r.Action == "audit.checkpoint.contradicted" {
			found = append(found, r.Subject+" "+r.Code)
		}
	}
	return found
}

func TestNotaryNoticesAnotherHistory(t *testing.T) {
	s := newSigner(t)
	// Case 1: an older state of the directory was brought back.
	store, dir, older := &shelf{}, t.TempDir(), t.TempDir()
	covered(t, audit.Config{Dir: dir}, s, store, "one")
	must(t, os.CopyFS(filepath.Join(older, "copy"), os.DirFS(dir)))
	covered(t, audit.Config{Dir: dir}, s, store, "two", "three", "four")
	covered(t, audit.Config{Dir: filepath.Join(older, "copy")}, s, store, "another")
	if got := contradictions(t, filepath.Join(older, "copy")); !slices.Contains(got, "node-a shorter") && !slices.Contains(got, "node-a forked") {
		t.Errorf("older state: found %v", got)
	}

	// Case 2: a record was changed and the hashes made to fit.
	store, dir = &shelf{}, t.TempDir()
	covered(t, audit.Config{Dir: dir}, s, store, "one", "two")
	path := onlySegment(t, dir)
	content, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, bytes.Replace(content, []byte(`"one"`), []byte(`"eno"`), 1), 0o600))
	must(t, os.Remove(filepath.Join(dir, "hashes")))
	covered(t, audit.Config{Dir: dir}, s, store, "after")
	if got := requests(MustRead(t, dir, 3)); !slices.Contains(got, "audit.log.changed unlike_checkpoint") {
		t.Errorf("changed record: got %v", got)
	}
	if got := contradictions(t, dir); !slices.Contains(got, "node-a forked") {
		t.Errorf("changed record: found %v", got)
	}

	// Case 3: a checkpoint that the key has not signed.
	store, dir = &shelf{}, t.TempDir()
	signed := covered(t, audit.Config{Dir: dir}, s, store, "one")
	must(t, os.WriteFile(filepath.Join(dir, "checkpoint"), []byte(strings.Replace(string(signed), "— ", "— x", 1)), 0o600))
	covered(t, audit.Config{Dir: dir}, s, store, "after")
	if got := contradictions(t, dir); !slices.Equal(got, []string{"node-a bad_signature"}) {
		t.Errorf("forged checkpoint: found %v", got)
	}

	// The twin: a directory as it was left.
	store, dir = &shelf{}, t.TempDir()
	covered(t, audit.Config{Dir: dir}, s, store, "one")
	covered(t, audit.Config{Dir: dir}, s, store, "two")
	if got := contradictions(t, dir); got != nil {
		t.Errorf("nothing was changed: found %v", got)
	}
}

func TestNodesRecordEachOthersCheckpoints(t *testing.T) {
	s, store, other, dir := newSigner(t), &shelf{}, t.TempDir(), t.TempDir()
	first := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, store, "one")
	l := MustOpen(t, audit.Config{Dir: dir})
	n := MustNotary(t, l, s, store)
	eventually(t, "the other's checkpoint", func() bool {
		return slices.ContainsFunc(MustRead(t, dir, 0), func(r audit.Record) bool {
			return r.Action == "audit.checkpoint.seen" && r.Subject == "node-b" && r.Checkpoint == string(first)
		})
	})
	second := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, store, "two")
	eventually(t, "the next one", func() bool {
		return slices.ContainsFunc(MustRead(t, dir, 0), func(r audit.Record) bool { return r.Checkpoint == string(second) })
	})
	// The other goes back to where it was.
	must(t, store.Put(t.Context(), "node-b", time.Now(), first))
	eventually(t, "the contradiction", func() bool { return slices.Contains(contradictions(t, dir), "node-b shorter") })
	must(t, n.Close())
}

// TestPeersAreRemembered: a node whose log went back while this one was stopped is found by the next start.
func TestPeersAreRemembered(t *testing.T) {
	s, store, other, dir := newSigner(t), &shelf{}, t.TempDir(), t.TempDir()
	first := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, store, "one")
	second := covered(t, audit.Config{Dir: other, Node: "node-b"}, s, store, "two")
	covered(t, audit.Config{Dir: dir}, s, store, "one")
	if got := contradictions(t, dir); got != nil {
		t.Fatalf("nothing is wrong yet: found %v", got)
	}
	// The twin: the same checkpoint is neither contradicted nor recorded again.
	covered(t, audit.Config{Dir: dir}, s, store, "two")
	seen, err := audit.SeenCheckpoints(dir)
	if must(t, err); len(seen["node-b"]) != 1 || !bytes.Equal(seen["node-b"][0].Note, second) {
		t.Errorf("recorded: got %v", seen)
	}
	must(t, store.Put(t.Context(), "node-b", time.Now(), first))
	covered(t, audit.Config{Dir: dir}, s, store, "three")
	if got := contradictions(t, dir); !slices.Equal(got, []string{"node-b shorter"}) {
		t.Errorf("gone back: found %v", got)
	}
}

// A checkpoint that claims more records than there can be does not make the log count to it.
func TestAbsurdCheckpoint(t *testing.T) {
	s, store, dir := newSigner(t), &shelf{}, t.TempDir()
	signed := covered(t, audit.Config{Dir: dir}, s, store, "one")
	absurd := strings.Replace(string(signed), "\n2\n", "\n9000000000000000000\n", 1)
	must(t, os.WriteFile(filepath.Join(dir, "checkpoint"), []byte(absurd), 0o600))
	covered(t, audit.Config{Dir: dir}, s, store, "after")
	if got := requests(MustRead(t, dir, 2)); !slices.Contains(got, "audit.log.changed unlike_checkpoint") || !slices.Contains(got, "after") {
		t.Errorf("records: got %v", got)
	}
}
