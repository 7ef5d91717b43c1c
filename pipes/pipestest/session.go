package pipestest

import (
	"net/url"
	"testing"

	"culvert/connectors"
	"culvert/internal/secret"
	"culvert/pipes"
)

// MustAuthorizeBound begins a flow of a user that is bound to a session: its ticket, and what the session
// keeps.
func (s *Stack) MustAuthorizeBound(t testing.TB, user string) (ticket string, verifier secret.Bytes) {
	t.Helper()
	verifier, challenge := connectors.GenerateVerifier()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: Slug, UserID: user, ReturnTo: ReturnTo + "/done?a=1", Challenge: challenge, ChallengeMethod: "S256",
	})
	must(t, "authorize", err)
	return Ticket(t, begun.URL), verifier
}

// MustReturnBound is [Browser.MustReturn] for such a flow, which has no page.
func (b *Browser) MustReturnBound(t testing.TB, ticket string) pipes.CallbackRequest {
	t.Helper()
	page, err := b.stack.Broker.Confirmation(t.Context(), b.Request(ticket))
	must(t, "departure", err)
	if page.Onward == nil {
		t.Fatalf("a flow that is bound to a session has a page: %+v", page)
	}
	b.Cookie = page.Onward.Binding
	return b.Visit(t, page.Onward.URL)
}

// MustAuthorizeHandoff begins a flow of a user that a pop-up is handed.
func (s *Stack) MustAuthorizeHandoff(t testing.TB, user string) pipes.Authorized {
	t.Helper()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: Slug, UserID: user, RequireHandoff: true})
	must(t, "authorize", err)
	return begun
}

// MustWait takes a user through such a flow, up to where it waits to be finished.
func (s *Stack) MustWait(t testing.TB, user string) pipes.FinishRequest {
	t.Helper()
	ticket, verifier := s.MustAuthorizeBound(t, user)
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturnBound(t, ticket))
	must(t, "callback", err)
	return pipes.FinishRequest{ResultID: ResultID(t, result.ReturnTo), Verifier: verifier}
}

// ResultID is the one that return_to was told.
func ResultID(t testing.TB, returnTo string) string {
	t.Helper()
	u, err := url.Parse(returnTo)
	if err != nil || u.Query().Get("status") != "finish_required" || u.Query().Get("result_id") == "" {
		t.Fatalf("the browser ended at %s, %v", returnTo, err)
	}
	return u.Query().Get("result_id")
}
