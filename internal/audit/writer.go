package audit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"culvert/internal/access"
)

// The states of an entry. The writer moves it from waiting to writing and on to written, or back to
// waiting after a failed write; its caller may give it up at any time.
const (
	waiting uint32 = iota
	writing
	written
	abandoned
)

// entry is a record on its way to the file.
type entry struct {
	// tail is the line but for the members that only the writer knows.
	tail  []byte
	state atomic.Uint32
	// written carries the index to the caller; it has room, so the writer never blocks on it.
	written chan uint64
}

func newEntry() *entry { return &entry{written: make(chan uint64, 1)} }

func (e *entry) reset(r *Record) {
	e.tail = appendTail(e.tail[:0], r)
	e.state.Store(waiting)
}

// writer is the state of the one goroutine that writes.
type writer struct {
	open openFile
	// node is the node's name as JSON.
	node []byte
	// next is the index of the next record.
	next uint64
	// own are records of the log about itself; they go before anyone else's.
	own []Record
	// pending were taken from the queue and not written yet; the first taken of them are in batch.
	pending []*entry
	taken   int
	batch   []byte
	// closeErr is what Close returns.
	closeErr error
}

const (
	// maxBatch bounds one write, and with it what a torn one costs.
	maxBatch = 1 << 20
	// retryEvery paces the attempts while the file fails and somebody waits.
	retryEvery = 20 * time.Millisecond
)

// The actions of the log's own records. Code says why.
const (
	// actionBegun is always record 0.
	actionBegun access.Action = "audit.log.begun"
	// actionCut tells how many bytes were removed from the end when the log was opened.
	actionCut access.Action = "audit.log.cut"
	// actionResumed ends a spell during which nothing could be written, or a segment's use.
	actionResumed access.Action = "audit.log.resumed"
	// actionRemoved tells which segments retention is about to remove, in a signed checkpoint.
	actionRemoved access.Action = "audit.log.removed"
	// actionChanged tells that records, or their hashes, are not those that a checkpoint was signed for.
	actionChanged access.Action = "audit.log.changed"
)

// run is the writer goroutine. While a batch is being written the next one gathers in the queue: the
// batches are as large as the load makes them, and a lone caller waits for nobody.
func (l *Log) run() {
	check := time.NewTicker(l.config.FsyncEvery)
	defer check.Stop()
	for {
		select {
		case <-l.wake:
			l.drain()
		case <-check.C:
			l.check()
			l.drain()
		case <-l.quit:
			l.finish()
			return
		}
	}
}

// drain writes until nobody waits, or the log closes. It lets every goroutine that is ready to run go
// first: with 64 callers on 2 cores that puts some thirty records into a write instead of two, and
// costs a lone caller nothing.
func (l *Log) drain() {
	for runtime.Gosched(); l.gather() > 0; runtime.Gosched() {
		if err := l.commit(); err == nil {
			continue
		}
		select {
		case <-time.After(retryEvery):
		case <-l.quit:
			return
		}
	}
}

// gather moves the queue to pending, drops what was given up, and counts the rest.
func (l *Log) gather() int {
	w := &l.writer
	l.mu.Lock()
	w.pending = append(w.pending, l.queue...)
	clear(l.queue)
	l.queue = l.queue[:0]
	l.mu.Unlock()
	kept := w.pending[:0]
	for _, e := range w.pending {
		if e.state.Load() == waiting {
			kept = append(kept, e)
		}
	}
	clear(w.pending[len(kept):])
	w.pending = kept
	return len(kept)
}

// check notices a file that was taken away from an idle log, and lets a failing one try again.
func (l *Log) check() {
	if s := l.segment.Load(); s != nil {
		if err := s.trusted(); err != nil {
			l.fail(err)
		} else if err := s.inPlace(); err != nil {
			l.fail(err)
		}
	}
	if l.fault.Load() != nil {
		_ = l.commit()
	}
}

// commit writes one batch: the log's own records, then what is pending. After an error nothing of it
// stands in the log and all of it is still pending.
func (l *Log) commit() error {
	s, err := l.ready()
	if err == nil {
		err = l.tree.overfull()
	}
	if err == nil {
		l.gatherBatch()
		if len(l.writer.batch) == 0 {
			return nil
		}
		l.writing.Store(l.since())
		err = s.append(l.writer.batch, l.config.Fsync == FsyncAlways)
		l.writing.Store(0)
	}
	if err != nil {
		l.putBack()
		l.fail(err)
		return err
	}
	l.answer()
	if f := l.fault.Swap(nil); f != nil {
		l.config.Logger.Info("audit log writes again", "after", time.Since(f.began), "code", f.err.code)
	}
	return nil
}

// ready returns the segment to write to, a new one if there is none, it is full, or it failed to sync.
func (l *Log) ready() (*segment, error) {
	s := l.segment.Load()
	if s != nil {
		err := s.trusted()
		if err == nil && s.size < l.config.SegmentBytes && !l.aged(s) {
			return s, nil
		}
		if err == nil {
			err = s.finish()
		}
		if err != nil {
			l.fail(err)
		}
		l.segment.Store(nil)
	}
	aside := strconv.FormatInt(l.config.Now().UnixMilli(), 10)
	s, err := createSegment(l.writer.open, l.config.Dir, l.writer.next, aside)
	if err != nil {
		return nil, newSinkError(err)
	}
	s.began = l.config.Now()
	l.segment.Store(s)
	return s, nil
}

// aged tells whether a segment has been written to for long enough.
func (l *Log) aged(s *segment) bool {
	age := l.config.SegmentAge
	return age > 0 && s.size > 0 && l.config.Now().Sub(s.began) >= age
}

// gatherBatch fills the batch from what nobody has given up.
func (l *Log) gatherBatch() {
	w := &l.writer
	w.batch = w.batch[:0]
	var stamp [len(timeLayout)]byte
	at := l.config.Now().UTC().AppendFormat(stamp[:0], timeLayout)
	index := w.next
	for i := range w.own {
		w.batch = appendTail(appendHead(w.batch, index, at, w.node), &w.own[i])
		index++
	}
	kept := w.pending[:0]
	for i, e := range w.pending {
		if len(w.batch) > maxBatch {
			kept = append(kept, w.pending[i:]...)
			break
		}
		if !e.state.CompareAndSwap(waiting, writing) {
			continue
		}
		kept = append(kept, e)
		w.batch = append(appendHead(w.batch, index, at, w.node), e.tail...)
		index++
		w.taken = len(kept)
	}
	clear(w.pending[len(kept):])
	w.pending = kept
}

// putBack makes a batch that failed wait again.
func (l *Log) putBack() {
	for _, e := range l.writer.pending[:l.writer.taken] {
		e.state.CompareAndSwap(writing, waiting)
	}
	l.writer.taken = 0
}

// answer tells the callers of a batch that was written, hashes it, and forgets it.
func (l *Log) answer() {
	w := &l.writer
	w.next += uint64(len(w.own))
	w.own = w.own[:0]
	for _, e := range w.pending[:w.taken] {
		// A caller who has just given up has a record that stands in the log all the same.
		if e.state.CompareAndSwap(writing, written) {
			e.written <- w.next
		}
		w.next++
	}
	l.tree.add(w.batch)
	rest := copy(w.pending, w.pending[w.taken:])
	clear(w.pending[rest:])
	w.pending, w.taken = w.pending[:rest], 0
}

// fail notes what is wrong, once for each spell, and gives a segment up that cannot be trusted. One
// that holds no acknowledged record yet is kept and cut instead: a disk that fails for an hour must
// not be littered with a torn segment for each attempt.
func (l *Log) fail(err error) {
	var sink *sinkError
	if !errors.As(err, &sink) {
		sink = newSinkError(err)
	}
	if s := l.segment.Load(); s != nil && (sink.lost || sink.torn && s.size > 0) {
		l.segment.Store(nil)
		_ = s.file.Close()
	}
	began := time.Now()
	if f := l.fault.Load(); f != nil {
		began = f.began
	} else {
		l.writer.own = append(l.writer.own, Record{Action: actionResumed, Phase: Internal, Result: Failed, Code: sink.code})
		l.config.Logger.Error("audit log cannot be written", "code", sink.code, "error", sink)
	}
	l.fault.Store(&fault{began: began, err: sink})
}

// finish is the last attempt to write what is queued.
func (l *Log) finish() {
	w := &l.writer
	for w.closeErr == nil && (l.gather() > 0 || len(w.own) > 0) {
		w.closeErr = l.commit()
	}
	if s := l.segment.Load(); s != nil {
		if err := s.finish(); err != nil && w.closeErr == nil {
			w.closeErr = fmt.Errorf("close: %w", err)
		}
	}
}

// sync is the syncer goroutine: it runs beside the writer, so that a slow disk delays nobody.
func (l *Log) sync() {
	if l.config.Fsync == FsyncAlways {
		return
	}
	tick := time.NewTicker(l.config.FsyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.quit:
			return // the writer's last sync follows
		}
		s := l.segment.Load()
		if s == nil || !s.dirty.Swap(false) {
			continue
		}
		l.syncing.Store(l.since())
		err := s.file.Sync()
		l.syncing.Store(0)
		// The writer closes a segment only after it has synced it or given it up.
		if err != nil && !errors.Is(err, os.ErrClosed) {
			s.syncErr.Store(&err)
		}
	}
}

// keep is the keeper goroutine: it writes the hashes of what was written, beside the writer for the same reason.
func (l *Log) keep() {
	tick := time.NewTicker(l.config.FsyncEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-tick.C:
		case <-l.quit:
			return // the tree is closed once the writer has ended
		}
		l.keeping.Store(l.since())
		err := l.tree.flush(false)
		l.keeping.Store(0)
		if (err != nil) != failed {
			failed = err != nil
			l.config.Logger.Warn("hashes of audit records", "written", !failed, "error", err)
		}
	}
}

// durable makes sure that everything written until now is on the disk, with its hashes, and returns the tree
// of it.
func (l *Log) durable() (edge, error) {
	// Taken first: all that is in it was handed to the kernel before.
	now := l.tree.now()
	if s := l.segment.Load(); s != nil && l.config.Fsync != FsyncAlways {
		// A segment that was closed meanwhile was synced before, or given up, which is a fault.
		if err := s.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.syncErr.Store(&err)
			return edge{}, l.outage(newSinkError(err))
		}
	}
	if err := l.failing(0); err != nil {
		return edge{}, err
	}
	if err := l.tree.flush(true); err != nil {
		return edge{}, l.outage(err)
	}
	return now, nil
}
