package admission

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/trail"
)

// Config is what a [Register] needs. All fields but those with a default are required.
type Config struct {
	Store   Store
	Gate    *access.Gate
	Peppers access.Peppers
	Audit   *audit.Log
	Logger  *slog.Logger
	// Now defaults to [time.Now].
	Now func() time.Time
	// UseInterval is how often the uses of keys are written down; default one minute.
	UseInterval time.Duration
	// MaxKeys bounds the keys of an environment, and MaxRoles its roles; defaults [MaxKeys] and [MaxRoles].
	MaxKeys, MaxRoles int
}

// Bounds of an environment: every replica holds all of it in memory.
const (
	MaxKeys  = 10_000
	MaxRoles = 200
)

// Register is the use cases. It is safe for concurrent use and has to be closed.
//
// Every method takes the call of an authenticated actor first and returns access.ErrDenied if the actor may
// not, access.ErrUnauthenticated if its key was revoked meanwhile, [ErrTampered] for a record that is not what
// was stored, [ErrConflict], and an outage.Error if a dependency does not answer. The other errors stand at the
// methods.
type Register struct {
	store    Store
	gate     *access.Gate
	peppers  access.Peppers
	guard    *trail.Guard
	log      *slog.Logger
	now      func() time.Time
	maxKeys  int
	maxRoles int

	stop context.CancelFunc
	work sync.WaitGroup
}

// New checks the config and begins to write down uses.
func New(c Config) (*Register, error) {
	if c.Store == nil || c.Gate == nil || c.Peppers == nil || c.Audit == nil || c.Logger == nil {
		return nil, errors.New("admission: register needs Store, Gate, Peppers, Audit and Logger")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	life, stop := context.WithCancel(context.Background())
	r := &Register{
		store: c.Store, gate: c.Gate, peppers: c.Peppers, log: c.Logger, stop: stop,
		guard:   &trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge, Requests: c.Store},
		now:     func() time.Time { return c.Now().UTC().Truncate(time.Millisecond) },
		maxKeys: cmp.Or(c.MaxKeys, MaxKeys), maxRoles: cmp.Or(c.MaxRoles, MaxRoles),
	}
	r.work.Go(func() { r.keepUses(life, cmp.Or(c.UseInterval, time.Minute)) })
	return r, nil
}

// Close writes down the last uses and ends.
func (r *Register) Close() {
	r.stop()
	r.work.Wait()
}

// operation is one call on its way through a use case. It belongs to the call's goroutine.
type operation struct {
	*trail.Operation
	register *Register
}

// begin is the first statement of every exported method. The error has been recorded and is the caller's
// answer.
func (r *Register) begin(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := r.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	return &operation{Operation: o, register: r}, nil
}

// changeAttempts bounds the read-compare-write rounds of one change.
const changeAttempts = 16

// retry runs a round of a change until it does not conflict. Before each but the first the reads are made
// current again.
func (o *operation) retry(ctx context.Context, round func() error) error {
	for attempt := range changeAttempts {
		if attempt > 0 {
			if err := o.Refresh(ctx); err != nil {
				return err
			}
		}
		if err := round(); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// Errors of the use cases.
var (
	ErrNoKey = errors.New("admission: no such API key")
	// ErrKeyEnded means that the key has expired or was revoked: nothing brings it back.
	ErrKeyEnded = errors.New("admission: API key has ended")
	// ErrRotated means that another key was made to replace this one already.
	ErrRotated = errors.New("admission: API key was rotated")
	// ErrLastKey means that without this key nobody could make another one.
	ErrLastKey = errors.New("admission: last API key with every right")
	// ErrTooManyKeys and ErrTooManyRoles are the bounds of an environment.
	ErrTooManyKeys  = errors.New("admission: too many API keys")
	ErrTooManyRoles = errors.New("admission: too many roles")
	// ErrExceeds means that the caller does not have all that a key or role would allow.
	ErrExceeds = errors.New("admission: more than the caller may")
	ErrNoRole  = errors.New("admission: no such role")
	// ErrRoleExists also names the roles of the program itself, which nobody changes.
	ErrRoleExists = errors.New("admission: role exists")
	// ErrRoleInUse means that a key has the role which could still be used.
	ErrRoleInUse     = errors.New("admission: role in use")
	ErrUnknownCursor = errors.New("admission: unknown cursor")
	// ErrConflict means that too many changed the same record at once; nothing was changed.
	ErrConflict = errors.New("admission: conflict")
	ErrTampered = errors.New("admission: integrity failure")
)

// InvalidError is a refused value of a request (422). Field is the wire's name; Rule says what is allowed
// and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "admission: " + e.Field + " " + e.Rule }

// CodeInvalid is the code of an [InvalidError].
const CodeInvalid = "invalid_value"

func invalid(field, rule string) error { return &InvalidError{field, rule} }

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		switch action {
		case access.APIKeyCreate, access.APIKeyRotate, access.RoleCreate:
			return trail.Allow(201)
		case access.APIKeyRevoke, access.RoleDelete:
			return trail.Allow(204)
		}
		return trail.Allow(200)
	}
	var wrong *InvalidError
	if errors.As(err, &wrong) {
		return trail.Fail(CodeInvalid, 422)
	}
	return trail.Among(err, []trail.Case{
		{ErrNoKey, trail.Fail("entity_not_found", 404)},
		{ErrNoRole, trail.Fail("entity_not_found", 404)},
		{ErrKeyEnded, trail.Fail("api_key_already_expired", 409)},
		{ErrRotated, trail.Fail("api_key_rotated", 409)},
		{ErrLastKey, trail.Fail("last_admin_api_key", 409)},
		{ErrTooManyKeys, trail.Fail("too_many_api_keys", 409)},
		{ErrTooManyRoles, trail.Fail("too_many_roles", 409)},
		{ErrExceeds, trail.Deny("exceeds_own_rights", 403)},
		{ErrRoleExists, trail.Fail("role_exists", 409)},
		{ErrRoleInUse, trail.Fail("role_in_use", 409)},
		{ErrUnknownCursor, trail.Fail("invalid_cursor", 400)},
		{ErrConflict, trail.Fail("concurrent_request", 503)},
		{ErrTampered, trail.Fail("integrity_failure", 500)},
	})
}
