package pipes_test

import (
	"errors"
	"sync"
	"testing"

	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// A callback in a browser that did not start the flow links nothing and uses nothing up; its twin in the
// right browser links.
func TestCallbackInAnotherBrowser(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	browser, other := s.Browser(), s.Browser()
	callback := browser.MustReturn(t, s.MustAuthorize(t, "user_1"))
	// The other browser has a cookie of ours: from a flow of its own.
	other.MustOpen(t, s.MustAuthorize(t, "user_2"))

	for what, cookie := range map[string]secret.Bytes{
		"no cookie":                {},
		"another browser's cookie": other.Cookie,
		"a cookie of another form": pipestest.Secret("x"),
		"the state as the cookie":  pipestest.Secret(callback.State),
	} {
		wrong := callback
		wrong.Binding = cookie
		result, err := s.Broker.Callback(t.Context(), wrong)
		if !errors.Is(err, pipes.ErrOtherBrowser) || result != (pipes.Result{}) {
			t.Errorf("%s: got %+v, %v", what, result, err)
		}
		// A denial that somebody else brings ends nothing either.
		wrong.ProviderError, wrong.Code = "access_denied", secret.Bytes{}
		if err := errOf(s.Broker.Callback(t.Context(), wrong)); !errors.Is(err, pipes.ErrOtherBrowser) {
			t.Errorf("%s, with a denial: got %v", what, err)
		}
	}
	if err := errOf(s.Broker.Account(t.Context(), s.Call(), pipestest.Request("user_1"))); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("after the wrong browsers: %v, want no account", err)
	}
	if n := s.Provider.Exchanges(); n != 0 {
		t.Errorf("%d codes were sent", n)
	}
	if all := s.MustEvents(t, events.ConnectionFailed, events.AccountConnected); len(all) != 0 {
		t.Errorf("%d events of a flow that is as it was", len(all))
	}
	// The twin.
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if a := s.MustAccount(t, "user_1"); a.ID != result.Account {
		t.Errorf("linked %s, want %s", a.ID, result.Account)
	}
}

// One browser can go through several flows with the cookie that it has; the binding is each flow's own.
func TestOneCookieServesSeveralFlows(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	browser := s.Browser()
	first := browser.MustReturn(t, s.MustAuthorize(t, "user_1"))
	cookie := browser.Cookie
	second := browser.MustReturn(t, s.MustAuthorize(t, "user_2"))
	if !browser.Cookie.Equal(cookie) {
		t.Error("the second page set another cookie: the first flow cannot come back")
	}
	for _, callback := range []pipes.CallbackRequest{second, first} {
		must(t, errOf(s.Broker.Callback(t.Context(), callback)))
	}
}

// Nobody departs but a browser that was shown the page: a foreign page can post a ticket, and know
// neither the cookie nor the form.
func TestDepartNeedsThePage(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket := s.MustAuthorize(t, "user_1")
	victim, attacker := s.Browser(), s.Browser()
	victim.MustOpen(t, s.MustAuthorize(t, "victim"))
	attacker.MustOpen(t, ticket)
	form := attacker.Form
	for what, r := range map[string]pipes.BrowserRequest{
		"the attacker's form, the victim's cookie": {Ticket: ticket, Binding: victim.Cookie, Form: form},
		"the victim's form of another flow":        {Ticket: ticket, Binding: victim.Cookie, Form: victim.Form},
		"no cookie":                                {Ticket: ticket, Form: form},
		"no form":                                  {Ticket: ticket, Binding: attacker.Cookie},
		"no form that is base64":                   {Ticket: ticket, Binding: attacker.Cookie, Form: "?"},
		"a longer form":                            {Ticket: ticket, Binding: attacker.Cookie, Form: form + "A"},
	} {
		if d, err := s.Broker.Depart(t.Context(), r); !errors.Is(err, pipes.ErrOtherBrowser) || d.URL != "" {
			t.Errorf("depart with %s: got %v", what, err)
		}
		if err := errOf(s.Broker.Cancel(t.Context(), r)); !errors.Is(err, pipes.ErrOtherBrowser) {
			t.Errorf("cancel with %s: got %v", what, err)
		}
	}
	must(t, errOf(s.Broker.Depart(t.Context(), attacker.Request(ticket))))
}

// Two callbacks at once: the code is sent once, and both are answered with the one result. Later ones too,
// until the flow's days are over.
func TestCallbackTwice(t *testing.T) {
	s := pipestest.New(t)
	replica := s.Replica(t)
	pipes.Impatient(s.Broker)
	pipes.Impatient(replica.Broker)
	s.MustIntegration(t, pipestest.Slug)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	s.Provider.Hold()
	results := make([]pipes.Result, 8)
	errs := make([]error, len(results))
	var group sync.WaitGroup
	for i := range results {
		broker := []*pipes.Broker{s.Broker, replica.Broker}[i%2]
		group.Go(func() { results[i], errs[i] = broker.Callback(t.Context(), callback) })
	}
	eventually(t, "an exchange", func() bool { return s.Provider.Exchanges() > 0 })
	s.Provider.Release()
	group.Wait()
	later, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	// A browser that went back after ten minutes and more is answered the same.
	s.Clock.Advance(2 * pipes.FlowStateTTL)
	latest, err := replica.Broker.Callback(t.Context(), callback)
	must(t, err)
	for i, r := range append(results, latest) {
		if i < len(errs) && errs[i] != nil {
			t.Errorf("callback %d: %v", i, errs[i])
		}
		if r != later {
			t.Errorf("callback %d got %+v, want %+v", i, r, later)
		}
	}
	if n := s.Provider.Exchanges(); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	if n := len(s.MustEvents(t, events.AccountConnected)); n != 1 {
		t.Errorf("%d connected events", n)
	}
}

// A user who goes on in two tabs connects once: the tab that comes back second gets the first one's
// result, and its code is not sent.
func TestTwoTabs(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket := s.MustAuthorize(t, "user_1")
	browser := s.Browser()
	first, second := browser.MustReturn(t, ticket), browser.MustReturn(t, ticket)
	if first.State == second.State {
		t.Fatal("two departures have one flow state")
	}
	won, err := s.Broker.Callback(t.Context(), second)
	must(t, err)
	lost, err := s.Broker.Callback(t.Context(), first)
	must(t, err)
	if won != lost || won.Account == "" {
		t.Errorf("got %+v and %+v", won, lost)
	}
	if n := s.Provider.Exchanges(); n != 1 {
		t.Errorf("%d codes were sent", n)
	}
}
