package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// hashesName is the file beside the segments that holds the hashes of the tree in the order of
	// [tlog.StoredHashIndex], 32 bytes each: it is what a start need not compute again, and what proofs are made
	// from. It is no evidence by itself: checkpoints are.
	hashesName = "hashes"
	// maxUnwritten bounds the hashes that wait for their file, a quarter of a million records' worth. Beyond it
	// the log fails closed: a record without its hash could not be proven.
	maxUnwritten = 16 << 20
)

// edge is the right edge of a Merkle tree (RFC 6962): what it takes to add leaves to it and to know its root.
type edge struct {
	size uint64
	// hash is, for each level, the newest complete subtree.
	hash [64]tlog.Hash
}

// add appends a leaf, and to dst the hashes that it completes in the order of [tlog.StoredHashIndex].
func (e *edge) add(leaf tlog.Hash, dst []byte) []byte {
	h := leaf
	for level := 0; ; level++ {
		dst = append(dst, h[:]...)
		left := e.hash[level]
		e.hash[level] = h
		if e.size>>level&1 == 0 {
			break
		}
		h = tlog.NodeHash(left, h)
	}
	e.size++
	return dst
}

// ReadHashes implements [tlog.HashReader] for the subtrees of the edge alone.
func (e *edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if n != int64(e.size>>level)-1 {
			return nil, errors.New("audit: a hash that is not on the edge of the tree")
		}
		hashes[i] = e.hash[level]
	}
	return hashes, nil
}

// root is the hash of the whole tree.
func (e *edge) root() (tlog.Hash, error) { return tlog.TreeHash(int64(e.size), e) }

// indexes are the places of the subtrees that the tree is made of.
func (e *edge) indexes() (levels []int, indexes []int64) {
	for level := range e.hash {
		if e.size>>level&1 == 1 {
			levels = append(levels, level)
			indexes = append(indexes, tlog.StoredHashIndex(level, int64(e.size>>level)-1))
		}
	}
	return levels, indexes
}

// write puts the subtrees of the edge where they belong in a hash file.
func (e *edge) write(f *os.File) error {
	levels, indexes := e.indexes()
	for i, level := range levels {
		if _, err := f.WriteAt(e.hash[level][:], indexes[i]*tlog.HashSize); err != nil {
			return err
		}
	}
	return nil
}

// edgeAt reads the edge of the tree of that size.
func edgeAt(size uint64, r tlog.HashReader) (edge, error) {
	e := edge{size: size}
	levels, indexes := e.indexes()
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return edge{}, err
	}
	for i, level := range levels {
		e.hash[level] = hashes[i]
	}
	return e, nil
}

// hole is the leaf of a record that is not there to be hashed.
func hole() tlog.Hash { return tlog.RecordHash(nil) }

// errNoHash means that the hash file does not have a hash: it was made anew since, or cut.
var errNoHash = errors.New("audit: the hash file has not got this hash")

// hashFile reads stored hashes; a part of the file that was never written has none.
type hashFile struct {
	file interface {
		ReadAt([]byte, int64) (int, error)
	}
}

// ReadHashes implements [tlog.HashReader].
func (f hashFile) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if _, err := f.file.ReadAt(hashes[i][:], index*tlog.HashSize); err != nil || hashes[i] == (tlog.Hash{}) {
			return nil, errNoHash
		}
	}
	return hashes, nil
}

// leavesIn is how many leaves a hash file of that many bytes holds whole.
func leavesIn(bytes int64) uint64 {
	stored := bytes / tlog.HashSize
	low, high := int64(0), stored
	for low < high {
		middle := low + (high-low+1)/2
		if tlog.StoredHashCount(middle) <= stored {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return uint64(low)
}

// tree is the Merkle tree of the log. The writer adds to it from memory what it has written, so that it is
// what was acknowledged, whatever becomes of the segments; its hashes go to their file a little later.
type tree struct {
	path string

	// mu guards edge and unwritten. It is never held during I/O.
	mu   sync.Mutex
	edge edge
	// unwritten are hashes that are not in the file yet; the first stands at stored index base.
	unwritten []byte
	base      int64

	// file is nil until it is open. It belongs to whoever flushes: the start, then the keeper. flushing is held
	// meanwhile.
	flushing sync.Mutex
	file     *os.File
	// fault is why the hashes cannot be written now, nil if they can.
	fault atomic.Pointer[sinkError]
}

// openTree loads the hash file of a directory as far as it goes. One that is missing or damaged is an empty
// tree: it can be made again from the records.
func openTree(dir string) *tree {
	t := &tree{path: filepath.Join(dir, hashesName)}
	f, err := openHashes(t.path, 0)
	if err != nil {
		return t
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return t
	}
	t.file = f
	t.reset(leavesIn(info.Size()))
	return t
}

// openHashes refuses to follow a link, and a FIFO in the file's place.
func openHashes(path string, create int) (*os.File, error) {
	f, err := os.OpenFile(path, appendFlags&^os.O_APPEND|create, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), fmt.Errorf("%s: not a regular file", path))
	}
	return f, nil
}

// reset makes the tree the one of the first leaves of its file, or an empty one if the file does not have them.
func (t *tree) reset(size uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.edge = edge{}
	if t.file != nil {
		if e, err := edgeAt(size, hashFile{t.file}); err == nil {
			t.edge = e
		}
	}
	t.unwritten, t.base = t.unwritten[:0], tlog.StoredHashCount(int64(t.edge.size))
}

// rewind makes the tree an earlier one of which the edge is known, whatever the file has of it. An error of the file is
// told by the next flush.
func (t *tree) rewind(e edge) {
	t.mu.Lock()
	t.edge = e
	t.unwritten, t.base = t.unwritten[:0], tlog.StoredHashCount(int64(e.size))
	t.mu.Unlock()
	if e.size == 0 {
		return
	}
	t.flushing.Lock()
	defer t.flushing.Unlock()
	if t.reopen() == nil {
		_ = e.write(t.file)
	}
}

// add hashes the lines of a batch.
func (t *tree) add(batch []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(batch) {
		t.unwritten = t.edge.add(tlog.RecordHash(line[:len(line)-1]), t.unwritten)
	}
}

// fill adds holes until the tree has that size.
func (t *tree) fill(size uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.edge.size < size {
		t.unwritten = t.edge.add(hole(), t.unwritten)
	}
}

// now is the tree as it is.
func (t *tree) now() edge {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.edge
}

// overfull tells that no more hashes may wait for their file.
func (t *tree) overfull() error {
	t.mu.Lock()
	n := len(t.unwritten)
	t.mu.Unlock()
	if n < maxUnwritten {
		return nil
	}
	if fault := t.fault.Load(); fault != nil {
		return fault
	}
	return newSinkError(fmt.Errorf("%s: too many hashes wait to be written", t.path))
}

// flush writes the hashes that wait, and syncs the file if so wanted.
func (t *tree) flush(sync bool) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	err := t.write()
	if err == nil && sync {
		err = t.file.Sync()
	}
	if err != nil {
		sink := newSinkError(fmt.Errorf("hashes: %w", err))
		t.fault.Store(sink)
		return sink
	}
	t.fault.Store(nil)
	return nil
}

func (t *tree) write() error {
	if err := t.reopen(); err != nil {
		return err
	}
	t.mu.Lock()
	waiting, base := bytes.Clone(t.unwritten), t.base
	t.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	if _, err := t.file.WriteAt(waiting, base*tlog.HashSize); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unwritten = t.unwritten[:copy(t.unwritten, t.unwritten[len(waiting):])]
	t.base += int64(len(waiting) / tlog.HashSize)
	return nil
}

// reopen makes sure that the file is the one at its path. In one that has to be made anew only the edge is
// known: the tree goes on from it, and proofs that need what was before have to wait until the records are
// hashed again, by a start.
func (t *tree) reopen() error {
	if t.file != nil {
		opened, err := t.file.Stat()
		if err == nil {
			if named, err := os.Lstat(t.path); err == nil && os.SameFile(opened, named) {
				return nil
			}
		}
		_ = t.file.Close()
		t.file = nil
	}
	f, err := openHashes(t.path, os.O_CREATE)
	if err != nil {
		return err
	}
	now := t.now()
	if err := now.write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	t.file = f
	return nil
}

// cut takes away what the file has beyond the tree, so that its length says how many leaves it has.
func (t *tree) cut() error {
	if t.file == nil {
		return nil
	}
	t.mu.Lock()
	end := t.base * tlog.HashSize
	t.mu.Unlock()
	if info, err := t.file.Stat(); err != nil || info.Size() <= end {
		return err
	}
	return t.file.Truncate(end)
}

// catchUp hashes the records of the segments until the tree has that size. Records that are not there, or
// damaged, are holes.
func (t *tree) catchUp(dir string, size uint64) error {
	for t.now().size < size {
		err := Read(dir, t.now().size, func(r Record, line []byte) error {
			if r.Index >= size {
				return errEnough
			}
			t.fill(r.Index)
			t.add(append(line, '\n'))
			return t.relieve()
		})
		gap := new(GapError)
		switch {
		case err == nil, errors.Is(err, errEnough):
			t.fill(size)
		case errors.As(err, &gap):
			t.fill(min(gap.Found, size))
		case errors.Is(err, ErrCorrupt):
			t.fill(t.now().size + 1)
		default:
			return err
		}
	}
	return nil
}

// relieve writes what waits if it is much.
func (t *tree) relieve() error {
	t.mu.Lock()
	much := len(t.unwritten) > maxUnwritten/4
	t.mu.Unlock()
	if much {
		return t.flush(false)
	}
	return nil
}

// close writes what waits. Nobody adds any more.
func (t *tree) close() error {
	err := t.flush(true)
	t.flushing.Lock()
	defer t.flushing.Unlock()
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
		t.file = nil
	}
	return err
}

// drop closes the file without another word, for a log that did not open.
func (t *tree) drop() {
	if t.file != nil {
		_ = t.file.Close()
	}
}
