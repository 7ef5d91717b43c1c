package server

import (
	"net/http"
	"strings"

	"culvert/pipes"
)

// listAttempts is GET /culvert/v1/data-integrations/{slug}/attempts, our own extension: the flows that
// were begun and have not come back.
func (s *Server) listAttempts() handler {
	return handle(endpoint[pipes.AttemptQuery, pipes.AttemptPage]{
		status: http.StatusOK,
		decode: decodeAttempts,
		call:   s.pipes.Attempts,
		encode: func(b []byte, p pipes.AttemptPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			after := ""
			if p.After != "" {
				after = pipes.AttemptPrefix + string(p.After)
			}
			list(w, p.Data, "", after, w.attempt)
			return w.done()
		},
	})
}

func decodeAttempts(x *exchange) (pipes.AttemptQuery, error) {
	var q pipes.AttemptQuery
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	if q.Limit, err = parameters.limit(); err != nil {
		return q, err
	}
	after, err := parameters.text("after")
	if err != nil || after == "" {
		return q, err
	}
	cursor, ours := strings.CutPrefix(after, pipes.AttemptPrefix)
	if !ours {
		return q, unknownCursor()
	}
	q.After = pipes.FlowID(cursor)
	return q, nil
}

func (w *jsonWriter) attempt(a pipes.AttemptView) {
	w.raw(`{"object":"attempt","id":`)
	w.text(pipes.AttemptPrefix + string(a.Flow))
	w.raw(`,"data_integration_id":`)
	w.text(string(a.Integration))
	w.raw(`,"provider_slug":`)
	w.text(a.Slug)
	w.raw(`,"user_id":`)
	w.textOrNull(a.UserID)
	w.raw(`,"organization_id":`)
	w.textOrNull(a.OrganizationID)
	w.raw(`,"connection_owner":`)
	w.text(string(a.ConnectionOwner))
	w.raw(`,"created_at":`)
	w.time(a.CreatedAt, generalTime)
	w.raw(`,"opened_at":`)
	w.timeOrNull(a.OpenedAt)
	w.raw(`,"departed_at":`)
	w.timeOrNull(a.DepartedAt)
	w.raw(`,"departures":`)
	w.number(a.Departures)
	w.raw(`,"state":`)
	w.text(string(a.State))
	w.raw(`,"code":`)
	w.textOrNull(a.Code)
	w.raw(`,"cause":`)
	w.textOrNull(a.Cause)
	w.raw(`,"redirect_uri":`)
	w.textOrNull(a.RedirectURI)
	w.raw(`}`)
}
