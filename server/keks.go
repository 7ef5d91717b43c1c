package server

import (
	"net/http"

	"culvert/keys"
)

// listKEKs is GET /culvert/v1/keks, our own extension as all operations on keys.
func (s *Server) listKEKs() handler {
	return handle(endpoint[keys.KEKQuery, keys.KEKPage]{
		status: http.StatusOK,
		decode: decodeKEKs,
		call:   s.keys.KEKs,
		encode: func(b []byte, p keys.KEKPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, "", string(p.After), w.kek)
			return w.done()
		},
	})
}

func decodeKEKs(x *exchange) (keys.KEKQuery, error) {
	var q keys.KEKQuery
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.Item, err = parameters.item(); err != nil {
		return q, err
	}
	if q.Tally, err = parameters.unless("counts"); err != nil {
		return q, err
	}
	q.Limit, q.After, err = pageAfter[keys.ID](parameters)
	return q, err
}

// item reads a context item. A value may be empty; a value without a name is half of a question.
func (q query) item() (keys.Item, error) {
	var item keys.Item
	var err error
	if item.Name, err = q.text("context_name"); err != nil {
		return item, err
	}
	if item.Value, err = q.text("context_value"); err != nil {
		return item, err
	}
	_, hasName := q.values["context_name"]
	_, hasValue := q.values["context_value"]
	if hasName != hasValue {
		return item, malformedQuery("context_name", "and context_value belong together")
	}
	return item, nil
}

// describeKEK is GET /culvert/v1/keks/{id}.
func (s *Server) describeKEK() handler { return named(s.keys.KEK, (*jsonWriter).kek) }

// rotateKEK is POST /culvert/v1/keks/{id}/rotate. What it needs stands in the path.
func (s *Server) rotateKEK() handler { return named(s.keys.RotateKEK, (*jsonWriter).kek) }

func (w *jsonWriter) kek(i keys.KEKInfo) {
	w.raw(`{"object":"kek","id":`)
	w.text(string(i.ID))
	w.raw(`,"key_context":`)
	w.context(i.Context)
	w.raw(`,"state":`)
	w.text(string(i.State))
	w.raw(`,"created_at":`)
	w.time(i.CreatedAt, generalTime)
	w.raw(`,"versions":`)
	w.number(i.Versions)
	w.raw(`,"primary_created_at":`)
	w.timeOrNull(i.PrimaryAt)
	w.raw(`,"root_keys":`)
	entries(w, i.RootKeys, func(r keys.RootKeyRef) {
		w.raw(`{"slot":`)
		w.text(r.Slot)
		w.raw(`,"uri":`)
		w.text(r.URI)
		w.raw(`}`)
	})
	if i.Tally == nil {
		w.raw(`,"records":null,"stale_records":null`)
	} else {
		w.raw(`,"records":`)
		w.number(int(i.Tally.Records))
		w.raw(`,"stale_records":`)
		w.number(int(i.Tally.Stale))
	}
	w.raw(`,"shredded_at":`)
	w.timeOrNull(i.ShreddedAt)
	w.raw(`}`)
}
