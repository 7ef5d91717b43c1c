package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/internal/trail"
	"culvert/keys"
)

// Errors of use cases, beside those of a [Store].
var (
	// ErrDuplicate means that another endpoint has the URL (409).
	ErrDuplicate = errors.New("webhooks: an endpoint with this URL exists")
	// ErrTooMany means that the environment has as many endpoints as one may have (409).
	ErrTooMany = errors.New("webhooks: too many endpoints")
	// ErrURL means that a URL is none that this server would send events to (422).
	ErrURL = errors.New("webhooks: URL not allowed")
)

// InvalidError is a refused value. Rule says what is allowed and never repeats what was sent.
type InvalidError struct{ Field, Code, Rule string }

func (e *InvalidError) Error() string { return "webhooks: " + e.Field + " " + e.Rule }

// Config is what [New] needs; all fields but Now are required.
type Config struct {
	Store        Store
	Environments *keys.Environments
	Gate         *access.Gate
	Audit        *audit.Log
	// Egress decides where endpoints may be.
	Egress *connectors.Egress
	// Now defaults to [time.Now].
	Now func() time.Time
}

// Webhooks are the use cases around endpoints. It is immutable and safe for concurrent use; a [Deliverer] delivers.
type Webhooks struct {
	store        Store
	environments *keys.Environments
	egress       *connectors.Egress
	guard        trail.Guard
	now          func() time.Time
	known        map[events.Type]bool
}

// New checks the config.
func New(c Config) (*Webhooks, error) {
	if c.Store == nil || c.Environments == nil || c.Gate == nil || c.Audit == nil || c.Egress == nil {
		return nil, errors.New("webhooks: Store, Environments, Gate, Audit and Egress are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	known := map[events.Type]bool{}
	for _, t := range events.Types() {
		known[t] = true
	}
	return &Webhooks{
		store: c.Store, environments: c.Environments, egress: c.Egress, now: c.Now, known: known,
		guard: trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge},
	}, nil
}

// operation is a call on its way through a use case.
type operation struct {
	*trail.Operation
	hooks *Webhooks
	env   *keys.Environment
}

// begin is the first statement of every exported method. What an endpoint is sent is what GET /events shows, so
// whoever decides on it has to be allowed that as well.
func (w *Webhooks) begin(ctx context.Context, call access.Call, action access.Action) (*operation, error) {
	o, err := w.guard.Begin(ctx, call, action)
	if err != nil {
		return nil, err
	}
	if action != access.WebhooksRead {
		if _, err := w.guard.Gate.Authorize(o.Permit.Actor(), access.EventsList); err != nil {
			return nil, o.End(ctx, err)
		}
	}
	env, err := w.environments.Environment(o.Environment())
	if err != nil {
		return nil, o.End(ctx, err)
	}
	return &operation{o, w, env}, nil
}

// changeAttempts bounds how often a change that somebody else was faster than is tried.
const changeAttempts = 10

// retry repeats a change on what others have made of the records meanwhile.
func (o *operation) retry(ctx context.Context, change func() error) error {
	for range changeAttempts {
		err := change()
		if !errors.Is(err, keys.ErrConflict) {
			return err
		}
		if err := o.Refresh(ctx); err != nil {
			return err
		}
	}
	return keys.ErrConflict
}

// endpoints are those of the environment, with one of them if an id is given. The list is there also where that one
// is not, or is damaged.
func (o *operation) endpoints(ctx context.Context, id EndpointID) (*Endpoints, *Endpoint, int64, error) {
	all, revision, err := o.hooks.store.Endpoints(ctx, o.Environment())
	if err != nil {
		return nil, nil, 0, err
	}
	o.Record.Revision = revision
	if id == "" {
		return all, nil, revision, nil
	}
	found := all.find(id)
	switch {
	case found == nil && slices.Contains(all.Damaged, id):
		o.Record.ObjectID = string(id)
		return all, nil, revision, keys.ErrTampered
	case found == nil:
		return all, nil, revision, ErrNoEndpoint
	}
	o.Record.ObjectID = string(id)
	return all, found, revision, nil
}

// checkURL refuses what could never be sent to. The dialer decides again, on the address.
func (w *Webhooks) checkURL(url string) error {
	if len(url) > maxURLBytes {
		return fmt.Errorf("%w: longer than %d bytes", ErrURL, maxURLBytes)
	}
	if err := w.egress.CheckURL(url); err != nil {
		return fmt.Errorf("%w: %w", ErrURL, err)
	}
	return nil
}

// types are those of a list, once each.
func (w *Webhooks) types(names []string) ([]events.Type, error) {
	var types []events.Type
	seen := map[events.Type]bool{}
	for _, name := range names {
		t := events.Type(name)
		if !w.known[t] {
			return nil, &InvalidError{Field: "events", Code: "unknown_event_type", Rule: "may only name events that the API has, in full and without wildcards"}
		}
		if !seen[t] {
			seen[t] = true
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		return nil, &InvalidError{Field: "events", Code: "required", Rule: "must name at least one event"}
	}
	return types, nil
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	var invalid *InvalidError
	switch {
	case err == nil && action == access.WebhooksCreate:
		return trail.Allow(201)
	case err == nil && action == access.WebhooksDelete:
		return trail.Allow(204)
	case err == nil:
		return trail.Allow(200)
	case outage.Of(err) != nil: // first: an outage wraps its cause
		return trail.Known(err)
	case errors.As(err, &invalid):
		return trail.Fail(invalid.Code, 422)
	case errors.Is(err, ErrURL):
		return trail.Fail("invalid_url", 422)
	case errors.Is(err, ErrNoEndpoint):
		return trail.Fail("entity_not_found", 404)
	case errors.Is(err, ErrDuplicate):
		return trail.Fail("duplicate_endpoint", 409)
	case errors.Is(err, ErrTooMany):
		return trail.Fail("too_many_endpoints", 409)
	case errors.Is(err, events.ErrUnknownCursor):
		return trail.Fail("invalid_cursor", 400)
	case errors.Is(err, keys.ErrConflict):
		return trail.Fail("concurrent_request", 503)
	case errors.Is(err, keys.ErrTampered):
		return trail.Fail("integrity_failure", 500)
	}
	return trail.Known(err)
}
