package audit_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

// witnessed makes a log with a witness file, over all of its records.
func witnessed(t *testing.T, c audit.Config, s signer, store *shelf, path string, records ...string) {
	t.Helper()
	l := MustOpen(t, c)
	n := MustNotary(t, l, s, store)
	w, err := audit.StartFileWitness(audit.WitnessConfig{Log: l, Notary: n, Path: path, Every: tick})
	must(t, err)
	for _, r := range records {
		MustAppend(t, l, named(r))
	}
	must(t, n.Close())
	must(t, w.Close())
	MustClose(t, l)
}

func noted(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return audit.SplitCheckpoints(text)
}

// TestWitnessFindsARewrittenLog: who has the signing key and rewrites a log with all of its checkpoints is found by what
// the file has: by the log itself, and by an auditor.
func TestWitnessFindsARewrittenLog(t *testing.T) {
	s, dir, path := newSigner(t), t.TempDir(), filepath.Join(t.TempDir(), "witness")
	witnessed(t, audit.Config{Dir: dir}, s, &shelf{}, path, "one", "two")
	witnessed(t, audit.Config{Dir: dir}, s, &shelf{}, path, "three")
	all := noted(t, path)
	newest, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if must(t, err); len(all) < 2 || string(all[len(all)-1]) != string(newest) {
		t.Fatalf("the file: got %d checkpoints, the last not the newest", len(all))
	}
	if r := mustVerify(t, dir, s, all...); len(r.Findings) > 0 || r.Checkpoints != len(all)+1 {
		t.Errorf("the twin, as it was written: got %+v", r)
	}
	if got := contradictions(t, dir); got != nil {
		t.Errorf("as it was written: found %v", got)
	}

	rewritten := t.TempDir()
	covered(t, audit.Config{Dir: rewritten}, s, &shelf{}, "one", "another", "three")
	if r := mustVerify(t, rewritten, s); len(r.Findings) > 0 {
		t.Fatalf("by itself: got %+v", r.Findings)
	}
	if r := mustVerify(t, rewritten, s, all...); !slices.Contains(codes(r), audit.FoundChanged) {
		t.Errorf("against the witness: got %+v", r.Findings)
	}
	before, err := os.ReadFile(path)
	must(t, err)
	witnessed(t, audit.Config{Dir: rewritten}, s, &shelf{}, path, "four")
	if got := contradictions(t, rewritten); !slices.Equal(got, []string{"node-a forked"}) {
		t.Errorf("gone on: found %v", got)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has what does not fit: %v", err)
	}
}

// TestWitnessCatchesUp: a file that cannot be written delays nothing, is told, and gets the newest checkpoint later; what
// a crash left of a write is cut.
func TestWitnessCatchesUp(t *testing.T) {
	s, dir := newSigner(t), t.TempDir()
	path := filepath.Join(t.TempDir(), "disk", "witness")
	l := MustOpen(t, audit.Config{Dir: dir})
	n := MustNotary(t, l, s, &shelf{})
	w, err := audit.StartFileWitness(audit.WitnessConfig{Log: l, Notary: n, Path: path, Every: tick})
	must(t, err)
	MustAppend(t, l, named("one"))
	eventually(t, "a fault", func() bool { return w.Health() != nil })
	MustAppend(t, l, named("two"))
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	eventually(t, "no fault", func() bool { return w.Health() == nil })
	must(t, n.Close())
	must(t, w.Close())
	MustClose(t, l)
	whole := noted(t, path)
	must(t, os.WriteFile(path, append(slices.Concat(whole...), "culvert/audit/node-a\n7\nhalf"...), 0o600))
	witnessed(t, audit.Config{Dir: dir}, s, &shelf{}, path, "three")
	all := noted(t, path)
	if len(all) <= len(whole) {
		t.Errorf("checkpoints: got %d, want more than %d", len(all), len(whole))
	}
	for _, signed := range all {
		if _, err := audit.OpenCheckpoint(signed, s.keys(t)); err != nil {
			t.Errorf("the file has %q", signed)
		}
	}
}

// TestVerifyWantsTheWitness: with the key of a witness, a checkpoint that it signed has to fit.
func TestVerifyWantsTheWitness(t *testing.T) {
	s, w, dir := newSigner(t), newSigner(t), t.TempDir()
	first := covered(t, audit.Config{Dir: dir}, s, &shelf{}, "one")
	covered(t, audit.Config{Dir: dir}, s, &shelf{}, "two")
	n, err := note.Open(first, note.VerifierList(s.verifier(t)))
	must(t, err)
	cosigned, err := note.Sign(n, w)
	must(t, err)
	for name, c := range map[string]struct {
		kept []byte
		want string
	}{
		"signed by both":           {cosigned, ""},
		"by the node alone":        {first, audit.FoundUnwitnessed},
		"by the witness alone":     {resigned(t, first, w), audit.FoundForged},
		"by somebody else besides": {func() []byte { b, _ := note.Sign(n, newSigner(t)); return b }(), audit.FoundUnwitnessed},
	} {
		r, err := audit.Verify(audit.VerifyConfig{Dir: dir, Keys: s.keys(t), Witness: w.verifier(t), Checkpoints: []audit.Signed{{From: "kept", Note: c.kept}}})
		must(t, err)
		if c.want == "" && (len(r.Findings) > 0 || r.Witnessed != 2 || len(r.Notes) != 1) || c.want != "" && !slices.Contains(codes(r), c.want) {
			t.Errorf("%s: got %+v, want %q", name, r, c.want)
		}
	}
	_, err = audit.StartFileWitness(audit.WitnessConfig{})
	if err == nil {
		t.Error("a witness without a file")
	}
}
