package pipes_test

import (
	"testing"

	"culvert/connectors"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// A provider that calls the code otherwise is read there, and one that names another host than the flow's gets
// no code.
func TestCallbackQuirks(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) {
		c.Quirks.CodeParam, c.Quirks.CallbackPins = "their_code", map[string]string{"shop": "acme.example"}
	}})
	s.MustIntegration(t, pipestest.Slug)
	callback := func(others func(code string) map[string]string) pipes.Result {
		t.Helper()
		r := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
		r.Others, r.Code = others(string(r.Code.Reveal())), secret.Bytes{}
		result, err := s.Broker.Callback(t.Context(), r)
		must(t, err)
		return result
	}
	for what, others := range map[string]func(string) map[string]string{
		"another host": func(code string) map[string]string {
			return map[string]string{"their_code": code, "shop": "evil.example"}
		},
		"no code": func(string) map[string]string { return map[string]string{"shop": "acme.example"} },
	} {
		if got := callback(others); got.Code != pipes.CodeInvalidCallback || s.Provider.Exchanges() != 0 {
			t.Errorf("%s: got %+v and %d exchanges", what, got, s.Provider.Exchanges())
		}
	}
	if got := callback(func(code string) map[string]string {
		return map[string]string{"their_code": code, "shop": "acme.example"}
	}); got.Code != "" || s.Provider.Exchanges() != 1 {
		t.Errorf("its own: got %+v and %d exchanges", got, s.Provider.Exchanges())
	}
}
