package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"culvert/internal/events"
)

// eventTypes are the names that a caller may ask for.
func eventTypes() map[events.Type]bool {
	types := map[events.Type]bool{}
	for _, t := range events.Types() {
		types[t] = true
	}
	return types
}

// listEvents is GET /events: the log of changes, in the order of their commits.
func (s *Server) listEvents() handler {
	known := eventTypes()
	return handle(endpoint[events.Query, events.Page]{
		status: http.StatusOK,
		decode: func(x *exchange) (events.Query, error) { return decodeEvents(x, known) },
		call:   s.events.List,
		encode: func(b []byte, p events.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, p.Before, p.After, w.event)
			if !p.Forgotten.IsZero() {
				w.b = w.b[:len(w.b)-1]
				w.raw(`,"history_begins_after":`)
				w.time(p.Forgotten, generalTime)
				w.raw(`}`)
			}
			return w.done()
		},
	})
}

func decodeEvents(x *exchange, known map[events.Type]bool) (events.Query, error) {
	var q events.Query
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.Types, err = parameters.eventTypes(known); err != nil {
		return q, err
	}
	// "normal" is what a consumer that follows the log wants: oldest first, and after means newer.
	p, err := parameters.paging("normal", "normal", "asc", "desc")
	if err != nil {
		return q, err
	}
	if p.before != "" && p.after != "" {
		return q, malformedQuery("after", "cannot be used together with before")
	}
	q.Limit, q.Order, q.Before, q.After = p.limit, events.Order(p.order), p.before, p.after
	if err := parameters.between(&q); err != nil {
		return q, err
	}
	q.OrganizationID, err = parameters.text("organization_id")
	return q, err
}

// between reads the bounds in time. With a cursor the start is given twice, which the contract excludes.
func (q query) between(to *events.Query) error {
	for _, bound := range []struct {
		name string
		to   *time.Time
	}{{"range_start", &to.RangeStart}, {"range_end", &to.RangeEnd}} {
		text, err := q.text(bound.name)
		if err != nil {
			return err
		}
		if *bound.to, err = moment(bound.name, text); err != nil {
			return err
		}
	}
	if to.After != "" && !to.RangeStart.IsZero() {
		return malformedQuery("after", "cannot be used together with range_start")
	}
	return nil
}

// eventTypes reads "events", which SDKs write as one list with commas, or repeat; other clients repeat it
// with brackets.
func (q query) eventTypes(known map[events.Type]bool) ([]events.Type, error) {
	var types []events.Type
	seen := map[events.Type]bool{}
	for _, value := range slices.Concat(q.values["events"], q.values["events[]"]) {
		for name := range strings.SplitSeq(value, ",") {
			t := events.Type(name)
			switch {
			case name == "":
			case !known[t]:
				return nil, refused("unknown_event_type", "events", "may only name events that the API has, in full and without wildcards")
			case !seen[t]:
				seen[t] = true
				types = append(types, t)
			}
		}
	}
	if len(types) == 0 {
		return nil, refused("required", "events", "is required")
	}
	return types, nil
}

// event appends one event.
func (w *jsonWriter) event(e events.Stored) {
	b, err := events.AppendJSON(w.b, &e)
	if err != nil {
		w.err = err
		return
	}
	w.b = b
}
