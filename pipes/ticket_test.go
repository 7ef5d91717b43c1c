package pipes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// twisted are texts that a credential of parts could be mistaken for.
func twisted(text string) map[string]string {
	parts := strings.Split(text, "-")
	last := len(parts) - 1
	with := func(n int, part string) string {
		changed := append([]string{}, parts...)
		changed[n] = part
		return strings.Join(changed, "-")
	}
	flipped := "A"
	if strings.HasSuffix(text, flipped) {
		flipped = "B"
	}
	return map[string]string{
		"empty": "", "dashes": "---", "one character changed": text[:len(text)-1] + flipped,
		"cut": text[:len(text)-1], "longer": text + "A", "another flow": with(1, "01JD8Z6Q5RN5T4M0A1B2C3D4EX"),
		"another environment": with(0, "01JD8Z6Q5RN5T4M0A1B2C3D4EX"), "lower case": strings.ToLower(text),
		"a secret of zeros": with(last, strings.Repeat("0", 43)), "a slash": with(1, "../apikey"),
		"not base 62": with(last, strings.Repeat("_", 43)), "spaces": " " + text, "not UTF-8": with(last, strings.Repeat("\xff", 43)),
		"very long": strings.Repeat(text, 100),
	}
}

// Whatever is not the ticket is one error, which changes nothing and leaves no record; the ticket works
// afterwards.
func TestForgedTickets(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket := s.MustAuthorize(t, "user_1")
	browser := s.Browser()
	browser.MustOpen(t, ticket)
	forged := twisted(ticket)
	url := browser.MustDepart(t, ticket)
	before := len(s.MustAuditRecords(t))
	forged["a flow state"] = browser.Visit(t, url).State
	for what, text := range forged {
		if err := errOf(s.Broker.Confirmation(t.Context(), browser.Request(text))); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("page with %s: %v", what, err)
		}
		if err := errOf(s.Broker.Depart(t.Context(), browser.Request(text))); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("depart with %s: %v", what, err)
		}
		if err := errOf(s.Broker.Cancel(t.Context(), browser.Request(text))); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("cancel with %s: %v", what, err)
		}
	}
	if n := len(s.MustAuditRecords(t)); n != before {
		t.Errorf("forged tickets left %d audit records: a flood would fill the disk", n-before)
	}
	must(t, errOf(s.Broker.Depart(t.Context(), browser.Request(ticket))))
}

// The same for flow states.
func TestForgedFlowStates(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket := s.MustAuthorize(t, "user_1")
	browser := s.Browser()
	callback := browser.MustReturn(t, ticket)
	forged := twisted(callback.State)
	forged["the ticket"] = ticket
	parts := strings.Split(callback.State, "-")
	for _, departure := range []string{"", "0", "2", "6", "11", "x"} {
		parts[2] = departure
		forged["departure "+departure] = strings.Join(parts, "-")
	}
	before := len(s.MustAuditRecords(t))
	for what, text := range forged {
		wrong := callback
		wrong.State = text
		if err := errOf(s.Broker.Callback(t.Context(), wrong)); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(s.MustAuditRecords(t)); n != before {
		t.Errorf("forged flow states left %d audit records", n-before)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
}

// A flow state that comes back at another integration's redirect URI is nobody's: mix-up.
func TestForeignCallback(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	other := s.MustIntegration(t, pipestest.Second)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	for what, at := range map[string][2]string{
		"another integration":        {other.Slug, other.DIK},
		"another integration's slug": {other.Slug, i.DIK},
		"another integration's id":   {i.Slug, other.DIK},
		"nothing":                    {"", ""},
	} {
		wrong := callback
		wrong.Slug, wrong.DIK = at[0], at[1]
		if err := errOf(s.Broker.Callback(t.Context(), wrong)); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("at the redirect URI of %s: %v", what, err)
		}
	}
	if n := s.Provider.Exchanges(); n != 0 {
		t.Errorf("%d codes were sent", n)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
}

// A ticket that did its work, ran out or departed too often is worth nothing; until then it is.
func TestUsedUpTickets(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	browser := s.Browser()
	worthless := func(what, ticket string) {
		t.Helper()
		if err := errOf(s.Broker.Confirmation(t.Context(), browser.Request(ticket))); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("page of a ticket that %s: %v", what, err)
		}
		if err := errOf(s.Broker.Depart(t.Context(), browser.Request(ticket))); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("depart with a ticket that %s: %v", what, err)
		}
	}
	connected := s.MustAuthorize(t, "user_1")
	must(t, errOf(s.Broker.Callback(t.Context(), browser.MustReturn(t, connected))))
	worthless("connected", connected)

	canceled := s.MustAuthorize(t, "user_1")
	browser.MustOpen(t, canceled)
	result, err := s.Broker.Cancel(t.Context(), browser.Request(canceled))
	must(t, err)
	if result.Code != pipes.CodeCanceled || result.ReturnTo != pipestest.ReturnTo+"/done?a=1&error=canceled" {
		t.Errorf("cancel: got %+v", result)
	}
	worthless("was canceled", canceled)

	often := s.MustAuthorize(t, "user_1")
	var callbacks []pipes.CallbackRequest
	for range pipes.MaxDepartures {
		callbacks = append(callbacks, browser.MustReturn(t, often))
	}
	if err := errOf(s.Broker.Depart(t.Context(), browser.Request(often))); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("departure %d: %v", pipes.MaxDepartures+1, err)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callbacks[2])))

	late, inTime := s.MustAuthorize(t, "user_1"), s.MustAuthorize(t, "user_2")
	s.Clock.Advance(pipes.TicketTTL - 1e9)
	callback, expiring := browser.MustReturn(t, inTime), browser.MustReturn(t, inTime)
	s.Clock.Advance(1e9)
	worthless("ran out", late)
	// The twin: who departed in time may come back within the flow state's life.
	s.Clock.Advance(pipes.FlowStateTTL - 2e9)
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
	_ = expiring
}

// A flow state that ran out is worth nothing, and a second before it is.
func TestExpiredFlowState(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprintf("early=%v", early), func(t *testing.T) {
			s := pipestest.New(t)
			s.MustIntegration(t, pipestest.Slug)
			callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
			s.Clock.Advance(pipes.FlowStateTTL)
			if early {
				s.Clock.Advance(-5e9)
			}
			err := errOf(s.Broker.Callback(t.Context(), callback))
			if early && err != nil || !early && !errors.Is(err, pipes.ErrTicket) {
				t.Errorf("got %v", err)
			}
		})
	}
}
