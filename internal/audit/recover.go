package audit

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json/jsontext"
)

// tail is where a segment ends when it is opened again.
type tail struct {
	// next is the index of the record to come.
	next uint64
	// cut counts the bytes behind the last whole record; they have been removed, unless records that a
	// checkpoint covers are missing.
	cut     int64
	missing bool
}

// reopenSegment opens the last segment for appending and cuts what stands behind its last whole
// record: the part of a batch that a crash left, which nobody was told was written. A damaged record
// further up is not touched, since what follows it is evidence; [Read] reports it. Neither is anything touched if
// records are missing that a checkpoint covers, the first so many: then there is no segment to go on with.
func reopenSegment(open openFile, dir string, first, covered uint64) (*segment, tail, error) {
	path := filepath.Join(dir, segmentName(first))
	f, err := open(path, appendFlags, 0)
	if err != nil {
		return nil, tail{}, err
	}
	s := &segment{file: f, path: path}
	t, err := s.cutTail(first, covered)
	if err != nil || t.missing {
		_ = f.Close()
		return nil, t, err
	}
	return s, t, nil
}

func (s *segment) cutTail(first, covered uint64) (tail, error) {
	info, err := s.file.Stat()
	if err != nil {
		return tail{}, err
	}
	if !info.Mode().IsRegular() {
		return tail{}, &os.PathError{Op: "open", Path: s.path, Err: os.ErrInvalid}
	}
	index, end, err := lastRecord(s.file, info.Size())
	if err != nil {
		return tail{}, fmt.Errorf("%s: %w", s.path, err)
	}
	t := tail{next: first, cut: info.Size() - end}
	if end > 0 {
		t.next = index + 1
	}
	if t.next < first {
		return tail{}, fmt.Errorf("%s: ends with record %d: %w", s.path, index, ErrCorrupt)
	}
	s.size = end
	if t.missing = t.next < covered; t.missing {
		return t, nil
	}
	if t.cut > 0 {
		if err := s.file.Truncate(end); err != nil {
			return tail{}, err
		}
	}
	return t, nil
}

// lastRecord finds the last whole record among the first size bytes: its index, and where its line
// ends (0: there is none). It reads from the end in growing windows, so that opening a full segment
// costs one small read unless its tail is damaged.
func lastRecord(f file, size int64) (index uint64, end int64, err error) {
	for window := int64(64 << 10); ; window *= 8 {
		start := max(size-window, 0)
		part := make([]byte, size-start)
		if _, err := f.ReadAt(part, start); err != nil {
			return 0, 0, err
		}
		for {
			newline := bytes.LastIndexByte(part, '\n')
			begin := bytes.LastIndexByte(part[:max(newline, 0)], '\n') + 1
			if newline < 0 || begin == 0 && start > 0 {
				break // the line began before this window
			}
			if r, err := parse(part[begin:newline]); err == nil && r.Index < math.MaxUint64 {
				return r.Index, start + int64(newline) + 1, nil
			}
			// A crash leaves half a line, or rubbish. A whole line of JSON was acknowledged by somebody: a
			// later version, or whoever edited it. To cut it would destroy evidence and give its index twice.
			if jsontext.Value(part[begin:newline]).IsValid() {
				return 0, 0, fmt.Errorf("its last line is no record that this version can read: %w", ErrCorrupt)
			}
			part = part[:begin]
		}
		if start == 0 {
			return 0, 0, nil
		}
	}
}
