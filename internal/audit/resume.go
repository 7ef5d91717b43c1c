package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/access"
)

// checkpointName is the file beside the segments that holds the last signed checkpoint.
const checkpointName = "checkpoint"

// resume opens the last segment and leaves the log ready to write: behind everything that a checkpoint covers,
// whatever became of it, so that no index is ever given twice under a signature.
func (l *Log) resume() error {
	w := &l.writer
	first, odd, err := segments(l.config.Dir)
	if err != nil {
		return err
	}
	if n := len(odd); n > 0 && (len(first) == 0 || first[len(first)-1] < odd[n-1]) {
		// Which index comes next cannot be known; beginning below it would give indices twice.
		return fmt.Errorf("%s: not a regular file", filepath.Join(l.config.Dir, segmentName(odd[n-1])))
	}
	last, _ := lastCheckpoint(l.config.Dir)
	if last.Size > max(l.tree.now().size, lastOf(first))+maxMissing {
		l.note(actionChanged, codeUnlike)
		last = Checkpoint{}
	}
	missing := last.Size > 0
	if len(first) > 0 {
		s, t, err := reopenSegment(w.open, l.config.Dir, first[len(first)-1], last.Size)
		if err != nil {
			return err
		}
		if missing = t.missing; !missing {
			if s.began, err = firstTime(l.config.Dir, first[len(first)-1]); err != nil || s.began.IsZero() {
				s.began = l.config.Now()
			}
			l.segment.Store(s)
			w.next = t.next
			if t.cut > 0 {
				l.note(actionCut, codeTornTail).Cut = t.cut
			}
		}
	}
	if missing {
		w.next = max(last.Size, l.tree.now().size)
		l.note(actionCut, codeMissing)
	}
	removed := lastRemoval(l.config.Dir)
	if removed.size > w.next {
		removed = edge{} // not of this log: nothing that is written to is ever removed
	}
	l.removed.Store(removed.size)
	err = l.reconcile(last, removed)
	if w.next == 0 {
		w.own = slices.Insert(w.own, 0, Record{Action: actionBegun, Phase: Internal, Result: Allowed})
	}
	if err == nil {
		err = l.commit()
	}
	if s := l.segment.Load(); s != nil && err != nil {
		_ = s.file.Close()
	}
	return err
}

// maxMissing is how many records a start believes to be missing, some segments' worth. A checkpoint that claims more
// was written by somebody who wants the log to count for ever: what it is worth, an auditor has to find out.
const maxMissing = 4 << 20

func lastOf(first []uint64) uint64 {
	if len(first) == 0 {
		return 0
	}
	return first[len(first)-1]
}

// note adds a record of the log about itself.
func (l *Log) note(action access.Action, code string) *Record {
	w := &l.writer
	w.own = append(w.own, Record{Action: action, Phase: Internal, Result: Failed, Code: code})
	return &w.own[len(w.own)-1]
}

// reconcile makes the tree that of the records until the next one, and compares it with the last checkpoint. If
// it is another one, the hash file is made again from the records; if that does not help, it is the records that
// are not what was signed, which the log records, and goes on: an auditor has to find that, not an outage.
//
// The hashes of records that were removed cannot be made again: what the file has of them stays as it is.
func (l *Log) reconcile(last Checkpoint, removed edge) error {
	t, next := l.tree, l.writer.next
	if t.now().size > next {
		l.note(actionCut, codeLost)
		t.reset(next)
	}
	for attempt := range 2 {
		if attempt > 0 || t.now().size < removed.size {
			t.rewind(removed)
		}
		if err := errors.Join(t.cut(), t.catchUp(l.config.Dir, next)); err != nil {
			return err
		}
		if last.Size == 0 {
			return nil // there is nothing to compare with, and on a first start no directory
		}
		if err := t.flush(false); err != nil {
			// The keeper tries again; meanwhile health says what is wrong.
			l.config.Logger.Error("hashes of audit records cannot be written, nor compared with the last checkpoint", "error", err)
			return nil
		}
		if root, err := t.rootAt(last.Size); err == nil && root == last.Root {
			return nil
		}
	}
	l.note(actionChanged, codeUnlike)
	l.config.Logger.Error("audit records are not those that the last checkpoint was signed for: culvert audit verify finds which",
		"dir", l.config.Dir, "checkpoint", last.Size)
	return nil
}

// rootAt is the root that the tree had at a size, from its file.
func (t *tree) rootAt(size uint64) (tlog.Hash, error) {
	if now := t.now(); now.size == size {
		return now.root()
	}
	t.flushing.Lock()
	defer t.flushing.Unlock()
	if t.file == nil {
		return tlog.Hash{}, errNoHash
	}
	return tlog.TreeHash(int64(size), hashFile{t.file})
}

// lastCheckpoint is the checkpoint beside the segments and its signed form, the zero one and nil if there is none. Its
// signature is not checked: that takes a key which is not at hand yet, see [Notary].
func lastCheckpoint(dir string) (Checkpoint, []byte) {
	signed, err := readBounded(filepath.Join(dir, checkpointName), maxCheckpoint)
	if err != nil {
		return Checkpoint{}, nil
	}
	c, err := unsignedCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, nil
	}
	return c, signed
}

// readBounded reads a small file, and no FIFO.
func readBounded(path string, most int64) (content []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// replaceFile gives a file beside the segments another content, whole or not at all.
func replaceFile(dir, name string, content []byte) error {
	temporary := filepath.Join(dir, name+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}
