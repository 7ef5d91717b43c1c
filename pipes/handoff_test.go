package pipes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// A pop-up that is handed both tokens departs, and connects in the browser that it is in. The handoff token
// stands in no URL.
func TestHandoff(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	begun := s.MustAuthorizeHandoff(t, "user_1")
	if begun.URL != pipestest.PublicURL+"/pipes/authorize?token="+begun.RedirectToken || begun.HandoffToken.Len() == 0 ||
		strings.Contains(begun.URL, string(begun.HandoffToken.Reveal())) {
		t.Errorf("begun with the URL %s", begun.URL)
	}
	browser, other := s.Browser(), s.Browser()
	page, err := s.Broker.Popup(t.Context(), browser.Request(begun.RedirectToken))
	must(t, err)
	if page.Provider != "Test provider" || page.Unavailable != nil {
		t.Errorf("page %+v", page)
	}
	departed, err := s.Broker.Handoff(t.Context(), browser.Request(begun.RedirectToken), begun.HandoffToken)
	must(t, err)
	browser.Cookie = departed.Binding
	callback := browser.Visit(t, departed.URL)
	wrong := callback
	wrong.Binding = other.Cookie
	if err := errOf(s.Broker.Callback(t.Context(), wrong)); !errors.Is(err, pipes.ErrOtherBrowser) {
		t.Errorf("in another browser: %v", err)
	}
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if !result.Popup || result.Account != s.MustAccount(t, "user_1").ID {
		t.Errorf("result %+v", result)
	}
}

// A handoff needs both tokens of one flow, once, within ten minutes; whatever is wrong is one error, and ends
// nothing. Neither way into a flow is the other's.
func TestHandoffTokens(t *testing.T) {
	s := pipestest.New(t)
	replica := s.Replica(t)
	s.MustIntegration(t, pipestest.Slug)
	begun, others := s.MustAuthorizeHandoff(t, "user_1"), s.MustAuthorizeHandoff(t, "user_2")
	ticket := s.MustAuthorize(t, "user_3")
	browser := s.Browser()
	hand := func(b *pipes.Broker, redirect string, handoff secret.Bytes) error {
		return errOf(b.Handoff(t.Context(), browser.Request(redirect), handoff))
	}
	for what, err := range map[string]error{
		"another flow's handoff token":   hand(s.Broker, begun.RedirectToken, others.HandoffToken),
		"no handoff token":               hand(s.Broker, begun.RedirectToken, secret.Bytes{}),
		"the redirect token for both":    hand(s.Broker, begun.RedirectToken, pipestest.Secret(begun.RedirectToken)),
		"its secret for both":            hand(s.Broker, begun.RedirectToken, pipestest.Secret(strings.Split(begun.RedirectToken, "-")[2])),
		"a ticket":                       hand(s.Broker, ticket, begun.HandoffToken),
		"a ticket as the pop-up":         errOf(s.Broker.Popup(t.Context(), browser.Request(ticket))),
		"a redirect token as the ticket": errOf(s.Broker.Confirmation(t.Context(), browser.Request(begun.RedirectToken))),
		"… at the button":                errOf(s.Broker.Depart(t.Context(), browser.Request(begun.RedirectToken))),
	} {
		if !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, text := range twisted(begun.RedirectToken) {
		if err := hand(s.Broker, text, begun.HandoffToken); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, hand(s.Broker, begun.RedirectToken, begun.HandoffToken))
	for what, b := range map[string]*pipes.Broker{"again": s.Broker, "again, at a replica": replica.Broker} {
		if err := hand(b, begun.RedirectToken, begun.HandoffToken); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.Clock.Advance(pipes.HandoffTTL - time.Minute)
	late := s.MustAuthorizeHandoff(t, "user_4")
	must(t, hand(s.Broker, others.RedirectToken, others.HandoffToken))
	s.Clock.Advance(pipes.HandoffTTL)
	if err := hand(s.Broker, late.RedirectToken, late.HandoffToken); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("after ten minutes: %v", err)
	}
	_, challenge := connectors.GenerateVerifier()
	var refused *pipes.InvalidError
	if err := errOf(s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: pipestest.Slug, UserID: "user_1", ReturnTo: pipestest.ReturnTo, Challenge: challenge, RequireHandoff: true,
	})); !errors.As(err, &refused) || refused.Field != "require_handoff" {
		t.Errorf("a handoff of a flow that is bound to a session: %v", err)
	}
}

// A pop-up that was not opened, or got no message that it could use, is told apart in the list of attempts,
// before its end and after.
func TestAttemptsOfHandoffs(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	s.MustAuthorizeHandoff(t, "not opened")
	opened := s.MustAuthorizeHandoff(t, "no message")
	must(t, errOf(s.Broker.Popup(t.Context(), s.Browser().Request(opened.RedirectToken))))
	check := func(state pipes.AttemptState, code string, causes map[string]string) {
		t.Helper()
		page, err := s.Broker.Attempts(t.Context(), s.Call(), pipes.AttemptQuery{})
		must(t, err)
		if len(page.Data) != len(causes) {
			t.Errorf("%d attempts", len(page.Data))
		}
		for _, a := range page.Data {
			if want := causes[a.UserID]; a.State != state || a.Code != code || !strings.HasPrefix(a.Cause, want) || want == "" {
				t.Errorf("%s: %+v", a.UserID, a)
			}
		}
	}
	const noMessage = "the pop-up was opened, but no message with the handoff token came from a page of an allowed origin: check"
	check(pipes.AttemptPending, "", map[string]string{"not opened": "the pop-up has not been opened yet", "no message": noMessage})
	s.Clock.Advance(time.Hour)
	want := map[string]string{"not opened": "the pop-up was never opened", "no message": noMessage}
	check(pipes.AttemptNeverReturned, pipes.CodeExpired, want)
	pipes.Sweep(t.Context(), s.Broker)
	check(pipes.AttemptNeverReturned, pipes.CodeExpired, want)
}
