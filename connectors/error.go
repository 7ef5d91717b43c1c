package connectors

import (
	"errors"
	"time"
)

// Class tells what may be concluded from a failed call.
type Class int

// The classes of practice: what a broker may do next depends on nothing else.
const (
	// Transient: the provider is down or busy; nothing happened. Retry later.
	Transient Class = iota + 1
	// Ambiguous: the request was sent and no readable answer came; it may have taken effect.
	Ambiguous
	// DeadGrant: the provider says that this code or refresh token is no longer good.
	DeadGrant
	// ClientRejected: the provider refuses the client itself. No account is to blame.
	ClientRejected
	// Refused: any other definite refusal, such as a wrong parameter.
	Refused
	// Blocked: our own rules forbid the address; nothing was sent.
	Blocked
)

// String is the class's name in logs.
func (c Class) String() string {
	switch c {
	case Transient:
		return "transient"
	case Ambiguous:
		return "ambiguous"
	case DeadGrant:
		return "dead_grant"
	case ClientRejected:
		return "client_rejected"
	case Refused:
		return "refused"
	case Blocked:
		return "blocked"
	}
	return "unknown"
}

// Error is a failed call to a provider. It never holds a body, a token or a URL with a query.
type Error struct {
	Class Class
	// Code is the provider's error code if it is made of [a-z0-9_.-] and short, else "".
	Code string
	// Ending is why, of a DeadGrant whose provider says so in a code; "" if it does not.
	Ending Ending
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is the provider's wish, 0 without one.
	RetryAfter time.Duration
	// Cause is for the log; it holds no part of the request or the reply.
	Cause error
}

func (e *Error) Error() string {
	text := "connectors: provider call failed"
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// Of finds the failed call in an error chain, or nil.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
