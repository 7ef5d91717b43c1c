package trail

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/idempotency"
	"culvert/internal/outage"
)

// Verdict is the result of a call and the code and status of its answer. Codes are a closed list, so
// that no error's text ever enters the trail; the code of a success is "".
type Verdict struct {
	Result audit.Result
	Code   string
	Status int
}

// Allow is the verdict of a success.
func Allow(status int) Verdict { return Verdict{Result: audit.Allowed, Status: status} }

// Deny is the verdict of a call whose actor may not do what it asked.
func Deny(code string, status int) Verdict {
	return Verdict{Result: audit.Denied, Code: code, Status: status}
}

// Fail is the verdict of a call that came to nothing for another reason.
func Fail(code string, status int) Verdict {
	return Verdict{Result: audit.Failed, Code: code, Status: status}
}

// Case is an error of a use case of its own, and how a call that meets it has ended. An alias, so that tables of them
// are written without names.
type Case = struct {
	Err error
	Verdict
}

// Among is the verdict of the first case that err is, or else what [Known] says.
func Among(err error, cases []Case) Verdict {
	if outage.Of(err) != nil { // first: an outage wraps its cause
		return Known(err)
	}
	for _, c := range cases {
		if errors.Is(err, c.Err) {
			return c.Verdict
		}
	}
	return Known(err)
}

// Known judges the errors that every use case may end with: denials, outages, and a caller who left.
// What it does not know is an internal error. Statuses are known here only to be recorded: answers are
// made in server/errors.go, which this list follows.
func Known(err error) Verdict {
	// An outage wraps its cause, often a deadline: it is asked for first.
	if o := outage.Of(err); o != nil {
		return Fail(o.Code(), 503)
	}
	switch {
	case errors.Is(err, access.ErrDenied):
		return Deny("forbidden", 403)
	case errors.Is(err, access.ErrUnauthenticated):
		return Deny("unauthorized", 401)
	case errors.Is(err, idempotency.ErrOtherBody):
		return Fail("idempotency_error", 409)
	case errors.Is(err, idempotency.ErrRepeated):
		return Fail("concurrent_request", 503)
	case errors.Is(err, context.Canceled):
		return Fail("client_closed_request", 499)
	case errors.Is(err, context.DeadlineExceeded):
		return Fail("timeout", 503)
	}
	return Fail("internal_error", 500)
}
