package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
)

// maxLine bounds a record's line. A name and a key context at their limits, every character escaped,
// stay far below it.
const maxLine = 1 << 20

// ErrCorrupt means that a line of the log is no record of a version this program knows.
var ErrCorrupt = errors.New("audit: not a record")

// GapError means that the records from Want up to Found are missing. Reading may go on from Found.
type GapError struct{ Want, Found uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("audit: record %d is missing, the next one is %d", e.Want, e.Found)
}

func newLineReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }

// Read calls fn with every record of a log from an index on, in order, with the exact line that holds
// it (without newline; valid only during the call). It may run beside a [Log] that appends: it ends
// at the last whole line.
//
// The errors are fn's own, [ErrCorrupt] with the segment, offset and index, a [*GapError], or those of
// the file system. What is wrong before from is passed over, so reading can go on behind a fault.
// Records before the log's oldest segment are not a gap.
func Read(dir string, from uint64, fn func(r Record, line []byte) error) error {
	first, _, err := segments(dir)
	if err != nil {
		return err
	}
	next := from
	for i, index := range first {
		last := i == len(first)-1
		end := uint64(0)
		if !last {
			end = first[i+1]
		}
		if !last && end <= from {
			continue
		}
		reader := &segmentReader{path: filepath.Join(dir, segmentName(index)), from: from, next: index, end: end, last: last}
		if i > 0 && index > next {
			return &GapError{Want: next, Found: index}
		}
		next, err = reader.read(fn)
		if errors.Is(err, os.ErrNotExist) && !last {
			// Retention removed it meanwhile, or somebody else did.
			return &GapError{Want: max(index, from), Found: end}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// segmentReader reads one segment.
type segmentReader struct {
	path string
	// from is the first index that is wanted, next the one that must come.
	from, next uint64
	// end is the next segment's first index: what stands behind it here was given up. Unknown in the
	// last segment.
	end  uint64
	last bool
	// offset is where reading begins, and goes on.
	offset int64
}

// read returns the index that must come in the next segment.
func (s *segmentReader) read(fn func(Record, []byte) error) (uint64, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(s.offset, io.SeekStart); err != nil {
		return 0, err
	}
	lines := newLineReader(f)
	for s.last || s.next < s.end {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // also a line without newline: torn, or being written now
		}
		if err != nil {
			return 0, fmt.Errorf("%s at byte %d: %w", s.path, s.offset, errors.Join(ErrCorrupt, err))
		}
		if err := s.line(bytes.TrimSuffix(line, []byte{'\n'}), fn); err != nil {
			return 0, err
		}
		s.offset += int64(len(line))
	}
	return s.next, nil
}

func (s *segmentReader) line(line []byte, fn func(Record, []byte) error) error {
	r, err := parse(line)
	if err == nil && r.Index < s.next {
		err = fmt.Errorf("%w: index %d again", ErrCorrupt, r.Index)
	}
	switch {
	case err != nil && s.next < s.from:
		s.next++
		return nil
	case err != nil:
		return fmt.Errorf("%s at byte %d, record %d: %w", s.path, s.offset, s.next, err)
	case r.Index > s.next && s.next >= s.from:
		return &GapError{Want: s.next, Found: r.Index}
	}
	s.next = r.Index + 1
	if r.Index < s.from {
		return nil
	}
	return fn(r, line)
}

// parse is strict: a member that this program does not know, or one that stands twice, is an error.
func parse(line []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(line, &r, json.RejectUnknownMembers(true)); err != nil {
		// The library's text would repeat what stands in the line.
		return Record{}, ErrCorrupt
	}
	if r.V != Version {
		return Record{}, fmt.Errorf("%w: version %d", ErrCorrupt, r.V)
	}
	if r.check() != nil || r.Node == "" || r.Time.IsZero() {
		return Record{}, fmt.Errorf("%w: members missing", ErrCorrupt)
	}
	return r, nil
}
