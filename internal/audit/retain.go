package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Retention says how long records are kept. Segments are removed whole, the oldest first, and only such as a checkpoint
// in the store covers; their hashes stay.
type Retention struct {
	// Age is how old the records of a segment are at least when it is removed; required. It is told by the first
	// record behind them.
	Age time.Duration
	// Every is how often it is looked for old segments; default a minute.
	Every time.Duration
	// Needed, if not nil, is the lowest index that somebody still has to get: nothing from it on is removed. While it
	// fails nothing is.
	Needed func(context.Context) (uint64, error)
}

// Retain removes old segments from now on.
func (n *Notary) Retain(r Retention) error {
	if r.Age <= 0 {
		return errors.New("audit: retention needs an Age")
	}
	if r.Every <= 0 {
		r.Every = time.Minute
	}
	n.retention.Store(&r)
	return nil
}

// maxRemovedAtOnce bounds what one checkpoint says is removed, and how long a round takes.
const maxRemovedAtOnce = 16

// retain is told of in the log when it begins to fail. Checkpoints do not wait for it.
func (n *Notary) retain(ctx context.Context) {
	r := n.retention.Load()
	if r == nil || !n.retainedAt.IsZero() && time.Since(n.retainedAt) < r.Every {
		return
	}
	n.retainedAt = time.Now()
	err := n.remove(ctx, r)
	if err == nil {
		n.kept = ""
		return
	}
	if text := err.Error(); ctx.Err() == nil && text != n.kept {
		n.kept = text
		n.config.Logger.ErrorContext(ctx, "old segments of the audit log are not removed", "error", err)
	}
}

// remove removes what is old enough. The order is what makes it safe to end anywhere: the record of it, a checkpoint
// of that in the store, the word that stays, the files.
func (n *Notary) remove(ctx context.Context, r *Retention) error {
	l := n.config.Log
	first, _, err := segments(l.config.Dir)
	if err != nil {
		return err
	}
	if len(first) > 0 && first[0] < l.removed.Load() {
		return n.removeFiles(first)
	}
	until := n.last.Size
	if r.Needed != nil {
		lowest, err := r.Needed(ctx)
		if err != nil {
			return fmt.Errorf("ask what is still needed: %w", err)
		}
		until = min(until, lowest)
	}
	c, err := n.old(first, until, l.config.Now().Add(-r.Age))
	if err != nil || c.Removal == nil {
		return err
	}
	signed, err := c.sign(n.signer)
	if err != nil {
		return err
	}
	record := Record{Action: actionRemoved, Phase: Internal, Result: Allowed, Subject: c.Node, Checkpoint: string(signed)}
	if _, err := l.Append(ctx, record); err != nil {
		return err
	}
	if err := n.checkpoint(ctx); err != nil {
		return err
	}
	before, err := readBounded(filepath.Join(l.config.Dir, removedName), maxRemoved)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what was removed: %w", err)
	}
	if err := replaceFile(l.config.Dir, removedName, append(before, signed...)); err != nil {
		return fmt.Errorf("write what is removed: %w", err)
	}
	l.removed.Store(c.Size)
	n.config.Logger.InfoContext(ctx, "old segments of the audit log are removed", "records_until", c.Removal.Until, "oldest_record", c.Size)
	return n.removeFiles(first)
}

// old is the checkpoint that says that the oldest segments are removed, those of which every record is from before
// a time and below an index. Its Removal is nil if there are none.
//
// Attacker: whoever may write to the directory, changes a record and waits until retention takes the evidence away.
// Defence: what is removed is hashed first, and has to lead to the last checkpoint; else it stays, and the log of the
// process says so.
func (n *Notary) old(first []uint64, until uint64, before time.Time) (c Checkpoint, err error) {
	l := n.config.Log
	c = Checkpoint{Node: l.Node(), At: l.config.Now()}
	if len(first) == 0 || first[0] != l.removed.Load() {
		return c, fmt.Errorf("the oldest segment does not begin with record %d", l.removed.Load())
	}
	var e edge
	r := &Removal{}
	for i := 0; i+1 < len(first) && i < maxRemovedAtOnce && first[i+1] <= until; i++ {
		at, err := firstTime(l.config.Dir, first[i+1])
		if err != nil {
			return c, err
		}
		if at.IsZero() || at.After(before) {
			break
		}
		if i == 0 {
			if err := l.past(first[0], func(h tlog.HashReader) (err error) { e, err = edgeAt(first[0], h); return err }); err != nil {
				return c, err
			}
		}
		s, until, err := addSegment(l.config.Dir, &e, first[i+1])
		if err != nil {
			return c, err
		}
		r.Segments, r.Until = append(r.Segments, s), until
	}
	if len(r.Segments) == 0 {
		return c, nil
	}
	r.Subtrees = e.subtrees()
	c.Size, c.Removal = e.size, r
	if c.Root, err = e.root(); err != nil {
		return c, err
	}
	return c, n.leads(c)
}

// leads wants the last checkpoint to continue another.
func (n *Notary) leads(c Checkpoint) error {
	p, err := n.config.Log.Extend(c.Size, n.last.Size)
	if err != nil {
		return err
	}
	if p.FromRoot != c.Root || p.ToRoot != n.last.Root {
		return fmt.Errorf("records before %d are not those that the last checkpoint was signed for: culvert audit verify says more", c.Size)
	}
	return nil
}

// addSegment adds the records of the segment that begins at the edge, up to an index, and returns what is to be
// known of the file, and the time of its last record.
func addSegment(dir string, e *edge, end uint64) (s RemovedSegment, until time.Time, err error) {
	s = RemovedSegment{First: e.size, Last: end - 1}
	name := segmentName(e.size)
	var scratch []byte
	var last Record
	s.Bytes, s.SHA256, err = removedFile(filepath.Join(dir, name), func(line []byte) bool {
		scratch = e.add(tlog.RecordHash(line), scratch[:0])
		if e.size < end {
			return true
		}
		last, err = parse(line)
		return false
	})
	if err == nil && (e.size != end || last.Index != s.Last || last.Time.IsZero()) {
		err = ErrCorrupt
	}
	if err != nil {
		return s, until, fmt.Errorf("segment %s: %w", name, err)
	}
	return s, last.Time, nil
}

// removeFiles removes the files that the log's signed word says were removed, if that is what they are.
func (n *Notary) removeFiles(first []uint64) error {
	dir := n.config.Log.config.Dir
	all, err := readRemoved(dir)
	if err != nil {
		return err
	}
	var wrong error
	for _, signed := range slices.Backward(all) {
		c, err := OpenCheckpoint(signed, n.keys)
		if err != nil || c.Removal == nil || c.Node != n.config.Log.Node() {
			return fmt.Errorf("%s: %w", removedName, ErrCheckpoint)
		}
		if c.Size <= first[0] {
			break
		}
		for _, s := range c.Removal.Segments {
			if _, there := slices.BinarySearch(first, s.First); !there {
				continue
			}
			if err := s.removeFrom(dir); err != nil && wrong == nil {
				wrong = err
			}
		}
	}
	return errors.Join(wrong, syncDir(dir))
}

// is tells whether a file is the segment.
func (s *RemovedSegment) is(path string) error {
	size, sum, err := removedFile(path, nil)
	if err == nil && (size != s.Bytes || sum != s.SHA256) {
		err = errors.New("not the file that was to be removed")
	}
	if err != nil {
		return fmt.Errorf("segment %s: %w", segmentName(s.First), err)
	}
	return nil
}

func (s *RemovedSegment) removeFrom(dir string) error {
	path := filepath.Join(dir, segmentName(s.First))
	if err := s.is(path); err != nil {
		return err
	}
	return os.Remove(path)
}
