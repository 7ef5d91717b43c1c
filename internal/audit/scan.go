package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

func (v *verification) segments() error {
	first, odd, err := segments(v.config.Dir)
	if err != nil {
		return err
	}
	if len(first) == 0 && len(odd) == 0 && len(v.pins) == 0 {
		return fmt.Errorf("%s: %w", v.config.Dir, errNoLog)
	}
	for _, index := range odd {
		v.report.found(FoundDamaged, index, "%s is no file", segmentName(index))
	}
	// Behind the list: what was removed since is then said to be.
	if err := v.removals(); err != nil {
		return err
	}
	first = v.removed(first)
	for _, index := range first {
		if info, err := os.Stat(filepath.Join(v.config.Dir, segmentName(index))); err == nil {
			v.all += info.Size()
		}
	}
	for i, index := range first {
		end, last := uint64(0), i == len(first)-1
		if !last {
			end = first[i+1]
		}
		if err := v.segment(index, end, last); err != nil {
			return err
		}
	}
	return nil
}

// errNoLog means that a directory holds nothing of an audit log.
var errNoLog = errors.New("audit: no audit log in this directory")

// segment reads one. What stands behind its end is not part of the log: it is explained by the next segment's
// first record, or was put there.
func (v *verification) segment(first, end uint64, last bool) error {
	path := filepath.Join(v.config.Dir, segmentName(first))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if first > v.edge.size {
		v.missing(first)
	}
	lines := bufio.NewReaderSize(f, maxLine)
	offset := int64(0)
	for last || v.edge.size < end {
		line, err := lines.ReadSlice('\n')
		offset += int64(len(line))
		v.advance(len(line))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			v.report.found(FoundDamaged, v.edge.size, "%s: something that is no record before byte %d", segmentName(first), offset)
			continue
		case errors.Is(err, io.EOF):
			if len(line) > 0 && !(last && !v.config.Idle && v.grows(path, offset)) {
				v.report.found(FoundDamaged, v.edge.size, "%s: %d bytes behind the last record, left by a crash or put there", segmentName(first), len(line))
			}
			return nil
		case err != nil:
			return err
		}
		v.line(first, offset-int64(len(line)), line[:len(line)-1])
	}
	rest, err := io.Copy(io.Discard, lines)
	v.stray += rest
	v.advance(int(rest))
	return err
}

// grows tells whether a segment is written to: half a line at its end is then one on its way.
func (v *verification) grows(path string, size int64) bool {
	for range 4 {
		if info, err := os.Stat(path); err == nil && info.Size() > size {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

func (v *verification) advance(bytes int) {
	before := v.read
	v.read += int64(bytes)
	if v.config.Progress != nil && before>>20 != v.read>>20 {
		v.config.Progress(v.read, v.all)
	}
}

// line takes one line: the record that comes next, or something else.
func (v *verification) line(segment uint64, offset int64, line []byte) {
	r, err := parse(line)
	switch {
	case err != nil:
		v.report.found(FoundDamaged, v.edge.size, "%s: what stands at byte %d is no record", segmentName(segment), offset)
		return
	case r.Index < v.edge.size:
		v.report.found(FoundInserted, r.Index, "%s: record %d stands at byte %d once more", segmentName(segment), r.Index, offset)
		return
	case r.Index > v.edge.size:
		if r.Index-v.edge.size > maxMissing {
			v.report.found(FoundDamaged, v.edge.size, "%s: the record at byte %d claims to be %d", segmentName(segment), offset, r.Index)
			return
		}
		v.missing(r.Index)
	}
	v.explain(&r)
	// Before checkpoints over it are compared: it may say which key signs them.
	v.look(&r)
	v.leaf(tlog.RecordHash(line), true)
	v.report.Records++
}

// explain settles what stood behind the end of the segment before.
func (v *verification) explain(r *Record) {
	if v.stray == 0 {
		return
	}
	if r.Action == actionResumed && r.Phase == Internal {
		v.report.Notes = append(v.report.Notes, fmt.Sprintf("%d bytes before record %d were given up by a write that failed, as that record says", v.stray, r.Index))
	} else {
		v.report.found(FoundInserted, r.Index, "%d bytes stand before record %d that belong to no record", v.stray, r.Index)
	}
	v.stray = 0
}

// look at what the log says of itself.
func (v *verification) look(r *Record) {
	if v.report.Node == "" {
		v.report.Node = r.Node
	}
	if r.Node != v.report.Node {
		v.report.found(FoundInserted, r.Index, "record %d is of %s, and the log of %s", r.Index, r.Node, v.report.Node)
	}
	if r.Phase != Internal {
		return
	}
	switch r.Action {
	case actionContradicted:
		v.report.found(FoundRecorded, r.Index, "%s: a checkpoint of %s does not fit what was known then (%s)", r.Time.Format(time.RFC3339), r.Subject, r.Code)
	case actionChanged:
		v.report.found(FoundRecorded, r.Index, "%s: the log was not what its last checkpoint says (%s)", r.Time.Format(time.RFC3339), r.Code)
	case actionKey:
		v.changed(r)
	case actionCut, actionResumed:
		if r.Result == Failed {
			v.report.Notes = append(v.report.Notes, fmt.Sprintf("record %d, %s: %s %s", r.Index, r.Time.Format(time.RFC3339), r.Action, r.Code))
		}
	}
}

// changed takes a change of the key: what the old one signs over this record is not believed.
func (v *verification) changed(r *Record) {
	c, err := OpenKeyChange([]byte(r.Checkpoint))
	if err != nil || !v.keys.has(c.Old) && !v.keys.has(c.New) {
		v.report.found(FoundForged, r.Index, "record %d gives the signing key over, and neither key is one to believe, or has not signed it", r.Index)
		return
	}
	if _, known := v.replaced[c.Old.KeyHash()]; !known {
		v.replaced[c.Old.KeyHash()] = r.Index
	}
	v.report.Notes = append(v.report.Notes, fmt.Sprintf("record %d, %s: the signing key was changed", r.Index, r.Time.Format(time.RFC3339)))
}

// missing takes the place of records up to an index from the hash file, so that what follows can be proven.
func (v *verification) missing(until uint64) {
	from := v.edge.size
	for v.edge.size < until {
		v.leaf(hole(), false)
	}
	v.report.found(FoundMissing, from, "records %d to %d are missing", from, until-1)
}

// leaf adds a record's hash, or what the hash file has for one that is not there, and compares roots.
func (v *verification) leaf(h tlog.Hash, there bool) {
	kept, known := v.keptLeaf()
	if there && known && kept != h && len(v.unlike) < maxFindings {
		v.unlike = append(v.unlike, v.edge.size)
	}
	if !there && known {
		h = kept
	}
	v.scratch = v.edge.add(h, v.scratch[:0])
	if v.hashes != nil {
		if _, err := v.hashes.Discard(len(v.scratch) - tlog.HashSize); err != nil {
			v.hashes = nil
		}
	}
	for len(v.pins) > 0 && v.pins[0].Size <= v.edge.size {
		v.reach(v.pins[0])
		v.pins = v.pins[1:]
	}
}

// keptLeaf is the hash file's leaf of the next record.
func (v *verification) keptLeaf() (kept tlog.Hash, known bool) {
	if v.hashes == nil {
		return kept, false
	}
	if _, err := io.ReadFull(v.hashes, kept[:]); err != nil {
		v.hashes = nil
		return kept, false
	}
	return kept, kept != tlog.Hash{}
}

// reach compares the tree with a checkpoint of its size.
func (v *verification) reach(p pinned) {
	if at, replaced := v.replaced[p.By]; replaced && p.Size > at {
		v.report.found(FoundForged, at, "%s, of %s, is signed by a key that was given up with record %d", p.from, p.At.Format(time.RFC3339), at)
		return
	}
	if v.broken {
		return
	}
	root, err := v.edge.root()
	if p.Size == 0 {
		root, err = tlog.TreeHash(0, &edge{})
	}
	if err != nil || root != p.Root {
		v.broken = true
		v.report.found(FoundChanged, v.report.Proven, "records %d to %d are not those that %s was signed for, at %s",
			v.report.Proven, p.Size-1, p.from, p.At.Format(time.RFC3339))
		return
	}
	v.fits(p)
}

// SeenCheckpoints collects what a log has recorded of the checkpoints of other nodes, by node: to be compared with
// their logs. Lines that are no records are passed over; a verification of this log finds them.
func SeenCheckpoints(dir string) (map[string][]Signed, error) {
	first, _, err := segments(dir)
	if err != nil {
		return nil, err
	}
	seen := map[string][]Signed{}
	for _, index := range first {
		if err := seenIn(filepath.Join(dir, segmentName(index)), seen); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

func seenIn(path string, seen map[string][]Signed) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if !bytes.Contains(line, []byte(`"checkpoint":`)) {
			continue
		}
		r, err := parse(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil || r.Action != actionSeen {
			continue
		}
		seen[r.Subject] = append(seen[r.Subject], Signed{
			From: fmt.Sprintf("the checkpoint in record %d of %s", r.Index, r.Node), Note: []byte(r.Checkpoint),
		})
	}
}
