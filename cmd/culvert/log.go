package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// logDelay is how long a line of the access log may wait to be written: one write for many requests,
// where one each would be a tenth of what a read costs. Warnings and errors are written at once.
const logDelay = 100 * time.Millisecond

// lineBuffer collects log lines. It is safe for concurrent use; Close writes what is left.
type lineBuffer struct {
	out io.Writer

	mu sync.Mutex
	// lines and spare are guarded by mu: what waits, and an empty buffer to go on with.
	lines, spare []byte
	// writing serialises writes, so that lines keep their order.
	writing sync.Mutex

	stop    chan struct{}
	stopped sync.WaitGroup
}

func newLineBuffer(out io.Writer) *lineBuffer {
	b := &lineBuffer{out: out, stop: make(chan struct{})}
	b.stopped.Go(b.run)
	return b
}

// Write takes whole lines and never fails: a log that cannot be written must not fail a request.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	b.lines = append(b.lines, line...)
	full := len(b.lines) > 1<<20
	b.mu.Unlock()
	if full {
		b.flush()
	}
	return len(line), nil
}

// Close writes what is left and ends the ticker.
func (b *lineBuffer) Close() error {
	close(b.stop)
	b.stopped.Wait()
	b.flush()
	return nil
}

func (b *lineBuffer) run() {
	tick := time.NewTicker(logDelay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.flush()
		case <-b.stop:
			return
		}
	}
}

func (b *lineBuffer) flush() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lines := b.lines
	b.lines = b.spare[:0]
	b.mu.Unlock()
	if len(lines) > 0 {
		_, _ = b.out.Write(lines)
	}
	b.mu.Lock()
	b.spare = lines[:0]
	b.mu.Unlock()
}

// urgentHandler writes out the buffer behind a warning or an error.
type urgentHandler struct {
	slog.Handler
	buffer *lineBuffer
}

// Handle implements [slog.Handler].
func (h urgentHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.buffer.flush()
	}
	return err
}

// WithAttrs implements [slog.Handler].
func (h urgentHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgentHandler{h.Handler.WithAttrs(attrs), h.buffer}
}

// WithGroup implements [slog.Handler].
func (h urgentHandler) WithGroup(name string) slog.Handler {
	return urgentHandler{h.Handler.WithGroup(name), h.buffer}
}

// newLogger is the program's logger, and what to close when it ends.
func newLogger(out io.Writer) (*slog.Logger, io.Closer) {
	b := newLineBuffer(out)
	return slog.New(urgentHandler{slog.NewTextHandler(b, nil), b}), b
}
