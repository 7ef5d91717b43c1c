package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
	"culvert/keys"
)

// CreateRequest asks for an endpoint.
type CreateRequest struct {
	URL    string
	Events []string
}

// Create makes an endpoint, which is sent what is committed from now on. The answer has its secret.
//
// Errors: [*InvalidError], [ErrURL], [ErrDuplicate], [ErrTooMany], keys.ErrConflict.
func (w *Webhooks) Create(ctx context.Context, call access.Call, r CreateRequest) (Revealed, error) {
	o, err := w.begin(ctx, call, access.WebhooksCreate)
	if err != nil {
		return Revealed{}, err
	}
	made, err := o.create(ctx, r)
	return trail.Committed(ctx, o.Operation, made, err)
}

func (o *operation) create(ctx context.Context, r CreateRequest) (made Revealed, err error) {
	types, err := o.hooks.types(r.Events)
	if err != nil {
		return Revealed{}, err
	}
	if err := o.hooks.checkURL(r.URL); err != nil {
		return Revealed{}, err
	}
	now := o.hooks.now().UTC()
	e := Endpoint{ID: newEndpointID(now), URL: r.URL, Events: types, CreatedAt: now, UpdatedAt: now}
	e = e.rotated(0, now)
	o.Record.ObjectID = string(e.ID)
	err = o.retry(ctx, func() error {
		all, _, revision, err := o.endpoints(ctx, "")
		switch {
		case err != nil:
			return err
		case all.hasURL(r.URL, ""):
			return ErrDuplicate
		case len(all.List) >= MaxEndpoints:
			return ErrTooMany
		}
		newest, err := o.hooks.newest(ctx, o.Environment())
		if err != nil {
			return err
		}
		return o.change(ctx, &e, events.EndpointCreated, Change{
			Endpoint: &e, Revision: revision,
			Progress: &Progress{Environment: o.Environment(), Endpoint: e.ID, Cursor: newest, Since: now},
		})
	})
	return o.reveal(&e), err
}

// newest is the id of the last event of the log; empty if there is none.
func (w *Webhooks) newest(ctx context.Context, env access.EnvironmentID) (string, error) {
	page, err := w.store.Page(ctx, env, events.Query{Limit: 1, Order: events.Descending})
	if err != nil || len(page.Data) == 0 {
		return "", err
	}
	return page.Data[0].ID, nil
}

// UpdateRequest changes an endpoint; nil leaves a part as it is.
type UpdateRequest struct {
	ID     EndpointID
	URL    *string
	Status *string
	Events *[]string
}

// Update changes an endpoint. One that is disabled is sent nothing, and goes on where it stopped once it is
// enabled. After a change of its URL or status the next attempt is due at once.
//
// Errors: [*InvalidError], [ErrURL], [ErrNoEndpoint], [ErrDuplicate], keys.ErrConflict.
func (w *Webhooks) Update(ctx context.Context, call access.Call, r UpdateRequest) (View, error) {
	o, err := w.begin(ctx, call, access.WebhooksUpdate)
	if err != nil {
		return View{}, err
	}
	var view View
	err = o.retry(ctx, func() (err error) {
		view, err = o.update(ctx, r)
		return err
	})
	return trail.Committed(ctx, o.Operation, view, err)
}

func (o *operation) update(ctx context.Context, r UpdateRequest) (View, error) {
	all, found, revision, err := o.endpoints(ctx, r.ID)
	if err != nil {
		return View{}, err
	}
	e := *found
	if r.Events != nil {
		if e.Events, err = o.hooks.types(*r.Events); err != nil {
			return View{}, err
		}
	}
	if r.URL != nil {
		if err := o.hooks.checkURL(*r.URL); err != nil {
			return View{}, err
		}
		if all.hasURL(*r.URL, e.ID) {
			return View{}, ErrDuplicate
		}
		e.URL = *r.URL
	}
	if r.Status != nil {
		if *r.Status != Enabled && *r.Status != Disabled {
			return View{}, &InvalidError{Field: "status", Code: "invalid_value", Rule: "must be enabled or disabled"}
		}
		e.Disabled = *r.Status == Disabled
	}
	c := Change{Revision: revision}
	now := o.hooks.now().UTC()
	if e.URL != found.URL || found.Disabled && !e.Disabled {
		p, at, err := o.hooks.store.Progress(ctx, o.Environment(), e.ID)
		if err != nil {
			return View{}, err
		}
		p.Since, p.Failures, p.FailingSince, p.NextAt = now, 0, time.Time{}, time.Time{}
		c.Progress, c.ProgressAt = &p, at
	}
	e.UpdatedAt = now
	c.Endpoint = &e
	return o.view(&e), o.change(ctx, &e, events.EndpointUpdated, c)
}

// Delete removes an endpoint with all there is of it, a damaged one too. No attempt begins after it.
//
// Errors: [ErrNoEndpoint], keys.ErrConflict.
func (w *Webhooks) Delete(ctx context.Context, call access.Call, id EndpointID) error {
	o, err := w.begin(ctx, call, access.WebhooksDelete)
	if err != nil {
		return err
	}
	err = o.retry(ctx, func() error {
		_, found, revision, err := o.endpoints(ctx, id)
		if errors.Is(err, keys.ErrTampered) {
			found, err = &Endpoint{ID: id, Disabled: true, Events: []events.Type{}}, nil
		}
		if err != nil {
			return err
		}
		return o.change(ctx, found, events.EndpointDeleted, Change{Revision: revision, Removed: id})
	})
	_, err = trail.Committed(ctx, o.Operation, struct{}{}, err)
	return err
}

// RotateRequest asks for another secret.
type RotateRequest struct {
	ID EndpointID
	// Overlap is how long the present secret goes on signing; nil stands for [DefaultOverlap].
	Overlap *time.Duration
}

// RotateSecret gives an endpoint another secret, which the answer has. The present one signs on for the overlap;
// the one before that signs no more.
//
// Errors: [*InvalidError], [ErrNoEndpoint], keys.ErrConflict.
func (w *Webhooks) RotateSecret(ctx context.Context, call access.Call, r RotateRequest) (Revealed, error) {
	o, err := w.begin(ctx, call, access.WebhooksRotate)
	if err != nil {
		return Revealed{}, err
	}
	var made Revealed
	err = o.retry(ctx, func() (err error) {
		made, err = o.rotate(ctx, r)
		return err
	})
	return trail.Committed(ctx, o.Operation, made, err)
}

func (o *operation) rotate(ctx context.Context, r RotateRequest) (Revealed, error) {
	overlap := DefaultOverlap
	if r.Overlap != nil {
		overlap = *r.Overlap
	}
	if overlap < 0 || overlap > MaxOverlap {
		return Revealed{}, &InvalidError{Field: "overlap", Code: "invalid_value", Rule: "must be 0s to 720h"}
	}
	_, found, revision, err := o.endpoints(ctx, r.ID)
	if err != nil {
		return Revealed{}, err
	}
	e := found.rotated(overlap, o.hooks.now().UTC())
	return o.reveal(&e), o.change(ctx, &e, events.SecretRotated, Change{Endpoint: &e, Revision: revision})
}

// endpointData is the data object of an endpoint's events. It has no URL: people put tokens into those.
type endpointData struct {
	events.Actor
	ID     EndpointID    `json:"webhook_endpoint_id"`
	Status string        `json:"status"`
	Events []events.Type `json:"events"`
}

// event is one about an endpoint.
func (o *operation) event(e *Endpoint, t events.Type) (events.Event, error) {
	data, err := json.Marshal(endpointData{events.ActorOf(o.Permit.Actor()), e.ID, e.Status(), e.Events})
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event %s: %w", t, err)
	}
	node, index := o.Intent()
	return events.Event{Type: t, Data: data, At: o.hooks.now().UTC().Truncate(time.Millisecond), Node: node, Index: index}, nil
}

// change stores a change with its intent and its event.
func (o *operation) change(ctx context.Context, e *Endpoint, t events.Type, c Change) (err error) {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	c.Environment = o.Environment()
	if c.Event, err = o.event(e, t); err != nil {
		return err
	}
	return o.hooks.store.Change(ctx, c)
}
