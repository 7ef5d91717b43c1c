package pipes_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Who began a bound flow, and departed with its link like the victim whom he sent it to, is not told the
// result id of what the victim's browser brought, neither behind it nor while its code is exchanged. The
// victim's own other tab is.
func TestResultIDIsForOneBrowser(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket, verifier := s.MustAuthorizeBound(t, "attacker")
	attacker, victim := s.Browser(), s.Browser()
	early, late := attacker.MustReturnBound(t, ticket), attacker.MustReturnBound(t, ticket)
	tab, callback := victim.MustReturnBound(t, ticket), victim.MustReturnBound(t, ticket)

	answer := make(chan struct{})
	s.Provider.Next(connectorstest.Fault{Granted: true, Until: answer})
	var results [2]pipes.Result
	var errs [2]error
	var group sync.WaitGroup
	group.Go(func() { results[0], errs[0] = s.Broker.Callback(t.Context(), callback) })
	eventually(t, "the exchange", func() bool { return s.Provider.Exchanges() == 1 })
	group.Go(func() { results[1], errs[1] = s.Broker.Callback(t.Context(), early) })
	close(answer)
	group.Wait()
	must(t, errs[0])
	if !errors.Is(errs[1], pipes.ErrOtherBrowser) || results[1] != (pipes.Result{}) {
		t.Errorf("beside the victim: %+v, %v", results[1], errs[1])
	}
	if result, err := s.Broker.Callback(t.Context(), late); !errors.Is(err, pipes.ErrOtherBrowser) || result != (pipes.Result{}) {
		t.Errorf("behind the victim: %+v, %v", result, err)
	}
	mustNotConnect(t, s, "attacker")
	same, err := s.Broker.Callback(t.Context(), tab)
	must(t, err)
	if same != results[0] {
		t.Errorf("the other tab is answered with %+v, want %+v", same, results[0])
	}
	// What the fence keeps apart is enough, once somebody has both.
	finish := pipes.FinishRequest{ResultID: pipestest.ResultID(t, same.ReturnTo), Verifier: verifier}
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), finish)))
}

// However a flow ends, verifiers and waiting tokens are out of its record by then.
func TestSettledFlowKeepsNoSecret(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	holds := func(id string) bool {
		t.Helper()
		must(t, s.Store.Fence(t.Context()))
		f, err := s.Store.Flow(t.Context(), s.Environment.ID(), pipes.FlowID(strings.Split(id, "-")[1]))
		must(t, err)
		held := f.Record.Waiting != nil
		for _, d := range f.Record.Departures {
			held = held || d.Verifier != nil
		}
		return held
	}
	connected, denied, bound := s.MustAuthorize(t, "user_1"), s.MustAuthorize(t, "user_2"), s.MustWait(t, "user_3")
	good, bad := s.Browser().MustReturn(t, connected), s.Browser().MustReturn(t, denied)
	bad.ProviderError = pipes.CodeAccessDenied
	for what, c := range map[string]struct {
		flow string
		end  func() error
	}{
		"connected": {connected, func() error { return errOf(s.Broker.Callback(t.Context(), good)) }},
		"denied":    {denied, func() error { return errOf(s.Broker.Callback(t.Context(), bad)) }},
		"finished":  {bound.ResultID, func() error { return errOf(s.Broker.Finish(t.Context(), s.Call(), bound)) }},
	} {
		before := holds(c.flow)
		must(t, c.end())
		if !before || holds(c.flow) {
			t.Errorf("%s: held %t before its end, %t after it", what, before, holds(c.flow))
		}
	}
}
