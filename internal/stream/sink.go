package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"syscall"
	"time"

	"culvert/connectors"
)

// sink is where one stream leads. It belongs to the stream's goroutine, and every call ends within its time limit.
type sink interface {
	// send hands a batch over. After an error nobody knows what of it has arrived.
	send(ctx context.Context, b *batch) error
	// settle returns nil once everything that was sent since the last settle is acknowledged.
	settle(ctx context.Context) error
	// late tells that settling is worth waiting for more to settle.
	late() bool
	// drop gives up what is open; the next send begins anew.
	drop()
}

// Reason is why a stream stalls, in words of our own.
type Reason string

// The reasons.
const (
	// ReasonUnreachable is a receiver that no connection leads to, ReasonBlocked an address that our own rules forbid,
	// ReasonConnection a connection that broke.
	ReasonUnreachable Reason = "unreachable"
	ReasonBlocked     Reason = "address_not_allowed"
	ReasonTimeout     Reason = "timeout"
	ReasonTLS         Reason = "tls_failed"
	ReasonConnection  Reason = "connection_lost"
	// ReasonNoEnd is a syslog receiver that did not end a connection which we had ended.
	ReasonNoEnd Reason = "not_acknowledged"
	// ReasonStatus is an answer of an HTTP receiver that is no 2xx; 429 and 413 have reasons of their own, and after
	// a 413 batches are halved.
	ReasonStatus   Reason = "refused"
	ReasonTooMany  Reason = "too_many_requests"
	ReasonTooLarge Reason = "batch_too_large"
	// ReasonCredentials is a file with a token, a secret, a key or certificates that cannot be read, or must not be.
	ReasonCredentials Reason = "credentials_unreadable"
	ReasonFile        Reason = "file_not_writable"
	// ReasonPlace is the stream's own file in the data directory, ReasonLog the log that is to be sent.
	ReasonPlace Reason = "place_not_stored"
	ReasonLog   Reason = "audit_log_unreadable"
)

// failure is what a sink returns. after is how long the receiver wants to be left alone, 0 if it does not say.
type failure struct {
	reason Reason
	after  time.Duration
	err    error
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %v", f.reason, f.err) }
func (f *failure) Unwrap() error { return f.err }

// fail finds the reason behind an error of the network; otherwise is the one if there is no better.
func fail(otherwise Reason, err error) *failure {
	if known := new(failure); errors.As(err, &known) {
		return known
	}
	// The text of a url.Error has the URL in it, which operators put credentials into.
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	var timeout interface{ Timeout() bool }
	reason := otherwise
	switch {
	case errors.Is(err, connectors.ErrBlocked):
		reason = ReasonBlocked
	case isTLS(err):
		reason = ReasonTLS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		reason = ReasonTimeout
	}
	return &failure{reason: reason, err: err}
}

// maxSecret bounds files with credentials and certificates.
const maxSecret = 256 << 10

// readSecret reads a file that nobody but its owner and its group may use. The error names it and shows nothing.
func readSecret(path string) ([]byte, error) { return readFile(path, 0o007) }

func readFile(path string, refused os.FileMode) (content []byte, err error) {
	// Non-blocking: a named pipe in the file's place would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, &failure{reason: ReasonCredentials, err: err}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case info.Mode().Perm()&refused != 0:
		err = fmt.Errorf("mode %04o lets everybody use it", info.Mode().Perm())
	case info.Size() > maxSecret:
		err = errors.New("too large to be what it should be")
	default:
		content, err = io.ReadAll(io.LimitReader(f, maxSecret))
	}
	if err != nil {
		return nil, &failure{reason: ReasonCredentials, err: fmt.Errorf("%s: %w", path, err)}
	}
	return content, nil
}
