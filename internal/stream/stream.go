package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/audit"
)

const (
	// maxBatchBytes bounds what one batch holds in memory, but for its last record.
	maxBatchBytes = 1 << 20
	// finishTime is what a stop waits for the acknowledgement of what was sent.
	finishTime = 2 * time.Second
)

// Timing says how often things are done. The zero value of a field is its default.
type Timing struct {
	// Poll is how often there is a look for new records; default 1 s.
	Poll time.Duration
	// Timeout bounds one sending; default 30 s.
	Timeout time.Duration
	// First is the time between the first attempt and the second; it doubles up to Longest. Default 1 s, and 1 min.
	First, Longest time.Duration
	// Window is how many records a receiver of syslog may have got without an acknowledgement, and Settle for how
	// long: what is sent again after a crash. Default 5000, and 30 s.
	Window uint64
	Settle time.Duration
	// Checkpoint is how often a checkpoint is sent, if there is a new one; default 1 min.
	Checkpoint time.Duration
}

func (t Timing) checked() Timing {
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&t.Poll, time.Second},
		{&t.Timeout, 30 * time.Second},
		{&t.First, time.Second},
		{&t.Longest, time.Minute},
		{&t.Settle, 30 * time.Second},
		{&t.Checkpoint, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.otherwise
		}
	}
	if t.Window == 0 {
		t.Window = 5000
	}
	return t
}

// Config is what [Start] needs.
type Config struct {
	// Log is what is sent; required.
	Log *audit.Log
	// Dir holds the places; required. It is created (0700) if only it is missing.
	Dir string
	// Streams are those of the settings.
	Streams []Spec
	Timing  Timing
	// Now is the time in signatures and places; default [time.Now].
	Now func() time.Time
	// Logger is told when a stream stalls and goes on; default none.
	Logger *slog.Logger
}

// Streams sends the audit log of this node. It is safe for concurrent use.
type Streams struct {
	source  *audit.Log
	workers []*worker
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

// Start checks the streams and begins to send.
func Start(c Config) (*Streams, error) {
	if c.Log == nil || c.Dir == "" {
		return nil, errors.New("stream: streams need Log and Dir")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Streams) > MaxStreams {
		return nil, fmt.Errorf("stream: %d streams are the most", MaxStreams)
	}
	c.Timing = c.Timing.checked()
	s := &Streams{source: c.Log}
	if len(c.Streams) > 0 {
		if err := os.Mkdir(c.Dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("places of streams: %w", err)
		}
	}
	for _, spec := range c.Streams {
		w, err := newWorker(&c, spec)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", spec.Name, err)
		}
		s.workers = append(s.workers, w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, w := range s.workers {
		s.ended.Go(func() { w.run(ctx) })
	}
	return s, nil
}

// Close ends. What is under way has a few seconds to be acknowledged; what is not, is sent again by the next start.
func (s *Streams) Close() error {
	s.cancel()
	s.ended.Wait()
	return nil
}

func newWorker(c *Config, spec Spec) (*worker, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Format == "" {
		spec.Format = Lines
	}
	if spec.Facility == 0 {
		spec.Facility = DefaultFacility
	}
	if spec.Batch == 0 {
		spec.Batch = DefaultBatch
	}
	to, err := newSink(c, spec)
	if err != nil {
		return nil, err
	}
	w := &worker{
		spec: spec, sink: to, source: c.Log, path: filepath.Join(c.Dir, spec.Name+placeSuffix), timing: c.Timing, now: c.Now,
		log: c.Logger, batch: spec.Batch, woken: make(chan struct{}, 1),
	}
	at, err := readPlace(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		// A new one begins at the oldest record there is: what retention took before is not missing.
		at.Next, err = audit.Begin(c.Log.Dir(), time.Time{})
	}
	if err != nil {
		return nil, fmt.Errorf("place: %w", err)
	}
	w.next = at.Next
	if end := c.Log.Size(); w.next > end {
		// An older state of the log was brought back: what is recorded from now on was never sent.
		w.log.Warn("a stream has sent more than the audit log holds: it goes on from the end of the log",
			slog.String("stream", spec.Name), slog.Uint64("next", w.next), slog.Uint64("end", end))
		w.next = end
	}
	return w, nil
}

func newSink(c *Config, spec Spec) (sink, error) {
	if spec.Kind == File {
		return &fileSink{path: spec.Path}, nil
	}
	target, _ := spec.target()
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, err
	}
	// That the operator names the receiver opens its address, also a private one. It is judged when the socket is
	// about to connect all the same: a name that leads to a metadata service gets nothing.
	egress, err := connectors.NewEgress(connectors.EgressConfig{Allow: []string{target}, Setting: "audit.streams"})
	if err != nil {
		return nil, err
	}
	if spec.Kind == Syslog {
		return &syslogSink{spec: spec, form: newSyslogForm(&spec), egress: egress, timeout: c.Timing.Timeout, now: c.Now}, nil
	}
	return &httpSink{spec: spec, egress: egress, timeout: c.Timing.Timeout, now: c.Now}, nil
}

// Needed is the lowest index that a stream has not sent yet, and whether there is any stream: retention may take
// what is below it without a receiver missing anything.
func (s *Streams) Needed() (index uint64, any bool) {
	for _, w := range s.workers {
		w.mu.Lock()
		next := w.next
		w.mu.Unlock()
		if !any || next < index {
			index, any = next, true
		}
	}
	return index, any
}

// State is what a stream is doing.
type State string

// The states.
const (
	Delivering State = "delivering"
	Stalled    State = "stalled"
)

// Status is how a stream does. Where it leads is the operator's, who has the settings.
type Status struct {
	Name  string
	Kind  Kind
	State State
	// Reason and Since are of one that is stalled.
	Reason Reason
	Since  time.Time
	// Next is the index that is acknowledged next, End the one behind the newest record; Lag is for how long the
	// oldest that is not acknowledged has been waiting.
	Next, End uint64
	Lag       time.Duration
	Counts    Counts
}

// Statuses are those of all streams, in the order of the settings. It does no I/O.
func (s *Streams) Statuses(now time.Time) []Status {
	all := make([]Status, len(s.workers))
	for i, w := range s.workers {
		all[i] = w.status(now)
	}
	return all
}

func (w *worker) status(now time.Time) Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := Status{Name: w.spec.Name, Kind: w.spec.Kind, State: Delivering, Next: w.next, End: max(w.next, w.source.Size()), Counts: w.counts}
	if w.fault != nil {
		st.State, st.Reason, st.Since = Stalled, w.fault.reason, w.since
	}
	if !w.oldest.IsZero() && st.Next < st.End {
		st.Lag = max(0, now.Sub(w.oldest))
	}
	return st
}

// Health is nil while no stream is stalled. Nothing waits for a stream, so what is wrong is worth a look and no more.
func (s *Streams) Health() error {
	for _, w := range s.workers {
		w.mu.Lock()
		fault := w.fault
		w.mu.Unlock()
		if fault != nil {
			return fmt.Errorf("stream %s: %s", w.spec.Name, fault.reason)
		}
	}
	return nil
}
