package pipes_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Whoever uses one flow without end is told to wait, and fills no trail; other flows are answered, and
// this one is again after a while.
func TestPaceOfAFlow(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket, browser := s.MustAuthorize(t, "user_1"), s.Browser()
	callback := browser.MustReturn(t, ticket)
	legs := map[string]func() error{
		"page":     func() error { return errOf(s.Broker.Confirmation(t.Context(), browser.Request(ticket))) },
		"depart":   func() error { return errOf(s.Broker.Depart(t.Context(), browser.Request(ticket))) },
		"cancel":   func() error { return errOf(s.Broker.Cancel(t.Context(), browser.Request(ticket))) },
		"callback": func() error { return errOf(s.Broker.Callback(t.Context(), callback)) },
	}
	answered := 0
	for ; ; answered++ {
		if err := legs["page"](); errors.Is(err, pipes.ErrFlowRate) {
			break
		} else if err != nil || answered > 1000 {
			t.Fatalf("after %d pages: %v", answered, err)
		}
	}
	if answered < 20 {
		t.Errorf("only %d pages were answered: a person with a nervous finger is locked out", answered)
	}
	before := len(s.MustAuditRecords(t))
	for what, leg := range legs {
		var rate *pipes.RateError
		if err := leg(); !errors.As(err, &rate) || rate.RetryAfter <= 0 || rate.RetryAfter > time.Minute {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if n := len(s.MustAuditRecords(t)); n != before {
		t.Errorf("%d records of legs that came too soon", n-before)
	}
	s.MustConnect(t, "user_2")
	s.Clock.Advance(time.Minute)
	for _, what := range []string{"page", "callback"} {
		if err := legs[what](); err != nil {
			t.Errorf("%s after a minute: %v", what, err)
		}
	}
}

// The memory of paces is bounded, whatever flows there are, and does not forget the latest.
func TestPacesAreBounded(t *testing.T) {
	p, now := pipes.NewPaces(), time.Now()
	for p.Take("busy", now) == 0 {
	}
	for n := range 50_000 {
		if wait := p.Take(pipes.FlowID(fmt.Sprint(n)), now); wait != 0 {
			t.Fatalf("flow %d has to wait %v", n, wait)
		}
		if n%1000 == 0 && p.Take("busy", now) == 0 {
			t.Fatalf("a flow in use was forgotten after %d others", n)
		}
	}
	if n := p.Len(); n > 20_000 {
		t.Errorf("%d flows are remembered", n)
	}
}
