// Package outage is the error of a dependency that does not answer in time or refuses work. It names
// the dependency, so that a 503 and the readiness page can name it too.
package outage

import (
	"errors"
	"time"
)

// The dependencies as clients and readiness name them.
const (
	Etcd    = "etcd"
	RootKey = "root_key"
	// CMK is the KMS of a customer's key, where RootKey is that of our own.
	CMK   = "cmk"
	Audit = "audit"
	// Journal is the refresh journal of this replica.
	Journal = "journal"
	Clock   = "clock"
	Node    = "node"
	// Segments are the files of older events.
	Segments = "segments"
)

// Kind tells what a caller may conclude.
type Kind int

// The kinds.
const (
	// Unavailable: nothing was changed; try again later.
	Unavailable Kind = iota
	// Full: creates and updates are refused so that deletes keep working; nothing was changed.
	Full
	// Unknown: a write was sent, and whether it happened could not be learned within the deadline.
	Unknown
)

// Error is an outage. Cause is for the log; it never reaches a client.
type Error struct {
	Dependency string
	Kind       Kind
	// RetryAfter is a hint for the caller; 0 means one second.
	RetryAfter time.Duration
	Cause      error
}

func (e *Error) Error() string {
	text := e.Dependency + " unavailable"
	switch e.Kind {
	case Full:
		text = e.Dependency + " nearly full"
	case Unknown:
		text = e.Dependency + " unavailable, outcome of the write unknown"
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// Code is the machine-readable error code, in answers and audit records alike.
func (e *Error) Code() string {
	switch {
	case e.Kind == Unknown:
		return "outcome_unknown"
	case e.Kind == Full:
		return "storage_full"
	case e.Dependency == Etcd:
		return "storage_unavailable"
	}
	return e.Dependency + "_unavailable"
}

// Of finds the outage in an error chain, or nil.
func Of(err error) *Error {
	var o *Error
	if errors.As(err, &o) {
		return o
	}
	return nil
}
