package server

import (
	"context"
	"net/http"
	"time"

	"culvert/internal/access"
	"culvert/pipes"
)

// listConnectors is GET /culvert/v1/connectors, our own extension: what integrations can be made of. There
// are no pages: the list is that of the program, and the same until the program is another.
func (s *Server) listConnectors() handler {
	return handle(endpoint[struct{}, []pipes.ConnectorView]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) ([]pipes.ConnectorView, error) {
			return s.pipes.Connectors(ctx, c)
		},
		encode: func(b []byte, all []pipes.ConnectorView) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, all, "", "", w.connector)
			return w.done()
		},
	})
}

// connector appends what who makes a form for a provider has to know. Where tokens are asked for and how is
// the server's business.
func (w *jsonWriter) connector(c pipes.ConnectorView) {
	w.raw(`{"object":"connector","slug":`)
	w.text(c.Slug)
	w.raw(`,"name":`)
	w.text(c.Name)
	w.raw(`,"integration_type":`)
	w.text(c.Type)
	w.raw(`,"preview":`)
	w.bool(c.Preview)
	w.raw(`,"docs_url":`)
	w.textOrNull(c.DocsURL)
	w.raw(`,"auth_methods":`)
	texts(w, c.Methods)
	w.raw(`,"default_scopes":`)
	texts(w, c.DefaultScopes)
	w.raw(`,"ignores_scopes":`)
	w.bool(c.NoScopes)
	w.raw(`,"refresh_token_idle_lifetime":`)
	w.secondsOrNull(c.RefreshIdle)
	w.raw(`,"grant_lifetime":`)
	w.secondsOrNull(c.GrantLifetime)
	w.raw(`,"config_fields":`)
	entries(w, c.Config, w.configField)
	w.raw(`,"api_key":`)
	if c.TakesKeys {
		w.raw(`{"label":`)
		w.text(c.APIKey.Label)
		w.raw(`,"help":`)
		w.text(c.APIKey.Help)
		w.raw(`}`)
	} else {
		w.raw(`null`)
	}
	w.raw(`}`)
}

// configField appends a config field as the contract describes one, with null where there is nothing.
func (w *jsonWriter) configField(f pipes.ConnectorField) {
	w.raw(`{"key":`)
	w.text(f.Key)
	w.raw(`,"label":`)
	w.text(f.Label)
	w.raw(`,"required":`)
	w.bool(f.Required)
	w.raw(`,"scope":`)
	w.text(string(f.Scope))
	w.raw(`,"description":`)
	w.textOrNull(f.Description)
	w.raw(`,"example":`)
	w.textOrNull(f.Example)
	w.raw(`,"pattern":`)
	w.text(f.Pattern)
	w.raw(`,"order":`)
	w.number(f.Order)
	w.raw(`,"secret":`)
	w.bool(f.Secret)
	w.raw(`,"default":`)
	w.textOrNull(f.Default)
	w.raw(`}`)
}

// secondsOrNull appends a span in seconds, null for none.
func (w *jsonWriter) secondsOrNull(d time.Duration) {
	if d == 0 {
		w.raw("null")
		return
	}
	w.number(int(d / time.Second))
}

// preview reports an integration whose connector's data nobody has verified. A caller's own provider is his
// to verify.
func preview(v pipes.IntegrationView) bool { return v.Provider != nil && v.Provider.Preview }
