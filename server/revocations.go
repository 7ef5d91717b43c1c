package server

import (
	"net/http"

	"culvert/pipes"
)

// decodeRevoke reads whether a removal is told to the provider; nil if the call does not say.
func decodeRevoke(x *exchange) (*bool, error) {
	const name = "revoke_at_provider"
	parameters, err := x.query()
	if err != nil {
		return nil, err
	}
	if _, said := parameters.values[name]; !said {
		return nil, nil
	}
	revoke, err := parameters.flag(name)
	return &revoke, err
}

// listRevocations is GET /culvert/v1/revocations, our own extension: what became of the tokens of accounts
// that were disconnected.
func (s *Server) listRevocations() handler {
	return handle(endpoint[pipes.RevocationQuery, pipes.RevocationPage]{
		status: http.StatusOK,
		decode: func(x *exchange) (q pipes.RevocationQuery, err error) {
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			q.Limit, q.After, err = pageAfter[pipes.AccountID](parameters)
			return q, err
		},
		call: s.pipes.Revocations,
		encode: func(b []byte, p pipes.RevocationPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", string(p.After), w.revocation)
			return w.done()
		},
	})
}

// readRevocation is GET /culvert/v1/revocations/{id}, where the id is that of the account.
func (s *Server) readRevocation() handler { return named(s.pipes.Revocation, (*jsonWriter).revocation) }

func (w *jsonWriter) revocation(r pipes.Revocation) {
	w.raw(`{"object":"revocation","id":`)
	w.text(string(r.ID))
	w.raw(`,"connected_account_id":`)
	w.textOrNull(string(r.AccountID()))
	w.raw(`,"attempt_id":`)
	w.textOrNull(r.AttemptID())
	w.raw(`,"data_integration_id":`)
	w.text(string(r.Integration))
	w.raw(`,"provider_slug":`)
	w.text(r.Slug)
	w.raw(`,"user_id":`)
	w.textOrNull(r.Owner.User)
	w.raw(`,"organization_id":`)
	w.textOrNull(r.Owner.Organization)
	w.raw(`,"state":`)
	w.text(string(r.State))
	w.raw(`,"code":`)
	w.textOrNull(r.Code)
	w.raw(`,"attempts":`)
	w.number(r.Attempts)
	w.raw(`,"created_at":`)
	w.time(r.CreatedAt, generalTime)
	w.raw(`,"next_attempt_at":`)
	w.timeOrNull(r.NextAt)
	w.raw(`,"ended_at":`)
	w.timeOrNull(r.EndedAt)
	w.raw(`}`)
}
