package environments

import (
	"cmp"
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/trail"
	"culvert/keys"
)

// MaxEnvironments bounds those of a store: every replica works for each of them all the time.
const MaxEnvironments = 100

// Config is what [Environments] stand on. All fields but those with a default are required.
type Config struct {
	Store Store
	Gate  *access.Gate
	Audit *audit.Log
	// Roots wrap the keysets of a new environment.
	Roots *keys.RootKeys
	// Now defaults to [time.Now].
	Now func() time.Time
	// Max bounds the environments of a store; default [MaxEnvironments].
	Max int
}

// Environments are the use cases. They are immutable and safe for concurrent use.
//
// Every method takes the call of an authenticated actor first and returns access.ErrDenied if the actor may not,
// access.ErrUnauthenticated if its key was revoked meanwhile, [ErrTampered] for a record that is not what was
// stored, keys.ErrRefused if the root key is not to be had, and an outage.Error if a dependency does not answer. The other errors stand at the methods.
type Environments struct {
	store Store
	gate  *access.Gate
	guard *trail.Guard
	audit *audit.Log
	roots *keys.RootKeys
	now   func() time.Time
	max   int
}

// New checks the config.
func New(c Config) (*Environments, error) {
	if c.Store == nil || c.Gate == nil || c.Audit == nil || c.Roots == nil {
		return nil, errors.New("environments: Store, Gate, Audit and Roots are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Environments{
		store: c.Store, gate: c.Gate, audit: c.Audit, roots: c.Roots, max: cmp.Or(c.Max, MaxEnvironments),
		guard: &trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge},
		now:   func() time.Time { return c.Now().UTC().Truncate(time.Millisecond) },
	}, nil
}

// Errors of the use cases.
var (
	ErrNotFound = errors.New("environments: no such environment")
	ErrExists   = errors.New("environments: name is taken")
	// ErrTooMany is the bound of a store.
	ErrTooMany = errors.New("environments: too many environments")
	// ErrConflict means that too many were made at once; nothing was changed.
	ErrConflict = errors.New("environments: conflict")
	ErrTampered = errors.New("environments: integrity failure")
)

// InvalidError is a refused value of a request (422). Field is the wire's name; Rule says what is allowed
// and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "environments: " + e.Field + " " + e.Rule }

// CodeInvalid is the code of an [InvalidError].
const CodeInvalid = "invalid_value"

// operation is one call on its way through a use case. It belongs to the call's goroutine.
type operation struct {
	*trail.Operation
	environments *Environments
}

// begin is the first statement of every exported method. The error has been recorded and is the caller's answer.
func (es *Environments) begin(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := es.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	return &operation{Operation: o, environments: es}, nil
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		if action == access.EnvironmentsCreate {
			return trail.Allow(201)
		}
		return trail.Allow(200)
	}
	var wrong *InvalidError
	if errors.As(err, &wrong) {
		return trail.Fail(CodeInvalid, 422)
	}
	return trail.Among(err, []trail.Case{
		{Err: ErrNotFound, Verdict: trail.Fail("entity_not_found", 404)},
		{Err: ErrExists, Verdict: trail.Fail("environment_exists", 409)},
		{Err: ErrTooMany, Verdict: trail.Fail("too_many_environments", 409)},
		{Err: ErrConflict, Verdict: trail.Fail("concurrent_request", 503)},
		{Err: keys.ErrRefused, Verdict: trail.Fail("root_key_refused", 403)},
		{Err: ErrTampered, Verdict: trail.Fail("integrity_failure", 500)},
	})
}
