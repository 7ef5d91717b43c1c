package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
)

// days is a log of which some records are old and others of today, in small segments.
type days struct {
	signer
	dir   string
	store *shelf
	kept  [3][]byte
	// today is how the log is gone on with.
	today audit.Config
}

func newDays(t *testing.T) *days {
	t.Helper()
	d := &days{signer: newSigner(t), dir: t.TempDir(), store: &shelf{}}
	at := time.Now()
	d.today = audit.Config{Dir: d.dir, SegmentBytes: 900, Now: func() time.Time { return at }}
	old := d.today
	old.Now = func() time.Time { return at.Add(-100 * 24 * time.Hour) }
	for i := range d.kept {
		d.kept[i] = covered(t, old, d.signer, d.store, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"), fmt.Sprint(i, "c"), fmt.Sprint(i, "d"),
			fmt.Sprint(i, "e"), fmt.Sprint(i, "f"), fmt.Sprint(i, "g"))
	}
	covered(t, d.today, d.signer, d.store, "today", "today", "today", "today", "today", "today", "today", "today")
	return d
}

const retained = 50 * 24 * time.Hour

// retain runs the log until nothing old is left in it, and returns it running.
func (d *days) retain(t *testing.T, r audit.Retention) (*audit.Log, *audit.Notary) {
	t.Helper()
	l := MustOpen(t, d.today)
	n := MustNotary(t, l, d.signer, d.store)
	r.Age, r.Every = retained, tick
	must(t, n.Retain(r))
	return l, n
}

// oldest is the index that the first segment's name says.
func (d *days) oldest(t *testing.T) uint64 {
	t.Helper()
	low, _, err := audit.End(d.dir)
	must(t, err)
	return low
}

// gone has old segments removed, and the log closed. It returns how many records that were.
func (d *days) gone(t *testing.T) uint64 {
	t.Helper()
	l, n := d.retain(t, audit.Retention{})
	eventually(t, "the removal", func() bool { return d.oldest(t) > 0 && !d.old(t) })
	must(t, n.Close())
	MustClose(t, l)
	return d.oldest(t)
}

// old tells whether there is a segment of old records behind which another begins with an old one.
func (d *days) old(t *testing.T) bool {
	t.Helper()
	names := MustList(t, d.dir)
	if len(names) < 2 {
		return false
	}
	content, err := os.ReadFile(filepath.Join(d.dir, names[1]))
	must(t, err)
	line, _, _ := bytes.Cut(content, []byte{'\n'})
	r, err := audit.Parse(line)
	return err == nil && d.today.Now().Sub(r.Time) > retained
}

func TestRetentionLeavesTheProof(t *testing.T) {
	d := newDays(t)
	before := MustRead(t, d.dir, 0)
	removed := d.gone(t)

	// Case 1: what is left is proven, and so is that it continues what was signed before, also of what was removed.
	r := mustVerify(t, d.dir, d.signer, d.kept[:]...)
	if len(r.Findings) > 0 || r.Removed != removed || r.Checkpoints < 4 || r.Proven != r.Size || r.RemovedUntil.IsZero() {
		t.Errorf("verified: got %+v, want %d removed", r, removed)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], fmt.Sprint(removed, " records up to ")) || !strings.Contains(r.Notes[0], "removed by retention, proven by the checkpoint over") {
		t.Errorf("notes: got %q", r.Notes)
	}
	after := MustRead(t, d.dir, 0)
	if after[0].Index != removed || after[0].RequestID != before[removed].RequestID {
		t.Errorf("the oldest record: got %+v", after[0])
	}

	// Case 2: the log has a record of it, which names the files.
	at := slices.IndexFunc(after, func(r audit.Record) bool { return r.Action == "audit.log.removed" })
	if at < 0 || after[at].Subject != "node-a" {
		t.Fatalf("no record of the removal: got %v", requests(after))
	}
	c, err := audit.OpenCheckpoint([]byte(after[at].Checkpoint), d.keys(t))
	if err != nil || c.Removal == nil || c.Removal.Segments[0].First != 0 || c.Removal.Segments[0].Bytes == 0 {
		t.Errorf("what was removed: got %+v, %v", c, err)
	}

	// Case 3: proofs, also after a start.
	l := MustOpen(t, d.today)
	size := r.Size
	if _, err := l.Include(removed, size); err != nil {
		t.Errorf("the oldest record: got %v", err)
	}
	if _, err := l.Include(removed-1, size); !errors.Is(err, audit.ErrRemoved) {
		t.Errorf("a removed record: got %v", err)
	}
	first, err := audit.OpenCheckpoint(d.kept[0], d.keys(t))
	must(t, err)
	if p, err := l.Extend(first.Size, size); err != nil || p.FromRoot != first.Root {
		t.Errorf("from a size that was removed: got %+v, %v", p, err)
	}
	MustAppend(t, l, named("later"))
	MustClose(t, l)
	covered(t, d.today, d.signer, d.store, "and later")
	if r := mustVerify(t, d.dir, d.signer, d.kept[:]...); len(r.Findings) > 0 || r.Removed != removed {
		t.Errorf("gone on: got %+v", r)
	}
}

// TestRetentionWithoutTheHashFile: what is left can be proven without it; what compares checkpoints of removed records is
// gone, which is told to who has one.
func TestRetentionWithoutTheHashFile(t *testing.T) {
	d := newDays(t)
	removed := d.gone(t)
	must(t, os.Remove(filepath.Join(d.dir, "hashes")))
	if r := mustVerify(t, d.dir, d.signer); len(r.Findings) > 0 || r.Removed != removed {
		t.Errorf("before a start: got %+v", r)
	}
	covered(t, d.today, d.signer, d.store, "after")
	if got := contradictions(t, d.dir); got != nil {
		t.Errorf("the start found %v", got)
	}
	if r := mustVerify(t, d.dir, d.signer); len(r.Findings) > 0 || r.Removed != removed || r.Proven != r.Size {
		t.Errorf("after it: got %+v", r)
	}
	if r := mustVerify(t, d.dir, d.signer, d.kept[0]); !slices.Equal(codes(r), []string{audit.FoundUnproven}) {
		t.Errorf("against a checkpoint of what was removed: got %+v", r)
	}
	l := MustOpen(t, d.today)
	if _, err := l.Include(removed, uint64(len(MustRead(t, d.dir, 0)))+removed); err != nil {
		t.Errorf("the oldest record: got %v", err)
	}
}

// TestRemovalsByOthersAreFound: what goes beyond the node's signed word is missing, and the word cannot be made.
func TestRemovalsByOthersAreFound(t *testing.T) {
	d := newDays(t)
	older := t.TempDir()
	must(t, os.CopyFS(filepath.Join(older, "copy"), os.DirFS(d.dir)))
	d.gone(t)
	first := MustList(t, d.dir)[0]
	gone := MustList(t, filepath.Join(older, "copy"))[0]
	back, err := os.ReadFile(filepath.Join(older, "copy", gone))
	must(t, err)
	removed := filepath.Join(d.dir, "removed")
	word, err := os.ReadFile(removed)
	must(t, err)
	content, err := os.ReadFile(filepath.Join(d.dir, first))
	must(t, err)
	other := newSigner(t)

	for what, c := range map[string]struct {
		want string
		do   func() error
	}{
		"nothing":             {"", func() error { return nil }},
		"a segment more":      {audit.FoundMissing, func() error { return os.Remove(filepath.Join(d.dir, first)) }},
		"the word taken away": {audit.FoundMissing, func() error { return os.Remove(removed) }},
		"the word changed": {audit.FoundForged, func() error {
			return os.WriteFile(removed, bytes.Replace(word, []byte("removed 0 "), []byte("removed 1 "), 1), 0o600)
		}},
		"its last line cut":          {audit.FoundForged, func() error { return os.WriteFile(removed, word[:len(word)-30], 0o600) }},
		"the word signed by another": {audit.FoundForged, func() error { return os.WriteFile(removed, resigned(t, word, other), 0o600) }},
		"a checkpoint for the word":  {audit.FoundForged, func() error { return os.WriteFile(removed, d.kept[1], 0o600) }},
		"the word twice":             {audit.FoundForged, func() error { return os.WriteFile(removed, append(bytes.Clone(word), word...), 0o600) }},
		"a removed segment put back": {"", func() error { return os.WriteFile(filepath.Join(d.dir, gone), back, 0o600) }},
		"another put in its place":   {audit.FoundInserted, func() error { return os.WriteFile(filepath.Join(d.dir, gone), back[1:], 0o600) }},
		"the oldest segment cut":     {audit.FoundMissing, func() error { return os.WriteFile(filepath.Join(d.dir, first), nil, 0o600) }},
		"a byte of the oldest record": {audit.FoundChanged, func() error {
			return os.WriteFile(filepath.Join(d.dir, first), bytes.Replace(content, []byte("allowed"), []byte("allouwd"), 1), 0o600)
		}},
	} {
		must(t, c.do())
		r := mustVerify(t, d.dir, d.signer, d.kept[:]...)
		if c.want == "" && len(r.Findings) > 0 || c.want != "" && !slices.Contains(codes(r), c.want) && !(c.want == audit.FoundChanged && slices.Contains(codes(r), audit.FoundDamaged)) {
			t.Errorf("%s: got %+v, want %s", what, r.Findings, c.want)
		}
		must(t, os.WriteFile(removed, word, 0o600))
		must(t, os.WriteFile(filepath.Join(d.dir, first), content, 0o600))
		_ = os.Remove(filepath.Join(d.dir, gone))
	}
}

// resigned is the text of a note under another's signature.
func resigned(t *testing.T, signed []byte, by signer) []byte {
	t.Helper()
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	n, err := note.Sign(&note.Note{Text: string(text) + "\n"}, by)
	must(t, err)
	return n
}

// TestRetentionKeepsWhatIsNeeded: nothing is removed that the store has no checkpoint of, that somebody still has to
// get, or that is evidence; each has its twin in the end.
func TestRetentionKeepsWhatIsNeeded(t *testing.T) {
	for what, c := range map[string]struct {
		spoil, mend func(t *testing.T, d *days, n *needs)
	}{
		"the store is away": {
			func(_ *testing.T, d *days, _ *needs) { d.store.set(errors.New("away")) },
			func(_ *testing.T, d *days, _ *needs) { d.store.set(nil) },
		},
		"a record is not what was signed": {
			func(t *testing.T, d *days, _ *needs) { d.exchange(t, `"0b"`, `"0x"`) },
			func(t *testing.T, d *days, _ *needs) { d.exchange(t, `"0x"`, `"0b"`) },
		},
		"somebody needs it": {
			func(_ *testing.T, _ *days, n *needs) { n.from.Store(2) },
			func(_ *testing.T, _ *days, n *needs) { n.from.Store(1 << 40) },
		},
		"somebody does not say": {
			func(_ *testing.T, _ *days, n *needs) { n.from.Store(0) },
			func(_ *testing.T, _ *days, n *needs) { n.from.Store(1 << 40) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			d, needs := newDays(t), &needs{}
			needs.from.Store(1 << 40)
			c.spoil(t, d, needs)
			l, n := d.retain(t, audit.Retention{Needed: needs.lowest})
			MustAppend(t, l, named("today"))
			if what != "the store is away" {
				// Not asked at all before a checkpoint is in the store.
				eventually(t, "several looks", func() bool { return needs.asked.Load() > 4 })
			} else {
				eventually(t, "a fault", func() bool { return n.Health() != nil })
			}
			if d.oldest(t) != 0 {
				t.Error("something was removed")
			}
			c.mend(t, d, needs)
			eventually(t, "the removal", func() bool { return d.oldest(t) > 0 && !d.old(t) })
			must(t, n.Close())
			MustClose(t, l)
			if r := mustVerify(t, d.dir, d.signer, d.kept[:]...); len(r.Findings) > 0 {
				t.Errorf("verified: got %+v", r.Findings)
			}
		})
	}
}

// needs is somebody who still has to get records from an index on; from 0 he does not say.
type needs struct{ from, asked atomic.Uint64 }

func (n *needs) lowest(context.Context) (uint64, error) {
	n.asked.Add(1)
	if from := n.from.Load(); from > 0 {
		return from, nil
	}
	return 0, errors.New("does not say")
}

// exchange changes a text in whatever segment has it.
func (d *days) exchange(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range MustList(t, d.dir) {
		path := filepath.Join(d.dir, name)
		content, err := os.ReadFile(path)
		must(t, err)
		if changed := bytes.Replace(content, []byte(from), []byte(to), 1); !bytes.Equal(changed, content) {
			must(t, os.WriteFile(path, changed, 0o600))
		}
	}
}

// TestRemovalGoesOn: files that a stop left behind the signed word are removed by the next start, if they are those.
func TestRemovalGoesOn(t *testing.T) {
	d := newDays(t)
	before := t.TempDir()
	must(t, os.CopyFS(filepath.Join(before, "copy"), os.DirFS(d.dir)))
	removed := d.gone(t)
	for _, name := range MustList(t, filepath.Join(before, "copy")) {
		if content, err := os.ReadFile(filepath.Join(before, "copy", name)); err == nil && name < MustList(t, d.dir)[0] {
			must(t, os.WriteFile(filepath.Join(d.dir, name), content, 0o600))
		}
	}
	if d.oldest(t) != 0 {
		t.Fatal("the segments are not back")
	}
	if r := mustVerify(t, d.dir, d.signer, d.kept[:]...); len(r.Findings) > 0 {
		t.Errorf("put back: got %+v", r.Findings)
	}
	_, n := d.retain(t, audit.Retention{})
	eventually(t, "the removal", func() bool { return d.oldest(t) == removed })
	must(t, n.Close())
}

// TestSegmentAge: a segment is not written to for longer than so.
func TestSegmentAge(t *testing.T) {
	at, dir := time.Now(), t.TempDir()
	c := audit.Config{Dir: dir, SegmentAge: time.Hour, Now: func() time.Time { return at }}
	for i, want := range []int{1, 1, 2, 2, 3} {
		l := MustOpen(t, c)
		MustAppend(t, l, named(fmt.Sprint(i)))
		MustClose(t, l)
		if got := MustList(t, dir); len(got) != want {
			t.Errorf("after %d records: got %v, want %d", i, got, want)
		}
		at = at.Add(31 * time.Minute)
	}
	if got := MustRead(t, dir, 0); len(got) != 6 {
		t.Errorf("records: got %v", requests(got))
	}
}
