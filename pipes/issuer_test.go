package pipes_test

import (
	"testing"

	"culvert/connectors/connectorstest"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// iss must be the provider's wherever the provider sends it (RFC 9207), also with an error.
func TestIssuer(t *testing.T) {
	for what, issuer := range map[string]string{"another one": "https://evil.example", "none": "", "a longer one": "/"} {
		t.Run(what, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Issuer: true}})
			s.MustIntegration(t, pipestest.Slug)
			callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
			if callback.Issuer != s.Provider.URL {
				t.Fatalf("the provider sent iss %q", callback.Issuer)
			}
			if issuer == "/" {
				issuer = callback.Issuer + "/"
			}
			callback.Issuer = issuer
			result, err := s.Broker.Callback(t.Context(), callback)
			must(t, err)
			if result.Code != pipes.CodeIssuerMismatch || s.Provider.Exchanges() != 0 {
				t.Errorf("got %+v and %d exchanges", result, s.Provider.Exchanges())
			}
			s.MustConnect(t, "user_1") // the twin: with the right one
		})
	}
}

// A custom provider that names its issuer is held to it, also in an error, and no longer when the name is
// taken out.
func TestIssuerOfACustomProvider(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Issuer: true}})
	definition := custom(s)
	definition.Issuer = s.Provider.URL
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, Custom: definition, Credentials: pipestest.Credentials(), Scopes: []string{"read"},
	})))
	back := func(change func(*pipes.CallbackRequest)) pipes.Result {
		t.Helper()
		begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "user_1"})
		must(t, err)
		callback := s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL))
		change(&callback)
		result, err := s.Broker.Callback(t.Context(), callback)
		must(t, err)
		return result
	}
	denied := func(r *pipes.CallbackRequest) { r.ProviderError, r.Code = "access_denied", secret.Bytes{} }
	none := func(r *pipes.CallbackRequest) { r.Issuer = "" }
	for what, c := range map[string]struct {
		change func(*pipes.CallbackRequest)
		want   string
	}{
		"right":                 {func(*pipes.CallbackRequest) {}, ""},
		"none":                  {none, pipes.CodeIssuerMismatch},
		"a slash more":          {func(r *pipes.CallbackRequest) { r.Issuer += "/" }, pipes.CodeIssuerMismatch},
		"a denial":              {denied, pipes.CodeAccessDenied},
		"another one's denial":  {func(r *pipes.CallbackRequest) { denied(r); r.Issuer = "https://evil.example" }, pipes.CodeIssuerMismatch},
		"a denial without name": {func(r *pipes.CallbackRequest) { denied(r); none(r) }, pipes.CodeIssuerMismatch},
	} {
		if got := back(c.change); got.Code != c.want {
			t.Errorf("%s: got %q, want %q", what, got.Code, c.want)
		}
	}
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
		Slug: "mine", Custom: &pipes.CustomUpdate{Issuer: new(string)},
	})))
	if got := back(none); got.Code != "" {
		t.Errorf("without an issuer: got %q", got.Code)
	}
}
