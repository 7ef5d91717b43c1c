package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"culvert/internal/access"
	"culvert/internal/webhooks"
)

// createEndpoint is POST /webhook_endpoints. An Idempotency-Key is ignored: the answer has a secret, and a second
// endpoint of the same URL is refused.
func (s *Server) createEndpoint() handler {
	return handle(endpoint[webhooks.CreateRequest, webhooks.Revealed]{
		status:    http.StatusCreated,
		plaintext: true,
		decode: func(x *exchange) (q webhooks.CreateRequest, err error) {
			return q, x.object(required("endpoint_url", textInto, &q.URL), required("events", listInto, &q.Events))
		},
		call:   s.webhooks.Create,
		encode: s.encodeRevealed,
	})
}

// listEndpoints is GET /webhook_endpoints.
func (s *Server) listEndpoints() handler {
	return handle(endpoint[webhooks.Query, webhooks.Page]{
		status: http.StatusOK,
		decode: decodeEndpoints,
		call:   s.webhooks.Endpoints,
		encode: func(b []byte, p webhooks.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, string(p.Before), string(p.After), w.endpoint(s.now()))
			return w.done()
		},
	})
}

// decodeEndpoints reads "normal" as other lists of the contract do: newest first, with the cursors exchanged, so that
// after leads to newer ones.
func decodeEndpoints(x *exchange) (webhooks.Query, error) {
	var q webhooks.Query
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	p, err := parameters.paging("desc", "desc", "asc", "normal")
	if err != nil {
		return q, err
	}
	if p.before != "" && p.after != "" {
		return q, malformedQuery("after", "cannot be used together with before")
	}
	if p.order == "normal" {
		p.before, p.after = p.after, p.before
	}
	q.Limit, q.Descending = p.limit, p.order != "asc"
	q.Before, q.After = webhooks.EndpointID(p.before), webhooks.EndpointID(p.after)
	return q, nil
}

// updateEndpoint is PATCH /webhook_endpoints/{id}.
func (s *Server) updateEndpoint() handler {
	return handle(endpoint[webhooks.UpdateRequest, webhooks.View]{
		status: http.StatusOK,
		decode: func(x *exchange) (q webhooks.UpdateRequest, err error) {
			if q.ID, err = decodeID[webhooks.EndpointID](x); err != nil {
				return q, err
			}
			return q, x.object(
				changed("endpoint_url", textInto, &q.URL), changed("status", textInto, &q.Status), changed("events", listInto, &q.Events),
			)
		},
		call:   s.webhooks.Update,
		encode: s.encodeEndpoint,
	})
}

// deleteEndpoint is DELETE /webhook_endpoints/{id}. A body is ignored.
func (s *Server) deleteEndpoint() handler {
	return handle(endpoint[webhooks.EndpointID, struct{}]{
		status: http.StatusNoContent,
		decode: decodeID[webhooks.EndpointID],
		call: func(ctx context.Context, c access.Call, id webhooks.EndpointID) (struct{}, error) {
			return struct{}{}, s.webhooks.Delete(ctx, c, id)
		},
	})
}

// readEndpoint is GET /culvert/v1/webhooks/{id}, our own extension as those that follow.
func (s *Server) readEndpoint() handler {
	return handle(endpoint[webhooks.EndpointID, webhooks.View]{
		status: http.StatusOK,
		decode: decodeID[webhooks.EndpointID],
		call:   s.webhooks.Endpoint,
		encode: s.encodeEndpoint,
	})
}

// rotateEndpointSecret is POST /culvert/v1/webhooks/{id}/rotate-secret. The body may be empty.
func (s *Server) rotateEndpointSecret() handler {
	return handle(endpoint[webhooks.RotateRequest, webhooks.Revealed]{
		status:    http.StatusOK,
		plaintext: true,
		decode:    decodeRotation,
		call:      s.webhooks.RotateSecret,
		encode:    s.encodeRevealed,
	})
}

func decodeRotation(x *exchange) (q webhooks.RotateRequest, err error) {
	if q.ID, err = decodeID[webhooks.EndpointID](x); err != nil || x.r.ContentLength == 0 {
		return q, err
	}
	var overlap *string
	if err := x.object(changed("overlap", textInto, &overlap)); err != nil || overlap == nil {
		return q, err
	}
	d, err := time.ParseDuration(*overlap)
	if err != nil {
		return q, refused("invalid_value", "overlap", "must be a duration such as 24h")
	}
	q.Overlap = &d
	return q, nil
}

// replayEndpoint is POST /culvert/v1/webhooks/{id}/replay.
func (s *Server) replayEndpoint() handler {
	return handle(endpoint[webhooks.ReplayRequest, webhooks.View]{
		status: http.StatusOK,
		decode: func(x *exchange) (q webhooks.ReplayRequest, err error) {
			if q.ID, err = decodeID[webhooks.EndpointID](x); err != nil {
				return q, err
			}
			return q, x.object(optional("after", textInto, &q.After), optional("since", momentInto, &q.Since))
		},
		call:   s.webhooks.Replay,
		encode: s.encodeEndpoint,
	})
}

// listDeliveries is GET /culvert/v1/webhooks/{id}/deliveries.
func (s *Server) listDeliveries() handler {
	return handle(endpoint[webhooks.AttemptQuery, webhooks.DeliveryPage]{
		status: http.StatusOK,
		decode: decodeAttemptQuery,
		call:   s.webhooks.Deliveries,
		encode: func(b []byte, p webhooks.DeliveryPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", p.After, w.delivery)
			return w.done()
		},
	})
}

// listDeadLetters is GET /culvert/v1/webhooks/{id}/dead-letters.
func (s *Server) listDeadLetters() handler {
	return handle(endpoint[webhooks.AttemptQuery, webhooks.LetterPage]{
		status: http.StatusOK,
		decode: decodeAttemptQuery,
		call:   s.webhooks.DeadLetters,
		encode: func(b []byte, p webhooks.LetterPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", p.After, w.deadLetter)
			return w.done()
		},
	})
}

func decodeAttemptQuery(x *exchange) (q webhooks.AttemptQuery, err error) {
	if q.ID, err = decodeID[webhooks.EndpointID](x); err != nil {
		return q, err
	}
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	q.Limit, q.After, err = pageAfter[string](parameters)
	return q, err
}

func (s *Server) encodeEndpoint(b []byte, v webhooks.View) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.endpoint(s.now())(v)
	return w.done()
}

func (s *Server) encodeRevealed(b []byte, r webhooks.Revealed) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.endpointWith(&r.View, s.now(), func() { w.value(r.Secret) })
	return w.done()
}

// endpoint appends endpoints with the end of their secret alone.
func (w *jsonWriter) endpoint(now time.Time) func(webhooks.View) {
	return func(v webhooks.View) { w.endpointWith(&v, now, func() { w.text(v.Hint) }) }
}

func (w *jsonWriter) endpointWith(v *webhooks.View, now time.Time, secret func()) {
	w.raw(`{"object":"webhook_endpoint","id":`)
	w.text(string(v.ID))
	w.raw(`,"endpoint_url":`)
	w.text(v.URL)
	w.raw(`,"secret":`)
	secret()
	w.raw(`,"status":`)
	w.text(v.Status())
	w.raw(`,"events":`)
	texts(w, v.Events)
	w.raw(`,"created_at":`)
	w.time(v.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(v.UpdatedAt, generalTime)
	w.raw(`,"previous_secret_until":`)
	if v.Overlaps(now) {
		w.time(v.PreviousUntil, generalTime)
	} else {
		w.raw(`null`)
	}
	if v.Damaged {
		w.raw(`,"damaged":true`)
	}
	if v.Progress != nil {
		w.progress(v)
	}
	w.raw(`}`)
}

// progress appends how deliveries to an endpoint go.
func (w *jsonWriter) progress(v *webhooks.View) {
	p := v.Progress
	w.raw(`,"delivery":{"state":`)
	w.text(v.State())
	w.raw(`,"cursor":`)
	w.textOrNull(p.Cursor)
	w.raw(`,"attempts":`)
	w.number(int(p.Deliveries))
	w.raw(`,"accepted_at":`)
	w.timeOrNull(p.AcceptedAt)
	w.raw(`,"failures":`)
	w.number(p.Failures)
	w.raw(`,"failing_since":`)
	w.timeOrNull(p.FailingSince)
	w.raw(`,"next_attempt_at":`)
	w.timeOrNull(p.NextAt)
	w.raw(`,"dead_letters":`)
	w.number(int(v.Letters))
	w.raw(`}`)
}

func (w *jsonWriter) delivery(d webhooks.Delivery) {
	w.raw(`{"object":"webhook_delivery","number":`)
	w.text(strconv.FormatUint(d.Number, 10))
	w.raw(`,"event_id":`)
	w.text(d.EventID)
	w.raw(`,"event":`)
	w.text(string(d.Event))
	w.raw(`,"at":`)
	w.time(d.At, generalTime)
	w.raw(`,"accepted":`)
	w.bool(d.Reason == "")
	w.outcome(d.Status, d.Reason)
	w.raw(`,"latency_ms":`)
	w.number(int(d.Latency.Milliseconds()))
	w.raw(`}`)
}

func (w *jsonWriter) deadLetter(l webhooks.Letter) {
	w.raw(`{"object":"webhook_dead_letter","event_id":`)
	w.text(l.EventID)
	w.raw(`,"event":`)
	w.text(string(l.Event))
	w.raw(`,"event_created_at":`)
	w.time(l.EventAt, generalTime)
	w.raw(`,"given_up_at":`)
	w.time(l.At, generalTime)
	w.raw(`,"failures":`)
	w.number(l.Attempts)
	w.outcome(l.Status, l.Reason)
	w.raw(`}`)
}

// outcome appends a status, null where there was no answer, and a reason, null where there is none.
func (w *jsonWriter) outcome(status int, reason webhooks.Reason) {
	w.raw(`,"status":`)
	if status == 0 {
		w.raw(`null`)
	} else {
		w.number(status)
	}
	w.raw(`,"reason":`)
	w.textOrNull(string(reason))
}
