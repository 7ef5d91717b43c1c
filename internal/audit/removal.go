package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Removal is what a checkpoint says of segments that its node has removed because they were old: all records that
// the checkpoint covers, but for those that an earlier one says it of. It is what is left of them, with their
// hashes in the hash file.
type Removal struct {
	// Segments are in order, without gaps, and end with the last record that the checkpoint covers.
	Segments []RemovedSegment
	// Until is the time of the last record that was removed.
	Until time.Time
	// Subtrees are the complete subtrees that the tree of the checkpoint's size is made of, the smallest first:
	// with them what follows can be proven without the records, and without the hash file.
	Subtrees []tlog.Hash
}

// RemovedSegment is one file that is gone. An archived copy of it is the one if it hashes to SHA256, as sha256sum
// prints it.
type RemovedSegment struct {
	First, Last uint64
	Bytes       int64
	SHA256      [sha256.Size]byte
}

const (
	// removedName is the file beside the segments that holds the signed checkpoints which say what was removed, one
	// behind the other.
	removedName = "removed"
	// maxRemoved bounds that file: some hundred thousand segments.
	maxRemoved = 64 << 20

	removedPrefix = "removed "
	untilPrefix   = "removed-until "
	subtreePrefix = "subtree "
)

// text is the lines of a removal; none if it is nil.
func (r *Removal) text() string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	for _, s := range r.Segments {
		fmt.Fprintf(&b, "%s%d %d %d %s\n", removedPrefix, s.First, s.Last, s.Bytes, hex.EncodeToString(s.SHA256[:]))
	}
	b.WriteString(untilPrefix + r.Until.UTC().Format(timeLayout) + "\n")
	for _, h := range r.Subtrees {
		b.WriteString(subtreePrefix + base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	return b.String()
}

// removalLine reads one line of a checkpoint's text, if it is of a removal.
func (c *Checkpoint) removalLine(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind + " " {
	case removedPrefix, untilPrefix, subtreePrefix:
	default:
		return nil
	}
	if c.Removal == nil {
		c.Removal = &Removal{}
	}
	r := c.Removal
	var err error
	switch kind + " " {
	case removedPrefix:
		var s RemovedSegment
		s, err = parseRemoved(rest)
		r.Segments = append(r.Segments, s)
	case untilPrefix:
		r.Until, err = time.Parse(timeLayout, rest)
	case subtreePrefix:
		var h tlog.Hash
		h, err = tlog.ParseHash(rest)
		r.Subtrees = append(r.Subtrees, h)
	}
	if err != nil {
		return ErrCheckpoint
	}
	return nil
}

func parseRemoved(text string) (s RemovedSegment, err error) {
	fields := strings.Split(text, " ")
	if len(fields) != 4 {
		return s, ErrCheckpoint
	}
	sum, badSum := hex.DecodeString(fields[3])
	first, badFirst := strconv.ParseUint(fields[0], 10, 63)
	last, badLast := strconv.ParseUint(fields[1], 10, 63)
	bytes, badBytes := strconv.ParseInt(fields[2], 10, 64)
	if err := errors.Join(badSum, badFirst, badLast, badBytes); err != nil || len(sum) != sha256.Size || last < first {
		return s, ErrCheckpoint
	}
	return RemovedSegment{First: first, Last: last, Bytes: bytes, SHA256: [sha256.Size]byte(sum)}, nil
}

// follows tells whether a removal covers what a checkpoint does from an index on, and leads to its root.
func (c *Checkpoint) follows(from uint64) (edge, error) {
	r := c.Removal
	if r == nil || len(r.Segments) == 0 {
		return edge{}, ErrCheckpoint
	}
	for _, s := range r.Segments {
		if s.First != from {
			return edge{}, ErrCheckpoint
		}
		from = s.Last + 1
	}
	e := edge{size: c.Size}
	levels, _ := e.indexes()
	if from != c.Size || len(levels) != len(r.Subtrees) {
		return edge{}, ErrCheckpoint
	}
	for i, level := range levels {
		e.hash[level] = r.Subtrees[i]
	}
	if root, err := e.root(); err != nil || root != c.Root {
		return edge{}, ErrCheckpoint
	}
	return e, nil
}

// subtrees are the hashes that the tree is made of, the smallest first.
func (e *edge) subtrees() []tlog.Hash {
	levels, _ := e.indexes()
	all := make([]tlog.Hash, len(levels))
	for i, level := range levels {
		all[i] = e.hash[level]
	}
	return all
}

// readRemoved reads what the signed checkpoints of removals are, as they stand in the file.
func readRemoved(dir string) ([][]byte, error) {
	text, err := readBounded(filepath.Join(dir, removedName), maxRemoved)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was removed: %w", err)
	}
	return SplitCheckpoints(text), nil
}

// lastRemoval is the tree of all that was removed, as the last checkpoint of a removal says; empty if there is none.
// Its signature is not checked, as that of [lastCheckpoint] is not.
func lastRemoval(dir string) edge {
	all, err := readRemoved(dir)
	if err != nil || len(all) == 0 {
		return edge{}
	}
	c, err := unsignedCheckpoint(all[len(all)-1])
	if err != nil || c.Removal == nil || len(c.Removal.Segments) == 0 {
		return edge{}
	}
	e, err := c.follows(c.Removal.Segments[0].First)
	if err != nil {
		return edge{}
	}
	return e
}

// removedFile reads a segment whole: its size and SHA-256. each, if not nil, is given its lines, without their
// newlines, until it says that it has enough.
func removedFile(path string, each func(line []byte) (more bool)) (size int64, sum [sha256.Size]byte, err error) {
	f, err := openHashes(path, 0) // it refuses what is no file
	if err != nil {
		return 0, sum, err
	}
	defer func() { _ = f.Close() }()
	whole := sha256.New()
	reader := newLineReader(io.TeeReader(f, whole))
	for each != nil {
		line, err := reader.ReadSlice('\n')
		size += int64(len(line))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, sum, err
		}
		if !each(bytes.TrimSuffix(line, []byte{'\n'})) {
			break
		}
	}
	rest, err := io.Copy(io.Discard, reader)
	return size + rest, [sha256.Size]byte(whole.Sum(nil)), err
}
