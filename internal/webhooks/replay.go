package webhooks

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
	"culvert/keys"
)

// ReplayRequest asks that an endpoint is sent events again. Exactly one of After and Since is given.
type ReplayRequest struct {
	ID EndpointID
	// After is the id of an event: what follows it in the log is sent.
	After string
	// Since is a time: what happened from then on is sent.
	Since time.Time
}

// Replay moves an endpoint's cursor, back to have events sent again, or ahead to leave some out. Each event has
// its whole time again, and a dead letter that is accepted this time leaves the list. Progress that is not what was
// stored is replaced: that is how an endpoint goes on that lost its place.
//
// Errors: [*InvalidError], [ErrNoEndpoint], keys.ErrConflict, events.ErrUnknownCursor.
func (w *Webhooks) Replay(ctx context.Context, call access.Call, r ReplayRequest) (View, error) {
	o, err := w.begin(ctx, call, access.WebhooksReplay)
	if err != nil {
		return View{}, err
	}
	var view View
	err = o.retry(ctx, func() (err error) {
		view, err = o.replay(ctx, r)
		return err
	})
	return trail.Committed(ctx, o.Operation, view, err)
}

func (o *operation) replay(ctx context.Context, r ReplayRequest) (View, error) {
	_, found, _, err := o.endpoints(ctx, r.ID)
	if err != nil {
		return View{}, err
	}
	cursor, err := o.cursor(ctx, r)
	if err != nil {
		return View{}, err
	}
	p, revision, err := o.hooks.store.Progress(ctx, o.Environment(), r.ID)
	if errors.Is(err, keys.ErrTampered) && revision > 0 {
		p, err = Progress{Environment: o.Environment(), Endpoint: r.ID}, nil
	}
	if err != nil {
		return View{}, err
	}
	if err := o.Intend(ctx); err != nil {
		return View{}, err
	}
	told, err := o.event(found, events.EndpointReplayed)
	if err != nil {
		return View{}, err
	}
	p.Cursor, p.Since = cursor, o.hooks.now().UTC()
	p.Failures, p.FailingSince, p.NextAt, p.Died = 0, time.Time{}, time.Time{}, false
	if _, err := o.hooks.store.Step(ctx, Step{Progress: p, Revision: revision, Event: &told}); err != nil {
		return View{}, err
	}
	return o.withProgress(ctx, found)
}

// cursor is the event behind which a replay begins.
func (o *operation) cursor(ctx context.Context, r ReplayRequest) (string, error) {
	switch {
	case (r.After == "") == r.Since.IsZero():
		return "", &InvalidError{Field: "after", Code: "invalid_value", Rule: "or since is given, and not both"}
	case r.After == "":
		return o.hooks.beforeTime(ctx, o.Environment(), r.Since)
	}
	_, err := o.hooks.store.Page(ctx, o.Environment(), events.Query{After: r.After, Limit: 1, Order: events.Ascending})
	return r.After, err
}

// beforeTime is the id of the event in front of the first one of a time or later: those behind it in the log are
// all that may be of that time, and some seconds more, because times are in no strict order there. If there is none
// yet, it is the newest that there was before that was found out: what comes meanwhile is of that time.
func (w *Webhooks) beforeTime(ctx context.Context, env access.EnvironmentID, at time.Time) (string, error) {
	newest, err := w.newest(ctx, env)
	if err != nil {
		return "", err
	}
	first, err := w.store.Page(ctx, env, events.Query{Limit: 1, Order: events.Ascending, RangeStart: at})
	if err != nil {
		return "", err
	}
	if len(first.Data) == 0 {
		return newest, nil
	}
	page, err := w.store.Page(ctx, env, events.Query{Limit: 1, Order: events.Ascending, Before: first.Data[0].ID})
	if err != nil || len(page.Data) == 0 {
		return "", err
	}
	return page.Data[0].ID, nil
}
