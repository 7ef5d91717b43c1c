package server

import (
	"context"
	"net/http"

	"culvert/internal/access"
	"culvert/internal/environments"
	"culvert/keys"
)

// createEnvironment is POST /culvert/v1/environments. The answer has the text of the environment's first API key, this
// once; an Idempotency-Key is ignored, because that answer cannot be given again.
func (s *Server) createEnvironment() handler {
	return handle(endpoint[environments.CreateRequest, environments.Created]{
		status:    http.StatusCreated,
		plaintext: true,
		decode: func(x *exchange) (q environments.CreateRequest, err error) {
			return q, x.object(required("name", textInto, &q.Name))
		},
		call: s.environments.Create,
		encode: func(b []byte, made environments.Created) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.environmentFields(made.Environment)
			w.raw(`,"api_key":`)
			w.newKey(&made.APIKey)
			w.raw(`}`)
			return w.done()
		},
	})
}

// listEnvironments is GET /culvert/v1/environments: all that the caller may see, they are few.
func (s *Server) listEnvironments() handler {
	return handle(endpoint[struct{}, []*keys.Environment]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) ([]*keys.Environment, error) {
			return s.environments.All(ctx, c)
		},
		encode: func(b []byte, all []*keys.Environment) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, all, "", "", w.environment)
			return w.done()
		},
	})
}

// readEnvironment is GET /culvert/v1/environments/{id}, or by name.
func (s *Server) readEnvironment() handler {
	return named(s.environments.Environment, (*jsonWriter).environment)
}

func (w *jsonWriter) environment(e *keys.Environment) {
	w.environmentFields(e)
	w.raw(`}`)
}

// environmentFields is an environment without the closing brace.
func (w *jsonWriter) environmentFields(e *keys.Environment) {
	w.raw(`{"object":"environment","id":`)
	w.text(e.ID().OnWire())
	w.raw(`,"name":`)
	w.text(e.Name())
	w.raw(`,"created_at":`)
	w.time(e.CreatedAt(), generalTime)
}
