package webhooks

import (
	"context"
	"slices"
	"strconv"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// Limits of a page.
const (
	DefaultLimit = 10
	MaxLimit     = 100
)

// Query asks for a page of endpoints.
type Query struct {
	Limit int
	// Descending puts the newest first. Before and After are ids, in the order of the page.
	Descending    bool
	Before, After EndpointID
}

// Page is a page of endpoints; Before and After are empty at the ends.
type Page struct {
	Data          []View
	Before, After EndpointID
}

// Endpoints lists the endpoints of the environment.
//
// Errors: events.ErrUnknownCursor.
func (w *Webhooks) Endpoints(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := w.begin(ctx, call, access.WebhooksRead)
	if err != nil {
		return Page{}, err
	}
	page, err := o.list(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (o *operation) list(ctx context.Context, q Query) (Page, error) {
	all, _, _, err := o.endpoints(ctx, "")
	if err != nil {
		return Page{}, err
	}
	list := all.views(o.view)
	if q.Descending {
		slices.Reverse(list)
	}
	at := func(id EndpointID) int {
		return slices.IndexFunc(list, func(v View) bool { return v.ID == id })
	}
	limit := pageSize(q.Limit)
	from, to := 0, min(limit, len(list))
	switch {
	case q.After != "":
		i := at(q.After)
		if i < 0 {
			return Page{}, events.ErrUnknownCursor
		}
		from, to = i+1, min(i+1+limit, len(list))
	case q.Before != "":
		i := at(q.Before)
		if i < 0 {
			return Page{}, events.ErrUnknownCursor
		}
		from, to = max(0, i-limit), i
	}
	page := Page{Data: list[from:to]}
	if len(page.Data) > 0 && from > 0 {
		page.Before = list[from].ID
	}
	if len(page.Data) > 0 && to < len(list) {
		page.After = list[to-1].ID
	}
	return page, nil
}

func pageSize(limit int) int {
	if limit <= 0 {
		return DefaultLimit
	}
	return min(limit, MaxLimit)
}

// Endpoint shows an endpoint and how its deliveries go.
//
// Errors: [ErrNoEndpoint], keys.ErrTampered for a damaged one.
func (w *Webhooks) Endpoint(ctx context.Context, call access.Call, id EndpointID) (View, error) {
	o, err := w.begin(ctx, call, access.WebhooksRead)
	if err != nil {
		return View{}, err
	}
	view, err := o.show(ctx, id)
	return trail.Answer(ctx, o.Operation, view, err)
}

func (o *operation) show(ctx context.Context, id EndpointID) (View, error) {
	_, found, _, err := o.endpoints(ctx, id)
	if err != nil {
		return View{}, err
	}
	return o.withProgress(ctx, found)
}

func (o *operation) withProgress(ctx context.Context, e *Endpoint) (View, error) {
	p, _, err := o.hooks.store.Progress(ctx, o.Environment(), e.ID)
	if err != nil {
		return View{}, err
	}
	view := o.view(e)
	view.Progress = &p
	view.Letters, err = o.hooks.store.CountLetters(ctx, o.Environment(), e.ID)
	return view, err
}

// AttemptQuery asks for attempts or dead letters of one endpoint.
type AttemptQuery struct {
	ID    EndpointID
	Limit int
	After string
}

// DeliveryPage is a page of attempts, the newest first.
type DeliveryPage struct {
	Data  []Delivery
	After string
}

// Deliveries are the latest [KeptDeliveries] attempts to an endpoint, the newest first. The cursor is a number.
//
// Errors: [ErrNoEndpoint], events.ErrUnknownCursor.
func (w *Webhooks) Deliveries(ctx context.Context, call access.Call, q AttemptQuery) (DeliveryPage, error) {
	o, err := w.begin(ctx, call, access.WebhooksRead)
	if err != nil {
		return DeliveryPage{}, err
	}
	page, err := o.deliveries(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (o *operation) deliveries(ctx context.Context, q AttemptQuery) (DeliveryPage, error) {
	if _, _, _, err := o.endpoints(ctx, q.ID); err != nil {
		return DeliveryPage{}, err
	}
	all, err := o.hooks.store.Deliveries(ctx, o.Environment(), q.ID)
	if err != nil {
		return DeliveryPage{}, err
	}
	if q.After != "" {
		after, err := strconv.ParseUint(q.After, 10, 64)
		if err != nil {
			return DeliveryPage{}, events.ErrUnknownCursor
		}
		all = slices.DeleteFunc(all, func(d Delivery) bool { return d.Number >= after })
	}
	page := DeliveryPage{Data: all[:min(len(all), pageSize(q.Limit))]}
	if len(page.Data) < len(all) {
		page.After = strconv.FormatUint(page.Data[len(page.Data)-1].Number, 10)
	}
	return page, nil
}

// LetterPage is a page of dead letters, in the order of the log by epochs.
type LetterPage struct {
	Data  []Letter
	After string
}

// DeadLetters are the events that an endpoint did not accept in their time, [MaxLetters] at most: the oldest leave
// the list first. The cursor is an event's id.
//
// Errors: [ErrNoEndpoint], events.ErrUnknownCursor.
func (w *Webhooks) DeadLetters(ctx context.Context, call access.Call, q AttemptQuery) (LetterPage, error) {
	o, err := w.begin(ctx, call, access.WebhooksRead)
	if err != nil {
		return LetterPage{}, err
	}
	page, err := o.letters(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (o *operation) letters(ctx context.Context, q AttemptQuery) (LetterPage, error) {
	if _, _, _, err := o.endpoints(ctx, q.ID); err != nil {
		return LetterPage{}, err
	}
	limit := pageSize(q.Limit)
	all, err := o.hooks.store.Letters(ctx, o.Environment(), q.ID, q.After, limit+1)
	if err != nil {
		return LetterPage{}, err
	}
	page := LetterPage{Data: all[:min(len(all), limit)]}
	if len(all) > limit {
		page.After = page.Data[limit-1].EventID
	}
	return page, nil
}
