package audit

import (
	"bufio"
	"bytes"
	"errors"
	"path/filepath"
	"sort"
	"time"
)

// Leaf is a record and the exact line that holds it, which the Merkle tree hashes.
type Leaf struct {
	Record
	Line []byte
}

// Size is the index that the next record gets. It does no I/O.
func (l *Log) Size() uint64 { return l.tree.now().size }

// Follower reads a log that is being written, a piece at a time, and remembers where in which segment it is. It
// gives out what was fsynced and nothing else: what a loss of power could take must not have been told to
// somebody who would then be told another record of the same index. A copy of it is a place to come back to. It
// belongs to one goroutine.
type Follower struct {
	log *Log
	// next is the index that is read next; limit is known to be fsynced up to.
	next, limit uint64
	// segment and offset are where the line of next begins, as far as known is true.
	segment uint64
	offset  int64
	known   bool
	// missing counts what was passed over because it is not there, or no record.
	missing uint64
}

// Follow begins at an index. One that is beyond the end of the log, as after a restore, begins at the end.
func (l *Log) Follow(from uint64) *Follower { return &Follower{log: l, next: min(from, l.Size())} }

// Next is the index that is read next.
func (f *Follower) Next() uint64 { return f.next }

// Missing counts the records that were passed over since the beginning.
func (f *Follower) Missing() uint64 { return f.missing }

// errEnough ends a reading that has what it wanted.
var errEnough = errors.New("audit: enough")

// Read returns up to so many records, and none after those that reach so many bytes; none if there is nothing new.
func (f *Follower) Read(records, size int) ([]Leaf, error) {
	if f.next >= f.limit {
		if f.log.Size() <= f.next {
			return nil, nil
		}
		now, err := f.log.durable()
		if err != nil {
			return nil, err
		}
		f.limit = now.size
	}
	// Listed behind the limit: a segment that has a record below it stands there by now, so that what an earlier
	// one holds behind its end is not taken for the record.
	first, _, err := segments(f.log.config.Dir)
	if err != nil {
		return nil, f.log.outage(err)
	}
	p := &piece{f: f, records: records, left: size}
	at := max(0, sort.Search(len(first), func(i int) bool { return first[i] > f.next })-1)
	for i := at; i < len(first) && f.next < f.limit; i++ {
		if first[i] > f.next {
			f.pass(first[i])
		}
		end := uint64(0)
		if i+1 < len(first) {
			end = first[i+1]
		}
		err := p.segment(first[i], end, i+1 == len(first))
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return nil, f.log.outage(err)
		}
	}
	return p.leaves, nil
}

// pass gives up the records up to an index.
func (f *Follower) pass(until uint64) {
	f.missing += until - f.next
	f.next = until
}

// piece is what one reading collects.
type piece struct {
	f             *Follower
	leaves        []Leaf
	records, left int
}

func (p *piece) take(r Record, line []byte) error {
	if len(p.leaves) == p.records || p.left <= 0 || r.Index >= p.f.limit {
		return errEnough
	}
	p.leaves = append(p.leaves, Leaf{r, bytes.Clone(line)})
	p.left -= len(line)
	p.f.next = r.Index + 1
	return nil
}

// segment reads on in one. The error is errEnough if there is more in it, or one of the file system.
func (p *piece) segment(first, end uint64, last bool) error {
	f := p.f
	reader := &segmentReader{path: filepath.Join(f.log.config.Dir, segmentName(first)), next: first, end: end, last: last}
	if f.known && f.segment == first {
		reader.next, reader.offset = f.next, f.offset
	}
	for {
		reader.from = f.next
		_, err := reader.read(p.take)
		f.segment, f.offset, f.known = first, reader.offset, true
		gap := new(GapError)
		switch {
		case errors.As(err, &gap):
			f.pass(min(gap.Found, f.limit))
			reader.next = f.next
		case errors.Is(err, bufio.ErrBufferFull):
			// Nothing says where the next record begins: what follows in this segment is given up.
			f.known = false
			if last {
				end = f.limit
			}
			f.pass(max(f.next, end))
			return nil
		case errors.Is(err, ErrCorrupt):
			// reader.next stays: it is the line that is passed over now, because it is before from.
			reader.next = f.next
			f.pass(f.next + 1)
		default:
			return err
		}
		if f.next >= f.limit {
			f.known = false
			return errEnough
		}
	}
}

// FirstSince is the index of the first record of a time or later, as far as clocks were not set back; the end of the
// log if there is none. It reads one segment or two.
func FirstSince(dir string, since time.Time) (uint64, error) {
	next, err := Begin(dir, since)
	if err != nil {
		return 0, err
	}
	for {
		err := Read(dir, next, func(r Record, _ []byte) error {
			next = r.Index
			if !r.Time.Before(since) {
				return errEnough
			}
			next++
			return nil
		})
		gap := new(GapError)
		switch {
		case errors.As(err, &gap):
			next = gap.Found
		case errors.Is(err, ErrCorrupt):
			return next, nil
		case errors.Is(err, errEnough):
			return next, nil
		default:
			return next, err
		}
	}
}
