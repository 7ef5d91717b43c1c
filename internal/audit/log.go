package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/outage"
)

// Config is what a [Log] needs.
type Config struct {
	// Dir holds the segments and nothing else; required. It is created (0700) if only it is missing.
	Dir string
	// Node is this replica's registered name; required. Every record carries it.
	Node string
	// Fsync is "interval" (default): records are on the disk within FsyncEvery after Append, or
	// "always": before Append returns.
	Fsync string
	// FsyncEvery is the interval; default 200 ms. A renamed file is noticed as often.
	FsyncEvery time.Duration
	// Wait bounds how long Append blocks; default 2 s.
	Wait time.Duration
	// SegmentBytes is the size beyond which a new segment is begun; default 64 MiB.
	SegmentBytes int64
	// SegmentAge is how long after its first record a segment is written to; default as long as there is room. Whole
	// segments are removed by retention, so their ages are how exact it is.
	SegmentAge time.Duration
	// Now is the time in records; default [time.Now].
	Now func() time.Time
	// Logger is told when the log begins and ceases to fail; default none.
	Logger *slog.Logger
}

// The values of Config.Fsync.
const (
	FsyncInterval = "interval"
	FsyncAlways   = "always"
)

func (c Config) checked() (Config, error) {
	if c.Dir == "" || c.Node == "" {
		return c, errors.New("audit: log needs Dir and Node")
	}
	switch c.Fsync {
	case "":
		c.Fsync = FsyncInterval
	case FsyncInterval, FsyncAlways:
	default:
		return c, errors.New(`audit: fsync must be "interval" or "always"`)
	}
	if c.FsyncEvery <= 0 {
		c.FsyncEvery = 200 * time.Millisecond
	}
	if c.Wait <= 0 {
		c.Wait = 2 * time.Second
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Log is the audit log of one node. It is safe for concurrent use; one process at a time may have a
// directory open.
type Log struct {
	config Config

	// mu guards queue and closed. It is held for an append to a slice, never during I/O.
	mu     sync.Mutex
	queue  []*entry
	closed bool

	// wake tells the writer that the queue is no longer empty.
	wake chan struct{}
	// quit ends the writer and the syncer; ended is their end.
	quit  chan struct{}
	ended sync.WaitGroup

	// pulse is closed and replaced several times within Config.Wait: callers look at the time then. A timer
	// for each of them would be a tenth of what a record costs.
	pulse atomic.Pointer[chan struct{}]
	// silent ends the beats, once nothing will be written any more; over says so to who still waits.
	silent  chan struct{}
	over    atomic.Bool
	beating sync.WaitGroup

	// entries are reused by callers that got their answer.
	entries sync.Pool

	// fault is what is wrong with the file now, nil if nothing; only the writer sets it.
	fault atomic.Pointer[fault]
	// writing, syncing and keeping are when the write, the fsync or the writing of hashes in flight began
	// (monotonic, see since), 0 if there is none: a disk that hangs gives no error.
	writing, syncing, keeping atomic.Int64
	born                      time.Time

	// segment is set by the writer and read by the syncer; nil while there is none.
	segment atomic.Pointer[segment]

	// tree has a leaf for each record that was written.
	tree *tree

	// removed is how many records retention has removed, as the log's own signed word says.
	removed atomic.Uint64

	// writer belongs to the writer goroutine.
	writer writer
}

// fault is a spell during which nothing can be written.
type fault struct {
	began time.Time
	err   *sinkError
}

// Open continues the log in c.Dir, or begins one. It fails if the directory cannot be written, holds
// something else under a segment's name, or has a last segment that is not a log.
func Open(c Config) (*Log, error) { return openLog(c, osOpen) }

func openLog(c Config, open openFile) (*Log, error) {
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	l := &Log{
		config: c, born: time.Now(),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), silent: make(chan struct{}),
		entries: sync.Pool{New: func() any { return newEntry() }},
	}
	l.writer = writer{open: open, node: appendQuote(nil, c.Node)}
	l.tree = openTree(c.Dir)
	if err := l.resume(); err != nil {
		l.tree.drop()
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l.beat()
	l.ended.Go(l.run)
	l.ended.Go(l.sync)
	l.ended.Go(l.keep)
	l.beating.Go(l.beats)
	return l, nil
}

// Append gives the record its index, time and node and returns once it is written, or also fsynced if
// so configured. The error is an outage.Error that names the log, after Config.Wait and an eighth at most; at once
// if the log has been failing for longer than that. After an error the record does not stand in the
// log, unless its write was in flight when the wait ended.
//
// A cancelled context does not cut it short: who hangs up does not get his call out of the log.
func (l *Log) Append(_ context.Context, r Record) (uint64, error) {
	if err := r.check(); err != nil {
		return 0, err
	}
	if err := l.failing(l.config.Wait); err != nil {
		return 0, err
	}
	e, _ := l.entries.Get().(*entry)
	e.reset(&r)
	if len(e.tail) > maxLine/2 {
		return 0, errors.New("audit: record too long")
	}
	if err := l.enqueue(e); err != nil {
		return 0, err
	}
	for began := l.since(); l.since()-began < int64(l.config.Wait) && !l.over.Load(); {
		// Loaded before the wait, so that one which was closed meanwhile ends it.
		pulse := *l.pulse.Load()
		select {
		case index := <-e.written:
			l.entries.Put(e)
			return index, nil
		case <-pulse:
		}
	}
	if e.state.Swap(abandoned) == written {
		return <-e.written, nil
	}
	// The writer may still hold e, so it does not go back to the pool.
	if err := l.failing(0); err != nil {
		return 0, err
	}
	return 0, l.outage(fmt.Errorf("audit log %s: no answer within %v", l.config.Dir, l.config.Wait))
}

// beat wakes everybody who waits for the writer.
func (l *Log) beat() {
	next := make(chan struct{})
	if last := l.pulse.Swap(&next); last != nil {
		close(*last)
	}
}

// beats is a goroutine that never touches the disk: it goes on when the writer and the syncer hang.
func (l *Log) beats() {
	tick := time.NewTicker(l.config.Wait / 8)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.beat()
		case <-l.silent:
			// Closed and not replaced: whoever waits now, or is about to, looks at over.
			l.over.Store(true)
			close(*l.pulse.Load())
			return
		}
	}
}

func (l *Log) enqueue(e *entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.outage(errors.New("audit log closed"))
	}
	l.queue = append(l.queue, e)
	if len(l.queue) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Health is nil while records can be written, else an outage.Error that says what is wrong. It does
// no I/O. An idle log tries to recover too, so a replica taken out of service comes back by itself.
func (l *Log) Health() error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return l.outage(errors.New("audit log closed"))
	}
	return l.failing(0)
}

// failing tells what is wrong if it has been for longer than that.
func (l *Log) failing(longer time.Duration) error {
	if f := l.fault.Load(); f != nil && time.Since(f.began) >= longer {
		return l.outage(f.err)
	}
	if l.hangs(&l.writing) {
		return l.outage(fmt.Errorf("audit log %s: write hangs", l.config.Dir))
	}
	if longer > 0 {
		return nil
	}
	if l.hangs(&l.syncing) || l.hangs(&l.keeping) {
		return l.outage(fmt.Errorf("audit log %s: fsync hangs", l.config.Dir))
	}
	if f := l.tree.fault.Load(); f != nil {
		return l.outage(f)
	}
	return nil
}

// hangs tells whether I/O that began then should have ended long ago.
func (l *Log) hangs(began *atomic.Int64) bool {
	at := began.Load()
	return at != 0 && l.since()-at >= int64(l.config.Wait)
}

// since counts nanoseconds from 1 on a clock that does not jump.
func (l *Log) since() int64 { return int64(time.Since(l.born)) + 1 }

func (l *Log) outage(cause error) error {
	return &outage.Error{Dependency: outage.Audit, Cause: cause}
}

// Node is the name that records carry.
func (l *Log) Node() string { return l.config.Node }

// Dir is where the segments are.
func (l *Log) Dir() string { return l.config.Dir }

// LastCheckpoint is the newest one that was signed, and its signed form; the zero one and nil if there is none yet.
func (l *Log) LastCheckpoint() (Checkpoint, []byte) { return lastCheckpoint(l.config.Dir) }

// Close writes and fsyncs what is queued and closes the file. Append fails from then on. It waits no
// longer than Config.Wait for a disk that hangs, and may be called more than once.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	close(l.quit)
	ended := make(chan struct{})
	go func() {
		l.ended.Wait()
		if err := l.tree.close(); err != nil && l.writer.closeErr == nil {
			l.writer.closeErr = fmt.Errorf("close: %w", err)
		}
		close(l.silent)
		l.beating.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return l.writer.closeErr
	case <-time.After(l.config.Wait):
		return l.outage(fmt.Errorf("audit log %s: disk hangs", l.config.Dir))
	}
}
