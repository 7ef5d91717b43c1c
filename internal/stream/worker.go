package stream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"culvert/internal/audit"
)

// worker serves one stream. What is not said to be guarded belongs to the goroutine of run.
type worker struct {
	spec   Spec
	sink   sink
	source *audit.Log
	path   string
	timing Timing
	now    func() time.Time
	log    *slog.Logger

	// follower is where the next batch is read; settled is a copy of it at the place. batch is how many records
	// the receiver takes at once.
	follower, settled *audit.Follower
	batch             int
	// sentAt is when the first record was sent that is not settled, zero if there is none. checkpointAt and
	// checkpointSize are of the last checkpoint that was sent.
	sentAt         time.Time
	checkpointAt   time.Time
	checkpointSize uint64

	// moving is held while the place is written, also by a rewind. It is taken before mu.
	moving sync.Mutex
	// mu guards the fields below, and is never held during I/O.
	mu sync.Mutex
	// next is the place: the index that is acknowledged next. moved counts rewinds: what was sent before one says
	// nothing of the place behind it.
	next  uint64
	moved int
	// oldest is the time of the record at the place, zero if it is not known or there is none.
	oldest time.Time
	// failures counts since the last success; since is when the first of them was; fault is the last.
	failures int
	since    time.Time
	fault    *failure
	// counts are of this process.
	counts Counts
	// woken ends a pause.
	woken chan struct{}
}

// Counts are what a stream did since the start of the process.
type Counts struct {
	// Records were acknowledged, Missing are not in the log, Attempts and Failures are sendings.
	Records, Missing, Attempts, Failures uint64
	// DeliveredAt is when something was acknowledged last.
	DeliveredAt time.Time
}

// run delivers until ctx ends.
func (w *worker) run(ctx context.Context) {
	defer w.sink.drop()
	w.restart()
	moved := 0
	for ctx.Err() == nil {
		if now := w.generation(); now != moved {
			moved = now
			w.sink.drop()
			w.restart()
		}
		wait, err := w.step(ctx, moved)
		switch {
		case err != nil && ctx.Err() != nil:
			w.back()
		case err != nil:
			wait = w.failed(err)
		default:
			w.succeeded()
		}
		w.pause(ctx, wait)
	}
	w.finish(ctx, moved)
}

// restart begins to read at the place.
func (w *worker) restart() {
	w.mu.Lock()
	next := w.next
	w.mu.Unlock()
	w.follower = w.source.Follow(next)
	w.mark()
}

// mark says that everything up to here is settled.
func (w *worker) mark() {
	settled := *w.follower
	w.settled, w.sentAt = &settled, time.Time{}
}

func (w *worker) generation() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

// step sends one batch, or settles, and says how long there is nothing to do.
func (w *worker) step(ctx context.Context, moved int) (time.Duration, error) {
	leaves, err := w.follower.Read(w.batch, maxBatchBytes)
	if err != nil {
		return 0, &failure{reason: ReasonLog, err: err}
	}
	w.noteMissing()
	if len(leaves) == 0 {
		return w.idle(ctx, moved)
	}
	if w.sentAt.IsZero() {
		w.sentAt = time.Now()
		w.noteOldest(leaves[0].Time)
	}
	if err := w.send(ctx, &batch{node: w.source.Node(), leaves: leaves}); err != nil {
		return 0, err
	}
	unsettled := w.follower.Next() - w.settled.Next()
	if !w.sink.late() || unsettled >= w.timing.Window || time.Since(w.sentAt) >= w.timing.Settle {
		return 0, w.settle(ctx, moved)
	}
	return 0, nil
}

// idle is what there is to do when everything was sent.
func (w *worker) idle(ctx context.Context, moved int) (time.Duration, error) {
	if !w.sentAt.IsZero() && time.Since(w.sentAt) >= w.timing.Settle {
		return 0, w.settle(ctx, moved)
	}
	if w.sentAt.IsZero() {
		w.noteOldest(time.Time{})
	}
	if w.follower.Next() != w.settled.Next() && w.sentAt.IsZero() {
		// All that was read was missing.
		return 0, w.settle(ctx, moved)
	}
	if err := w.sendCheckpoint(ctx); err != nil {
		return 0, err
	}
	return w.timing.Poll, nil
}

// sendCheckpoint sends the newest checkpoint, now and then, once everything that it covers was sent.
func (w *worker) sendCheckpoint(ctx context.Context) error {
	if !w.checkpointAt.IsZero() && time.Since(w.checkpointAt) < w.timing.Checkpoint {
		return nil
	}
	c, signed := w.source.LastCheckpoint()
	if signed == nil || c.Size <= w.checkpointSize || c.Size > w.follower.Next() {
		return nil
	}
	if err := w.send(ctx, &batch{node: w.source.Node(), checkpoint: signed, size: c.Size}); err != nil {
		return err
	}
	if w.sink.late() && w.sentAt.IsZero() {
		w.sentAt = time.Now()
	}
	w.checkpointAt, w.checkpointSize = time.Now(), c.Size
	return nil
}

func (w *worker) send(ctx context.Context, b *batch) error {
	w.mu.Lock()
	w.counts.Attempts++
	w.mu.Unlock()
	return w.sink.send(ctx, b)
}

// settle has what was sent acknowledged, and stores the place behind it.
func (w *worker) settle(ctx context.Context, moved int) error {
	if !w.sentAt.IsZero() {
		if err := w.sink.settle(ctx); err != nil {
			return err
		}
	}
	w.moving.Lock()
	defer w.moving.Unlock()
	if w.generation() != moved {
		return nil // rewound meanwhile: run begins anew
	}
	next, at := w.follower.Next(), w.now().UTC()
	if err := writePlace(w.path, place{V: placeVersion, Next: next, At: at}); err != nil {
		return &failure{reason: ReasonPlace, err: err}
	}
	w.mu.Lock()
	missing := w.follower.Missing() - w.settled.Missing()
	w.counts.Records += next - w.next - min(missing, next-w.next)
	w.next, w.counts.DeliveredAt = next, at
	w.mu.Unlock()
	w.mark()
	return nil
}

// back goes back to what is settled: nobody knows what arrived of the rest.
func (w *worker) back() {
	w.sink.drop()
	*w.follower = *w.settled
	w.sentAt = time.Time{}
}

// failed goes back and says how long to wait.
func (w *worker) failed(err error) time.Duration {
	w.back()
	f := fail(ReasonConnection, err)
	if f.reason == ReasonTooLarge && w.batch > 1 {
		w.batch /= 2
	}
	w.mu.Lock()
	news := w.fault == nil || w.fault.reason != f.reason
	if w.fault == nil {
		w.since = w.now().UTC()
	}
	w.fault = f
	w.failures++
	w.counts.Failures++
	failures, next := w.failures, w.next
	w.mu.Unlock()
	if news {
		w.log.Warn("a stream of the audit log stalls", slog.String("stream", w.spec.Name), slog.String("reason", string(f.reason)),
			slog.Uint64("next", next), slog.Any("error", f.err))
	}
	return max(f.after, w.timing.backoff(failures))
}

// succeeded says that the stream goes on, if it did not. A late sink has to settle first: that something could be
// sent proves nothing.
func (w *worker) succeeded() {
	if !w.sentAt.IsZero() {
		return
	}
	w.mu.Lock()
	recovered, since := w.fault != nil, w.since
	w.fault, w.failures, w.since = nil, 0, time.Time{}
	w.mu.Unlock()
	if recovered {
		w.log.Info("a stream of the audit log goes on", slog.String("stream", w.spec.Name), slog.Duration("stalled_for", w.now().Sub(since)))
	}
}

// finish settles what was sent, if that takes no time: else it is sent once more by the next start.
func (w *worker) finish(ctx context.Context, moved int) {
	if w.sentAt.IsZero() {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	if err := w.settle(last, moved); err != nil && !errors.Is(err, context.Canceled) {
		w.log.Warn("a stream of the audit log ended without an acknowledgement: its last records are sent again", slog.String("stream", w.spec.Name), slog.Any("error", err))
	}
}

func (w *worker) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.woken:
	case <-ctx.Done():
	}
}

func (w *worker) noteOldest(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.oldest = at
}

// noteMissing tells of records that the log does not have any more.
func (w *worker) noteMissing() {
	n := w.follower.Missing() - w.settled.Missing()
	w.mu.Lock()
	known := w.counts.Missing
	total := w.follower.Missing()
	w.counts.Missing = max(known, total)
	w.mu.Unlock()
	if n > 0 && total > known {
		w.log.Warn("records of the audit log are missing, and a stream passed over them", slog.String("stream", w.spec.Name), slog.Uint64("records", total-known))
	}
}

// backoff is the time after so many failures: doubling, less up to a fifth.
func (t Timing) backoff(failures int) time.Duration {
	pause := t.First
	for range failures - 1 {
		if pause >= t.Longest {
			break
		}
		pause *= 2
	}
	pause = min(pause, t.Longest)
	return pause - time.Duration(rand.Int64N(int64(pause)/5+1))
}
