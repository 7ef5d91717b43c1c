package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// fileSink appends JSON lines to a file. It is open between batches, and opened again when another file, or none,
// stands at its path: what rotates it may rename it at any time. A copy that is then cut in place works as well,
// because every write goes to the end.
type fileSink struct {
	path string
	file *os.File
	body []byte
}

func (s *fileSink) late() bool { return false }

func (s *fileSink) drop() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

func (s *fileSink) send(_ context.Context, b *batch) error {
	if err := s.open(); err != nil {
		return &failure{reason: ReasonFile, err: err}
	}
	s.body = b.appendLines(s.body[:0])
	if _, err := s.file.Write(s.body); err != nil {
		return &failure{reason: ReasonFile, err: err}
	}
	return nil
}

// settle makes the lines durable: then they are the file's business, and not ours any more.
func (s *fileSink) settle(context.Context) error {
	if s.file == nil {
		return &failure{reason: ReasonFile, err: errors.New("not open")}
	}
	if err := s.file.Sync(); err != nil {
		return &failure{reason: ReasonFile, err: err}
	}
	return nil
}

// open makes sure that the file is the one at the path.
func (s *fileSink) open() error {
	if s.file != nil {
		opened, err := s.file.Stat()
		named, gone := os.Lstat(s.path)
		if err == nil && gone == nil && os.SameFile(opened, named) {
			return nil
		}
		s.drop()
	}
	// Non-blocking, so that a FIFO without a reader is an error and not a hang; no link is followed. A directory
	// that is missing is not made: a file system may not be mounted.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, f.Close(), fmt.Errorf("%s: not a regular file", s.path))
	}
	if err := mend(f); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file = f
	return nil
}

// maxTail is how far from the end of the file the beginning of its last line is looked for.
const maxTail = 2 << 20

// mend deals with half a line at the end, which a crash left behind: its record is sent again, so the half is cut
// off. Only what begins as our lines do is: from anything else we are parted by a newline.
func mend(f *os.File) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return err
	}
	tail := make([]byte, min(end, maxTail))
	if _, err := f.ReadAt(tail, end-int64(len(tail))); err != nil {
		return err
	}
	if tail[len(tail)-1] == '\n' {
		return nil
	}
	begin := bytes.LastIndexByte(tail, '\n') + 1
	const ours = `{"v":1,`
	if half := tail[begin:]; bytes.HasPrefix(half, []byte(ours)) || bytes.HasPrefix([]byte(ours), half) {
		return f.Truncate(end - int64(len(half)))
	}
	_, err = f.Write([]byte{'\n'})
	return err
}
