package server

import (
	"net/http"
	"strconv"

	"culvert/keys"
)

// attachCMK is POST /culvert/v1/cmks, which answers with the job that does it.
func (s *Server) attachCMK() handler {
	return handle(endpoint[keys.AttachRequest, keys.Job]{
		status: http.StatusCreated,
		decode: func(x *exchange) (keys.AttachRequest, error) {
			var q keys.AttachRequest
			err := x.object(
				required("context_name", textInto, &q.Item.Name),
				required("context_value", textInto, &q.Item.Value),
				required("key", textInto, &q.Key),
				optional("dry_run", flagInto, &q.DryRun),
				optional("rate", countInto, &q.Rate),
			)
			if err == nil && q.Item.Name == "" {
				return q, refused("invalid_value", "context_name", "must not be empty")
			}
			return q, err
		},
		call:   s.keys.AttachCMK,
		encode: encodeJob,
	})
}

// detachCMK is DELETE /culvert/v1/cmks/{id}, which answers with the job that does it.
func (s *Server) detachCMK() handler {
	return handle(endpoint[keys.DetachRequest, keys.Job]{
		status: http.StatusOK,
		decode: decodeDetach,
		call:   s.keys.DetachCMK,
		encode: encodeJob,
	})
}

func decodeDetach(x *exchange) (keys.DetachRequest, error) {
	var q keys.DetachRequest
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.DryRun, err = parameters.flag("dry_run"); err != nil {
		return q, err
	}
	rate, err := parameters.text("rate")
	if err != nil {
		return q, err
	}
	if rate != "" {
		if q.Rate, err = strconv.Atoi(rate); err != nil {
			return q, malformedQuery("rate", "must be a whole number")
		}
	}
	id, err := x.segment("id")
	q.ID = keys.CMKID(id)
	return q, err
}

// listCMKs is GET /culvert/v1/cmks.
func (s *Server) listCMKs() handler {
	return handle(endpoint[keys.CMKQuery, keys.CMKPage]{
		status: http.StatusOK,
		decode: func(x *exchange) (keys.CMKQuery, error) {
			var q keys.CMKQuery
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			q.Limit, q.After, err = pageAfter[keys.CMKID](parameters)
			return q, err
		},
		call: s.keys.CMKs,
		encode: func(b []byte, p keys.CMKPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", string(p.After), w.cmk)
			return w.done()
		},
	})
}

// readCMK is GET /culvert/v1/cmks/{id}.
func (s *Server) readCMK() handler { return named(s.keys.CMK, (*jsonWriter).cmk) }

// verifyCMK is POST /culvert/v1/cmks/{id}/verify.
func (s *Server) verifyCMK() handler { return named(s.keys.VerifyCMK, (*jsonWriter).cmk) }

func (w *jsonWriter) cmk(c keys.CMK) {
	w.raw(`{"object":"cmk","id":`)
	w.text(string(c.ID))
	w.raw(`,"context_name":`)
	w.text(c.Item.Name)
	w.raw(`,"context_value":`)
	w.text(c.Item.Value)
	w.raw(`,"key_provider":`)
	w.text(c.Provider())
	w.raw(`,"key_uri":`)
	w.text(c.KeyURI)
	w.raw(`,"state":`)
	w.text(string(c.State))
	w.raw(`,"job_id":`)
	w.text(string(c.Job))
	w.raw(`,"created_at":`)
	w.time(c.CreatedAt, generalTime)
	w.raw(`,"attached_at":`)
	w.timeOrNull(c.AttachedAt)
	w.raw(`}`)
}
