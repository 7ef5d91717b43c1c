package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// file is what a segment needs of an *os.File: tests make it fail.
type file interface {
	io.ReaderAt
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
	Stat() (os.FileInfo, error)
}

// openFile is [os.OpenFile] but for its result; tests make it fail.
type openFile func(path string, flag int, mode os.FileMode) (file, error)

func osOpen(path string, flag int, mode os.FileMode) (file, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Codes of what can go wrong with a segment; they stand in the records that the log writes of itself.
const (
	codeDiskFull = "disk_full"
	codeReadOnly = "read_only"
	codeWrite    = "write_failed"
	codeSync     = "sync_failed"
	codeRemoved  = "segment_removed"
	codeMoved    = "segment_moved"
	codeChanged  = "segment_changed"
	codeTornTail = "torn_tail"
	// codeLost stands for records behind the last checkpoint that a loss of power took, codeMissing for some
	// that a checkpoint covers, codeUnlike for records that hash to something else than the last one says.
	codeLost    = "records_lost"
	codeMissing = "records_missing"
	codeUnlike  = "unlike_checkpoint"
)

// sinkError is a failure of the log's file, which it names.
type sinkError struct {
	code string
	// torn means that bytes may stand behind the last acknowledged record which are not to be counted.
	torn bool
	// lost means that the file is not the one at its path any more.
	lost bool
	err  error
}

func (e *sinkError) Error() string { return "audit log " + e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// newSinkError finds the code that an operator can act on.
func newSinkError(err error) *sinkError {
	code := codeWrite
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = codeDiskFull
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		code = codeReadOnly
	}
	return &sinkError{code: code, err: err}
}

// segment is one file of the log, open for appending.
type segment struct {
	file file
	path string
	// began is when its first record was written, or a moment before.
	began time.Time
	// size is where the next record goes: all before it is acknowledged or the log's own. It belongs
	// to the writer goroutine.
	size int64
	// torn means that the file must be cut to size before anything is appended. It belongs to the
	// writer goroutine.
	torn bool
	// dirty is set behind each write and taken by the syncer.
	dirty atomic.Bool
	// syncErr is the first failed fsync, left by the syncer. The kernel may have dropped the pages
	// and will report success from then on, so the segment cannot be trusted with another record.
	syncErr atomic.Pointer[error]
}

// appendFlags refuse to follow a link; non-blocking, so that a FIFO in the file's place is an error
// and not a hang.
const appendFlags = os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// createSegment begins the segment of the record at index. Whatever stands at its name already (a
// directory put there, or a file whose name was taken from us) is moved aside, never written to.
func createSegment(open openFile, dir string, index uint64, aside string) (*segment, error) {
	// Only the last directory is made: if its parent is gone a file system is not mounted, and the
	// log must not begin on whatever lies below.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	path := filepath.Join(dir, segmentName(index))
	f, err := open(path, appendFlags|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		if err := os.Rename(path, path+".displaced-"+aside); err != nil {
			return nil, err
		}
		f, err = open(path, appendFlags|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &segment{file: f, path: path}, nil
}

// syncDir makes the name of a new file durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// append writes a batch whole or not at all: after an error the file ends where it did before, or
// will be cut there before the next batch. One write(2) in the usual case, then one fstat, which is
// what tells that the bytes went to a file that still has a name and that nobody else writes to.
func (s *segment) append(batch []byte, sync bool) error {
	if s.torn {
		if err := s.file.Truncate(s.size); err != nil {
			return newSinkError(fmt.Errorf("cut torn batch: %w", err))
		}
	}
	s.torn = true
	if _, err := s.file.Write(batch); err != nil {
		sink := newSinkError(err)
		s.torn = s.file.Truncate(s.size) != nil
		sink.torn = s.torn
		return sink
	}
	info, err := s.file.Stat()
	want := s.size + int64(len(batch))
	switch {
	case err != nil:
		return &sinkError{code: codeWrite, torn: true, err: err}
	case unlinked(info):
		return &sinkError{code: codeRemoved, lost: true, err: fmt.Errorf("%s: file was removed", s.path)}
	case info.Size() != want:
		return &sinkError{code: codeChanged, torn: true,
			err: fmt.Errorf("%s: %d bytes where %d were written", s.path, info.Size(), want)}
	}
	if sync {
		if err := s.file.Sync(); err != nil {
			return &sinkError{code: codeSync, torn: true, err: err}
		}
	} else {
		s.dirty.Store(true)
	}
	s.size, s.torn = want, false
	return nil
}

// trusted tells whether another record may be appended as far as the syncer knows.
func (s *segment) trusted() error {
	if err := s.syncErr.Load(); err != nil {
		return &sinkError{code: codeSync, torn: true, err: *err}
	}
	return nil
}

// finish makes the segment durable and closes it.
func (s *segment) finish() error {
	err := s.file.Sync()
	_ = s.file.Close()
	if err != nil {
		return &sinkError{code: codeSync, torn: true, err: err}
	}
	return nil
}

// inPlace tells whether the path still leads to the file that is open.
func (s *segment) inPlace() error {
	opened, err := s.file.Stat()
	if err != nil {
		return &sinkError{code: codeWrite, lost: true, err: err}
	}
	if unlinked(opened) {
		return &sinkError{code: codeRemoved, lost: true, err: fmt.Errorf("%s: file was removed", s.path)}
	}
	if named, err := os.Lstat(s.path); err != nil || !os.SameFile(opened, named) {
		return &sinkError{code: codeMoved, lost: true, err: fmt.Errorf("%s: not the file in use any more", s.path)}
	}
	return nil
}

// unlinked reports that no name leads to the file any more: what is written to it is lost on close.
func unlinked(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

const segmentSuffix = ".jsonl"

func segmentName(index uint64) string { return fmt.Sprintf("%020d%s", index, segmentSuffix) }

// segments lists the first indices of a directory's segments in order, and those of names under which
// something stands that is no file. A missing directory has none; other names are not ours to judge.
func segments(dir string) (first, odd []uint64, err error) {
	entries, err := readDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	for _, entry := range entries {
		digits, ok := strings.CutSuffix(entry.Name(), segmentSuffix)
		index, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case !ok || err != nil || entry.Name() != segmentName(index):
		case entry.Type().IsRegular():
			first = append(first, index)
		default:
			odd = append(odd, index)
		}
	}
	slices.Sort(first)
	slices.Sort(odd)
	return first, odd, nil
}

// readDir is [os.ReadDir] but for the order, and for a named pipe in the place of a directory, whose
// writer that would wait for.
func readDir(dir string) (entries []os.DirEntry, err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.ReadDir(-1)
}
