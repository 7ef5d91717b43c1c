package audit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

// changed makes a log whose signing key changes while it runs, and again while it does not. It returns the signers.
func changed(t *testing.T, dir string, store *shelf) (all [3]signer, first []byte) {
	t.Helper()
	all[0] = newSigner(t)
	all[1] = all[0].next(t)
	all[2] = all[1].next(t)
	first = covered(t, audit.Config{Dir: dir}, all[0], store, "one")
	var current atomic.Pointer[signer]
	current.Store(&all[0])
	l := MustOpen(t, audit.Config{Dir: dir})
	n, err := audit.StartNotary(audit.NotaryConfig{
		Log: l, Store: store, Every: tick, PeersEvery: tick,
		Signer: func(context.Context) (audit.Signer, error) { return *current.Load(), nil },
	})
	must(t, err)
	MustAppend(t, l, named("two"))
	current.Store(&all[1])
	eventually(t, "the other key", func() bool { return n.VerifierKey() == all[1].public })
	MustAppend(t, l, named("three"))
	must(t, n.Close())
	MustClose(t, l)
	covered(t, audit.Config{Dir: dir}, all[2], store, "four")
	return all, first
}

func changes(t *testing.T, dir string) (all []audit.Record) {
	t.Helper()
	for _, r := range MustRead(t, dir, 0) {
		if r.Action == "audit.key.changed" {
			all = append(all, r)
		}
	}
	return all
}

func TestAuditorsFollowTheKey(t *testing.T) {
	store, dir := &shelf{}, t.TempDir()
	all, first := changed(t, dir, store)
	if got := changes(t, dir); len(got) != 2 {
		t.Fatalf("changes in the log: got %+v, want 2", got)
	}
	if got := contradictions(t, dir); got != nil {
		t.Errorf("the log contradicts %v", got)
	}
	// Case 1: who has any of the keys verifies, with a checkpoint of the first one, too.
	for i, s := range all {
		if r := mustVerify(t, dir, s, first); len(r.Findings) > 0 || r.Proven != r.Size || r.Checkpoints != 2 {
			t.Errorf("with key %d: got %+v", i, r)
		}
	}
	// Case 2: somebody else's key leads nowhere.
	if r := mustVerify(t, dir, newSigner(t)); !slices.Contains(codes(r), audit.FoundForged) {
		t.Errorf("with another key: got %+v", r.Findings)
	}
	// Case 3: without the file of the changes only the newest key is one for the newest checkpoint.
	must(t, os.Remove(filepath.Join(dir, "keys")))
	if r := mustVerify(t, dir, all[0]); !slices.Contains(codes(r), audit.FoundForged) {
		t.Errorf("without the changes: got %+v", r.Findings)
	}
	// A start with the same key records no change again, and the file is there again.
	covered(t, audit.Config{Dir: dir}, all[2], store, "five")
	if got := changes(t, dir); len(got) != 2 {
		t.Errorf("changes after another start: got %d", len(got))
	}
	if r := mustVerify(t, dir, all[0], first); len(r.Findings) > 0 {
		t.Errorf("after another start: got %+v", r.Findings)
	}
}

// TestKeysThatNobodyHandedOver: a key that the old one has not signed is found, in the file and in the log, and so is
// what an old key signs after it was given up.
func TestKeysThatNobodyHandedOver(t *testing.T) {
	s, thief := newSigner(t), newSigner(t)
	// Case 1: the log goes on under a key that nobody handed over to, with a change that only the new key signed.
	store, dir := &shelf{}, t.TempDir()
	covered(t, audit.Config{Dir: dir}, s, store, "one")
	must(t, os.Remove(filepath.Join(dir, "checkpoint")))
	covered(t, audit.Config{Dir: dir}, thief, &shelf{}, "two")
	text := "culvert/audit-key\n" + s.public + "\n" + thief.public + "\n"
	half, err := note.Sign(&note.Note{Text: text}, thief)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "keys"), half, 0o600))
	if r := mustVerify(t, dir, s); !slices.Contains(codes(r), audit.FoundForged) || r.Proven != 0 {
		t.Errorf("a change that the old key has not signed: got %+v", r)
	}

	// Case 2: the log says so itself.
	l := MustOpen(t, audit.Config{Dir: dir})
	MustAppend(t, l, audit.Record{Action: "audit.key.changed", Phase: audit.Internal, Result: audit.Allowed, Checkpoint: string(half)})
	MustClose(t, l)
	if r := mustVerify(t, dir, thief); !slices.Equal(codes(r), []string{audit.FoundForged}) {
		t.Errorf("a record of such a change: got %+v", r.Findings)
	}

	// Case 3: the old key, stolen, signs the log as it is now.
	store, dir = &shelf{}, t.TempDir()
	all, _ := changed(t, dir, store)
	newest, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(t, err)
	stolen := resigned(t, newest, all[0])
	if r := mustVerify(t, dir, all[0], stolen); !slices.Equal(codes(r), []string{audit.FoundForged}) {
		t.Errorf("signed by the old key: got %+v", r.Findings)
	}
}

// TestThiefOfAFormerKey: who stole a key before it was changed, and rewrites the log as if that had not been, is found by
// whoever has the present key. So is a second change of the stolen key.
func TestThiefOfAFormerKey(t *testing.T) {
	stolen := newSigner(t)
	present, thief := stolen.next(t), stolen.next(t)
	dir := t.TempDir()
	covered(t, audit.Config{Dir: dir}, stolen, &shelf{}, "one")
	covered(t, audit.Config{Dir: dir}, present, &shelf{}, "two")
	genuine, err := audit.KeyChanges(dir)
	must(t, err)
	if r := mustVerify(t, dir, present); len(r.Findings) > 0 || r.Proven != r.Size {
		t.Errorf("the log as it was: got %+v", r)
	}

	// Case 1: another log, under the stolen key alone.
	rewritten := t.TempDir()
	covered(t, audit.Config{Dir: rewritten}, stolen, &shelf{}, "none of it happened")
	must(t, os.WriteFile(filepath.Join(rewritten, "keys"), bytes.Join(genuine, nil), 0o600))
	if r := mustVerify(t, rewritten, present); !slices.Equal(codes(r), []string{audit.FoundForged}) || r.Proven != 0 {
		t.Errorf("under the stolen key: got %+v", r)
	}
	// A node that was stopped before the change is verified with its key.
	if r := mustVerify(t, rewritten, stolen); len(r.Findings) > 0 {
		t.Errorf("with the key that it had: got %+v", r.Findings)
	}

	// Case 2: he hands over to a key of his own, with the genuine change beside that or without it.
	other := t.TempDir()
	covered(t, audit.Config{Dir: other}, stolen, &shelf{}, "one")
	covered(t, audit.Config{Dir: other}, thief, &shelf{}, "mine")
	his, err := audit.KeyChanges(other)
	must(t, err)
	for _, changes := range [][][]byte{append(genuine, his...), append(his, genuine...), his} {
		must(t, os.WriteFile(filepath.Join(other, "keys"), bytes.Join(changes, nil), 0o600))
		if r := mustVerify(t, other, present); !slices.Contains(codes(r), audit.FoundForged) || r.Proven != 0 {
			t.Errorf("with a change of his own: got %+v", r)
		}
	}
	// Who has only the stolen key is told that there are two.
	must(t, os.WriteFile(filepath.Join(other, "keys"), bytes.Join(append(his, genuine...), nil), 0o600))
	if r := mustVerify(t, other, stolen); !slices.Contains(codes(r), audit.FoundForged) {
		t.Errorf("with the stolen key: got %+v", r)
	}
}

func TestKeyChangesAreStrict(t *testing.T) {
	s := newSigner(t)
	next := s.next(t)
	dir := t.TempDir()
	covered(t, audit.Config{Dir: dir}, s, &shelf{}, "one")
	covered(t, audit.Config{Dir: dir}, next, &shelf{}, "two")
	all, err := audit.KeyChanges(dir)
	if err != nil || len(all) != 1 {
		t.Fatalf("changes: got %d, %v", len(all), err)
	}
	if c, err := audit.OpenKeyChange(all[0]); err != nil || c.Old.KeyHash() != s.KeyHash() || c.New.KeyHash() != next.KeyHash() {
		t.Errorf("the change: got %+v, %v", c, err)
	}
	for i := range all[0] {
		if all[0][i] == '\n' || i >= len(all[0])-3 {
			continue
		}
		spoilt := bytes.Clone(all[0])
		spoilt[i] ^= 1
		if c, err := audit.OpenKeyChange(spoilt); err == nil && (c.Old.KeyHash() != s.KeyHash() || c.New.KeyHash() != next.KeyHash()) {
			t.Errorf("byte %d changed: it opens as %+v", i, c)
		} else if err != nil && !errors.Is(err, audit.ErrKeyChange) {
			t.Errorf("byte %d changed: got %v", i, err)
		}
	}
}
