package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// removals reads what the node has signed of the segments that it removed: the tree begins with the last of these
// checkpoints, and what it covers need not be there.
func (v *verification) removals() error {
	all, err := readRemoved(v.config.Dir)
	if err != nil {
		return err
	}
	for i, signed := range all {
		from := fmt.Sprintf("checkpoint %d of the file %s", i+1, removedName)
		c, err := OpenCheckpoint(signed, v.keys)
		if err != nil || v.report.Node != "" && c.Node != v.report.Node {
			v.report.found(FoundForged, v.edge.size, "%s is not signed by this key, or of another node", from)
			return nil
		}
		e, err := c.follows(v.edge.size)
		if err != nil {
			v.report.found(FoundForged, v.edge.size, "%s does not go on where the one before it ends", from)
			return nil
		}
		v.report.Node, v.edge = c.Node, e
		v.report.Removed, v.report.RemovedUntil = c.Size, c.Removal.Until
		v.gone = append(v.gone, c.Removal.Segments...)
		v.pin(pinned{Checkpoint: c, from: from, own: true})
	}
	return nil
}

// removed compares the checkpoints that cover nothing but what was removed, and returns the segments that are left.
// It is done from the hashes that were kept, which need not be believed: with them each has to lead to the last
// removal's root.
func (v *verification) removed(first []uint64) []uint64 {
	if v.edge.size == 0 {
		return first
	}
	root, _ := v.edge.root()
	unproven := 0
	for len(v.pins) > 0 && v.pins[0].Size <= v.edge.size {
		p := v.pins[0]
		v.pins = v.pins[1:]
		if p.Size == 0 {
			v.reach(p) // of an empty log: nothing is behind it
			continue
		}
		switch err := v.leads(p, root); {
		case errors.Is(err, errNoHash):
			unproven++
			if !p.own {
				v.report.found(FoundUnproven, 0, "%s, of %s, covers records that were removed, and the hashes that would compare it are missing", p.from, p.At.Format(time.RFC3339))
			}
		case err != nil:
			v.report.found(FoundChanged, 0, "%s, of %s, was not signed for the records that were removed, or their hashes were changed", p.from, p.At.Format(time.RFC3339))
		default:
			v.fits(p)
		}
	}
	if unproven > 0 {
		v.report.Notes = append(v.report.Notes, fmt.Sprintf("hashes of records that were removed are missing: %d checkpoints of them cannot be compared", unproven))
	}
	v.skip()
	return v.left(first)
}

// leads wants a checkpoint to be of the first records of those that were removed.
func (v *verification) leads(p pinned, root tlog.Hash) error {
	size := int64(v.edge.size)
	if p.Size == v.edge.size {
		if p.Root != root {
			return ErrCheckpoint
		}
		return nil
	}
	if v.file == nil {
		return errNoHash
	}
	proof, err := tlog.ProveTree(size, int64(p.Size), hashFile{v.file})
	if err != nil {
		return errNoHash
	}
	return tlog.CheckTree(proof, size, root, int64(p.Size), p.Root)
}

// skip goes on in the hash file behind what was removed.
func (v *verification) skip() {
	if v.file == nil {
		return
	}
	offset := tlog.StoredHashCount(int64(v.edge.size)) * tlog.HashSize
	v.hashes = bufio.NewReaderSize(io.NewSectionReader(v.file, offset, 1<<62), 64<<10)
}

// left takes the segments away that are no more part of the log, which is to be said if they are still there.
func (v *verification) left(first []uint64) []uint64 {
	for len(first) > 0 && first[0] < v.edge.size {
		v.lingering(first[0])
		first = first[1:]
	}
	return first
}

func (v *verification) lingering(index uint64) {
	name := segmentName(index)
	for _, s := range v.gone {
		if s.First == index && s.is(filepath.Join(v.config.Dir, name)) == nil {
			v.report.Notes = append(v.report.Notes, name+" was removed, and is still or again there, as it was")
			return
		}
	}
	v.report.found(FoundInserted, index, "%s stands where segments were removed, and is none of them", name)
}

// concludeRemoved says what the end tells of removed records.
func (v *verification) concludeRemoved() {
	r := &v.report
	if r.Removed == 0 {
		return
	}
	text := fmt.Sprintf("%d records up to %s were removed by retention, as the node signed", r.Removed, r.RemovedUntil.Format(time.RFC3339))
	if r.Proven >= r.Removed {
		text = fmt.Sprintf("%d records up to %s were removed by retention, proven by the checkpoint over %d records of %s",
			r.Removed, r.RemovedUntil.Format(time.RFC3339), r.Proven, r.ProvenAt.Format(time.RFC3339))
	}
	r.Notes = append([]string{text}, r.Notes...)
}
