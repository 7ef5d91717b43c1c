package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// logDelay is how long a line of the access log may wait to be written: one write for many requests,
// where one each would be a tenth of what a read costs. Warnings and errors are written at once.
const logDelay = 100 * time.Millisecond

// maxLines bounds what waits while whoever reads the log does not: lines beyond it are dropped and counted.
const maxLines = 4 << 20

// lineBuffer collects log lines, which one goroutine writes: a reader of the log that stands still must not
// hold up requests, nor the end of the process. It is safe for concurrent use; Close writes what is left,
// for no longer than [closeWait].
type lineBuffer struct {
	urgent chan struct{} // capacity 1
	// dropped counts lines that found no room. Guarded by mu.
	dropped int
	// tell is the line that says how many, %d.
	tell string

	out io.Writer

	mu sync.Mutex
	// lines and spare are guarded by mu: what waits, and an empty buffer to go on with.
	lines, spare []byte

	stop    chan struct{}
	stopped sync.WaitGroup
}

func newLineBuffer(out io.Writer, tell string) *lineBuffer {
	b := &lineBuffer{out: out, tell: tell, stop: make(chan struct{}), urgent: make(chan struct{}, 1)}
	b.stopped.Go(b.run)
	return b
}

// Write takes whole lines and never fails nor waits: a log that cannot be written must not fail a request.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	if len(b.lines)+len(line) > maxLines {
		b.dropped++
	} else {
		b.lines = append(b.lines, line...)
	}
	full := len(b.lines) > 1<<20
	b.mu.Unlock()
	if full {
		b.hurry()
	}
	return len(line), nil
}

// hurry has what waits written now.
func (b *lineBuffer) hurry() {
	select {
	case b.urgent <- struct{}{}:
	default:
	}
}

// closeWait bounds what the end of the process waits for the reader of the log.
const closeWait = time.Second

// Close writes what is left and ends the writer.
func (b *lineBuffer) Close() error {
	close(b.stop)
	done := make(chan struct{})
	go func() {
		b.stopped.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeWait):
	}
	return nil
}

func (b *lineBuffer) run() {
	tick := time.NewTicker(logDelay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.urgent:
		case <-b.stop:
			b.flush()
			return
		}
		b.flush()
	}
}

// flush is called by the one goroutine that writes.
func (b *lineBuffer) flush() {
	b.mu.Lock()
	lines, dropped := b.lines, b.dropped
	b.lines, b.dropped = b.spare[:0], 0
	b.mu.Unlock()
	if dropped > 0 {
		lines = fmt.Appendf(lines, b.tell+"\n", dropped)
	}
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
		h.buffer.hurry()
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

// The formats of the log.
const (
	logText = "text"
	logJSON = "json"
)

// level is the least that is written; false for a word that is none.
func (c LogConfig) level() (slog.Level, bool) {
	level, known := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[c.Level]
	return level, known
}

// durationsInSeconds writes durations as metrics have them. A bare number of nanoseconds says its unit to nobody.
func durationsInSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// newLogger is the program's logger, and what to close when it ends. Either handler quotes what is no plain word, so
// that nothing in a line can look like another one.
func newLogger(out io.Writer, c LogConfig) (*slog.Logger, io.Closer) {
	level, _ := c.level()
	options := &slog.HandlerOptions{Level: level}
	if c.Format == logJSON {
		options.ReplaceAttr = durationsInSeconds
		b := newLineBuffer(out, `{"level":"WARN","msg":"log lines were dropped","count":%d}`)
		return slog.New(urgentHandler{slog.NewJSONHandler(b, options), b}), b
	}
	b := newLineBuffer(out, `level=WARN msg="log lines were dropped" count=%d`)
	return slog.New(urgentHandler{slog.NewTextHandler(b, options), b}), b
}
