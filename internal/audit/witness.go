package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// WitnessConfig is what a [FileWitness] needs.
type WitnessConfig struct {
	// Log and Notary are required: the log is compared with what the file has, under the notary's keys.
	Log    *Log
	Notary *Notary
	// Path is the file's; required. It is made if only it is missing.
	Path string
	// Every is how often the newest checkpoint is written, if it is another one; default a minute.
	Every time.Duration
}

// FileWitness appends signed checkpoints of a log to a file on another disk, which an auditor compares the log with.
// Before it does, the last one there has to be of the same log: who stole the signing key, rewrote the log and its
// checkpoints, and does not reach that disk, is found at once and leaves a record. Nothing waits for it: a file that is
// away gets the newest checkpoint when it is back.
type FileWitness struct {
	config WitnessConfig
	quit   chan struct{}
	ended  sync.WaitGroup
	// written is the size of the newest checkpoint that the file has, once that is known; contradicted the note there
	// that was recorded as not fitting. They belong to its goroutine.
	written      uint64
	contradicted string

	fault atomic.Pointer[error]
}

// StartFileWitness begins to write.
func StartFileWitness(c WitnessConfig) (*FileWitness, error) {
	if c.Log == nil || c.Notary == nil || c.Path == "" {
		return nil, errors.New("audit: witness needs Log, Notary and Path")
	}
	if c.Every <= 0 {
		c.Every = time.Minute
	}
	w := &FileWitness{config: c, quit: make(chan struct{})}
	w.ended.Go(w.run)
	return w, nil
}

// Close writes the newest checkpoint and ends, but waits no longer than a few seconds for a disk that hangs.
func (w *FileWitness) Close() error {
	close(w.quit)
	ended := make(chan struct{})
	go func() { w.ended.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(closeTime):
		return fmt.Errorf("%s: disk hangs", w.config.Path)
	}
}

// Health is nil while checkpoints get there.
func (w *FileWitness) Health() error {
	if err := w.fault.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *FileWitness) run() {
	tick := time.NewTicker(w.config.Every)
	defer tick.Stop()
	for {
		w.round()
		select {
		case <-tick.C:
		case <-w.quit:
			w.round()
			return
		}
	}
}

// round is told of in the log when it begins to fail, and when it ceases to.
func (w *FileWitness) round() {
	logger := w.config.Notary.config.Logger
	err := w.write()
	if err != nil {
		if w.fault.Swap(&err) == nil {
			logger.Warn("checkpoints of the audit log do not reach the witness", "file", w.config.Path, "error", err)
		}
	} else if w.fault.Swap(nil) != nil {
		logger.Info("checkpoints of the audit log reach the witness again", "file", w.config.Path)
	}
}

// write appends the newest checkpoint that the store has, too.
func (w *FileWitness) write() (err error) {
	newest := w.config.Notary.newest.Load()
	if newest == nil || newest.size == w.written {
		return nil
	}
	f, err := os.OpenFile(w.config.Path, appendFlags|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	last, end, err := lastNote(f, info.Size())
	if err != nil {
		return err
	}
	if last != nil {
		same, err := w.compare(last, newest)
		if err != nil || same {
			return err
		}
	}
	if end < info.Size() {
		// What a crash left of a write; nobody can have taken it for a checkpoint.
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if _, err := f.Write(newest.signed); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	w.written = newest.size
	return nil
}

// compare wants the newest checkpoint to continue the last one of the file; same tells that it is that.
func (w *FileWitness) compare(last []byte, newest *signedNote) (same bool, err error) {
	l := w.config.Log
	c, err := OpenCheckpoint(last, newest.keys)
	code := ""
	switch {
	case err != nil || c.Node != l.Node():
		code = codeSignature
	case c.Size > newest.size:
		code = codeShorter
	default:
		p, err := l.Extend(c.Size, newest.size)
		if errors.Is(err, ErrNoProof) {
			break // the hash file was made anew: it cannot be told, and an auditor has the records
		}
		if err != nil {
			return false, err
		}
		if p.FromRoot != c.Root {
			code = codeForked
		}
	}
	if code == "" {
		w.written = c.Size
		return c.Size == newest.size, nil
	}
	if w.contradicted != string(last) {
		r := Record{Action: actionContradicted, Phase: Internal, Result: Failed, Code: code, Subject: l.Node(), Checkpoint: string(last)}
		if _, err := l.Append(context.Background(), r); err != nil {
			return false, err
		}
		w.contradicted = string(last)
	}
	return false, fmt.Errorf("the last checkpoint there and this log do not fit (%s): culvert audit verify --checkpoint says more", code)
}

// lastNote is the last whole note of a file, nil if there is none, and where it ends.
func lastNote(f io.ReaderAt, size int64) (last []byte, end int64, err error) {
	start := max(0, size-2*maxCheckpoint)
	tail := make([]byte, size-start)
	if _, err := f.ReadAt(tail, start); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	for _, signed := range SplitCheckpoints(tail) {
		start += int64(len(signed))
		// The signatures stand behind an empty line, and each ends its line.
		if text, signatures, ok := bytes.Cut(signed, []byte("\n\n")); ok && bytes.HasPrefix(text, []byte(originPrefix)) && bytes.HasSuffix(signatures, []byte("\n")) {
			last, end = signed, start
		}
	}
	if last == nil && size > 2*maxCheckpoint {
		return nil, 0, errors.New("no checkpoint at the end of the file")
	}
	return last, end, nil
}
