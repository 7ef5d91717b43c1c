package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// file is what a journal needs of an *os.File: tests make it fail.
type file interface {
	io.WriterAt
	io.Closer
	Sync() error
	Stat() (os.FileInfo, error)
}

// openFile makes a new file; tests make it fail.
type openFile func(path string) (file, error)

func osOpen(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// magic begins every frame: the format and its version.
const magic = "CJR\x01"

// headerBytes are the magic, the length and the checksum.
const headerBytes = len(magic) + 4 + 4

func frameBytes(body []byte) int64 { return int64(headerBytes + len(body)) }

func frame(body []byte) []byte {
	f := make([]byte, 0, headerBytes+len(body))
	f = append(f, magic...)
	f = binary.BigEndian.AppendUint32(f, uint32(len(body)))
	f = binary.BigEndian.AppendUint32(f, checksum(body))
	return append(f, body...)
}

func checksum(body []byte) uint32 { return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) }

// parse reads one frame at the front.
func parse(data []byte) (body []byte, ok bool) {
	if len(data) < headerBytes || string(data[:len(magic)]) != magic {
		return nil, false
	}
	n := binary.BigEndian.Uint32(data[len(magic):])
	// The zeros behind half a header would be a whole one of an empty entry.
	if n == 0 || n > MaxEntry || int(n) > len(data)-headerBytes {
		return nil, false
	}
	body = data[headerBytes : headerBytes+int(n)]
	return body, checksum(body) == binary.BigEndian.Uint32(data[len(magic)+4:])
}

// scan finds the whole entries; damaged counts the bytes that are neither of one nor zeros. Behind a damaged
// entry it goes on where the next one begins.
func scan(data []byte) (bodies [][]byte, damaged int64) {
	for len(data) > 0 {
		if body, ok := parse(data); ok {
			bodies = append(bodies, bytes.Clone(body))
			data = data[frameBytes(body):]
			continue
		}
		next := bytes.Index(data[1:], []byte(magic)) + 1
		if next == 0 {
			next = len(data)
		}
		damaged += int64(len(bytes.Trim(data[:next], "\x00")))
		data = data[next:]
	}
	return bodies, damaged
}

// maxRead bounds what is read of a file that somebody put in the place of ours.
const maxRead = 1 << 30

// readFile reads the entries of a journal; none if there is no file.
func readFile(path string) (bodies [][]byte, damaged int64, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRead {
		return nil, 0, fmt.Errorf("%s: not a journal", path)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, 0, err
	}
	bodies, damaged = scan(data)
	return bodies, damaged, nil
}

// rewrite replaces the file, unless somebody did meanwhile.
func (j *Journal) rewrite() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return errClosed
	}
	defer j.watched(&j.writing)()
	return j.replace()
}

// replace writes all entries, with the room that was promised behind them, to a new file that takes the place of the old
// one. It is called with both locks held, or before anybody knows the journal.
func (j *Journal) replace() error {
	size := (j.held+j.reserved+chunk)/chunk*chunk + chunk
	if size > j.max+2*chunk {
		return errFull
	}
	content := make([]byte, 0, size)
	for _, id := range slices.Sorted(maps.Keys(j.entries)) {
		content = append(content, frame(j.entries[id])...)
	}
	temporary := j.path + ".new"
	// One that a crash left behind is worth nothing: the old file is in its place.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := j.open(temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content[:size], 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temporary, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // whatever it says, nothing in it is needed any more
	}
	j.file, j.end, j.size, j.suspect, j.synced = f, j.held, size, false, j.written
	return nil
}

// syncDir makes the name of a new file durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lost reports that no name leads to the file any more: what is written to it is gone on close.
func (j *Journal) lost() bool {
	info, err := j.file.Stat()
	if err != nil {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}
