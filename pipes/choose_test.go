package pipes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// another is a stack whose user_1 is connected as user-1, and a browser of his that has just come back from
// the provider, signed in as user-2: what he is asked.
func another(t *testing.T) (*pipestest.Stack, *pipestest.Browser, pipes.CallbackRequest, pipes.ChoiceRequest) {
	t.Helper()
	s := identified(t, nil)
	s.MustConnect(t, "user_1")
	s.Provider.SignIn("user-2", "Other User")
	browser := s.Browser()
	callback := browser.MustReturn(t, s.MustAuthorize(t, "user_1"))
	return s, browser, callback, mustAsk(t, s, browser, callback)
}

// mustAsk sends a callback that is answered with a choice.
func mustAsk(t *testing.T, s *pipestest.Stack, browser *pipestest.Browser, callback pipes.CallbackRequest) pipes.ChoiceRequest {
	t.Helper()
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if result.Choice == "" || result.ReturnTo != "" || result.Account != "" || result.Code != "" {
		t.Fatalf("got %+v, want a choice", result)
	}
	return pipes.ChoiceRequest{RequestID: callback.RequestID, Flow: result.Choice, Binding: browser.Cookie}
}

// mustShow opens the page and takes its form.
func mustShow(t *testing.T, s *pipestest.Stack, r *pipes.ChoiceRequest) pipes.ChoicePage {
	t.Helper()
	page, err := s.Broker.Choice(t.Context(), *r)
	must(t, err)
	r.Form = page.Form
	return page
}

// Who signs in as another account at the provider is asked, and until he has answered nothing changes. The
// page may be looked at, and the callback come, as often as one likes.
func TestReconnectAsAnotherAccountAsks(t *testing.T) {
	s, browser, callback, r := another(t)
	before, token := s.MustAccount(t, "user_1"), s.MustToken(t, "user_1")
	for range 2 {
		page := mustShow(t, s, &r)
		want := pipes.ChoicePage{
			Provider: "Test provider", UserID: "user_1", UserLabel: "user_1@example.com", ReturnToOrigin: pipestest.ReturnTo, Form: r.Form,
			Connected: pipes.Named{ID: "user-1", Name: "Test User"}, SignedIn: pipes.Named{ID: "user-2", Name: "Other User"},
		}
		if diff := cmp.Diff(page, want); diff != "" {
			t.Fatalf("page (-got +want):\n%s", diff)
		}
		if again := mustAsk(t, s, browser, callback); again.Flow != r.Flow {
			t.Errorf("the callback leads to %s, then to %s", r.Flow, again.Flow)
		}
	}
	if diff := cmp.Diff(before, s.MustAccount(t, "user_1")); diff != "" {
		t.Errorf("the account changed:\n%s", diff)
	}
	if now := s.MustToken(t, "user_1"); !now.AccessToken.Equal(token.AccessToken) {
		t.Error("another token is vended")
	}
	if n := s.Provider.Exchanges(); n != 2 {
		t.Errorf("%d codes were sent, want one for each flow", n)
	}
	attempts, err := s.Broker.Attempts(t.Context(), s.Call(), pipes.AttemptQuery{})
	must(t, err)
	if len(attempts.Data) != 1 || !strings.Contains(attempts.Data[0].Cause, "which one to keep") {
		t.Errorf("attempts: %+v", attempts.Data)
	}
}

// Who keeps the account ends the flow with a typed error, and the account goes on as it was.
func TestKeepTheConnectedAccount(t *testing.T) {
	s, _, callback, r := another(t)
	before, token := s.MustAccount(t, "user_1"), s.MustToken(t, "user_1")
	mustShow(t, s, &r)
	result, err := s.Broker.Choose(t.Context(), r)
	must(t, err)
	if result.Code != pipes.CodeAccountMismatch || result.ReturnTo != pipestest.ReturnTo+"/done?a=1&error=account_mismatch" {
		t.Errorf("got %+v", result)
	}
	found, err := s.Broker.Integration(t.Context(), s.Call(), pipestest.Slug, "")
	must(t, err)
	wantFailure(t, s, found, map[string]any{
		"error_code": "account_mismatch", "error_reason": "the user kept the account that is connected",
	})
	if diff := cmp.Diff(before, s.MustAccount(t, "user_1")); diff != "" {
		t.Errorf("the account changed:\n%s", diff)
	}
	if now := s.MustToken(t, "user_1"); !now.AccessToken.Equal(token.AccessToken) {
		t.Error("another token is vended")
	}
	// Whatever comes later is answered the same, also the other answer.
	r.Replace = true
	again, err := s.Broker.Choose(t.Context(), r)
	must(t, err)
	page, err := s.Broker.Choice(t.Context(), r)
	must(t, err)
	late, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if again != result || page.Ended == nil || *page.Ended != result || late != result {
		t.Errorf("later: %+v, %+v, %+v", again, page, late)
	}
}

// Who replaces it goes on as if nobody had asked: the same account, with the other tokens and name.
func TestReplaceTheConnectedAccount(t *testing.T) {
	s, _, callback, r := another(t)
	before, token := s.MustAccount(t, "user_1"), s.MustToken(t, "user_1")
	mustShow(t, s, &r)
	r.Replace = true
	result, err := s.Broker.Choose(t.Context(), r)
	must(t, err)
	after := s.MustAccount(t, "user_1")
	if result.Account != before.ID || after.ID != before.ID || after.Identifier != "user-2" || after.DisplayName != "Other User" {
		t.Errorf("got %+v, the account is %+v", result, after)
	}
	if now := s.MustToken(t, "user_1"); now.AccessToken.Equal(token.AccessToken) || !s.Provider.Alive(string(now.AccessToken.Reveal())) {
		t.Error("the token is the old one, or does not work")
	}
	if n := len(s.MustEvents(t, events.AccountConnected)); n != 2 {
		t.Errorf("%d connected events", n)
	}
	if late, err := s.Broker.Callback(t.Context(), callback); err != nil || late != result {
		t.Errorf("the callback again: %+v, %v", late, err)
	}
	// The twin: the same account again is not asked about.
	s.MustConnect(t, "user_1")
}

// The page and its answer are the browser's that came back from the provider, and of no use to any other.
func TestChoiceInAnotherBrowser(t *testing.T) {
	s, browser, _, r := another(t)
	mustShow(t, s, &r)
	victim := s.Browser()
	victim.MustOpen(t, s.MustAuthorize(t, "victim"))
	for what, wrong := range map[string]pipes.ChoiceRequest{
		"no cookie":                {Flow: r.Flow, Form: r.Form},
		"another browser's cookie": {Flow: r.Flow, Form: r.Form, Binding: victim.Cookie},
		"a cookie of another form": {Flow: r.Flow, Form: r.Form, Binding: pipestest.Secret("x")},
		"no form":                  {Flow: r.Flow, Binding: browser.Cookie},
		"another browser's form":   {Flow: r.Flow, Form: victim.Form, Binding: browser.Cookie},
	} {
		wrong.Replace = true
		if result, err := s.Broker.Choose(t.Context(), wrong); !errors.Is(err, pipes.ErrOtherBrowser) || result != (pipes.Result{}) {
			t.Errorf("choose with %s: got %+v, %v", what, result, err)
		}
		if wrong.Binding.Equal(browser.Cookie) {
			continue
		}
		if err := errOf(s.Broker.Choice(t.Context(), wrong)); !errors.Is(err, pipes.ErrOtherBrowser) {
			t.Errorf("the page with %s: got %v", what, err)
		}
	}
	env, flow, _ := strings.Cut(r.Flow, "-")
	for _, forged := range []string{"", "-", env, env + "-", "x-" + flow, env + "-" + strings.Repeat("0", 26), r.Flow + "-x", strings.ToLower(r.Flow)} {
		if err := errOf(s.Broker.Choice(t.Context(), pipes.ChoiceRequest{Flow: forged, Binding: browser.Cookie})); !errors.Is(err, pipes.ErrTicket) {
			t.Errorf("flow %q: got %v", forged, err)
		}
	}
	// A flow of the browser's own that nobody asks anything about.
	waiting := s.Browser()
	waiting.Cookie = browser.Cookie
	state := strings.Split(waiting.MustReturn(t, s.MustAuthorize(t, "user_2")).State, "-")
	if err := errOf(s.Broker.Choice(t.Context(), pipes.ChoiceRequest{Flow: state[0] + "-" + state[1], Binding: browser.Cookie})); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("a flow that waits for its callback: got %v", err)
	}
	if a := s.MustAccount(t, "user_1"); a.Identifier != "user-1" {
		t.Errorf("the account became %q", a.Identifier)
	}
	r.Replace = true
	must(t, errOf(s.Broker.Choose(t.Context(), r)))
}

// Nobody who does not answer replaces anything: the flow ends in time, by the page or the sweeper, and its
// tokens are gone.
func TestNobodyChooses(t *testing.T) {
	for what, end := range map[string]func(*pipestest.Stack, pipes.ChoiceRequest) error{
		"the page": func(s *pipestest.Stack, r pipes.ChoiceRequest) error {
			page, err := s.Broker.Choice(t.Context(), r)
			if err == nil && (page.Ended == nil || page.Ended.Code != pipes.CodeAccountMismatch) {
				return errors.New("the page has not ended")
			}
			return err
		},
		"the answer": func(s *pipestest.Stack, r pipes.ChoiceRequest) error {
			r.Replace = true
			result, err := s.Broker.Choose(t.Context(), r)
			if err == nil && result.Code != pipes.CodeAccountMismatch {
				return errors.New("the answer came too late and counts")
			}
			return err
		},
		"the sweeper": func(s *pipestest.Stack, _ pipes.ChoiceRequest) error {
			s.Clock.Advance(time.Hour)
			pipes.Sweep(t.Context(), s.Broker)
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			s, _, _, r := another(t)
			mustShow(t, s, &r)
			s.Clock.Advance(time.Hour)
			must(t, end(s, r))
			found, err := s.Broker.Integration(t.Context(), s.Call(), pipestest.Slug, "")
			must(t, err)
			wantFailure(t, s, found, map[string]any{
				"error_code":   "account_mismatch",
				"error_reason": "the user signed in as another account at the provider, and did not choose between the two",
			})
			if a := s.MustAccount(t, "user_1"); a.Identifier != "user-1" {
				t.Errorf("the account became %q", a.Identifier)
			}
			_, flow, _ := strings.Cut(r.Flow, "-")
			f, err := s.Store.Flow(t.Context(), s.Environment.ID(), pipes.FlowID(flow))
			must(t, err)
			if f.Record.Waiting != nil {
				t.Error("the tokens lie there still")
			}
		})
	}
}

// An answer is about the account that the page showed. If that is another one by then, it replaces nothing.
func TestChoiceOfAnAccountThatChanged(t *testing.T) {
	s, _, _, r := another(t)
	mustShow(t, s, &r)
	s.Provider.SignIn("user-3", "Third User")
	other := s.Browser()
	second := mustAsk(t, s, other, other.MustReturn(t, s.MustAuthorize(t, "user_1")))
	mustShow(t, s, &second)
	second.Replace = true
	must(t, errOf(s.Broker.Choose(t.Context(), second)))
	r.Replace = true
	result, err := s.Broker.Choose(t.Context(), r)
	must(t, err)
	if a := s.MustAccount(t, "user_1"); result.Code != pipes.CodeAccountMismatch || a.Identifier != "user-3" {
		t.Errorf("got %+v, the account is %q", result, a.Identifier)
	}
}

// A provider that does not say who signed in is asked about like another one: it may be one. An account that
// was nobody's is not.
func TestUnknownIdentityAsks(t *testing.T) {
	s := identified(t, nil)
	s.MustConnect(t, "user_1")
	s.Provider.AlwaysIdentity(connectorstest.HTML(503))
	browser := s.Browser()
	r := mustAsk(t, s, browser, browser.MustReturn(t, s.MustAuthorize(t, "user_1")))
	if page := mustShow(t, s, &r); page.SignedIn != (pipes.Named{}) || page.Connected.ID != "user-1" {
		t.Errorf("page: %+v", page)
	}
	r.Replace = true
	must(t, errOf(s.Broker.Choose(t.Context(), r)))
	if a := s.MustAccount(t, "user_1"); a.Identifier != "" || a.State != pipes.Connected {
		t.Errorf("the account is %+v", a)
	}
	s.Provider.Heal()
	s.Provider.SignIn("user-2", "Other User")
	s.MustConnect(t, "user_1")
	if a := s.MustAccount(t, "user_1"); a.Identifier != "user-2" {
		t.Errorf("the account is %q", a.Identifier)
	}
}

// With session binding somebody chooses first, and the caller finishes then.
func TestChoiceWithSessionBinding(t *testing.T) {
	s := identified(t, nil)
	s.MustConnect(t, "user_1")
	s.Provider.SignIn("user-2", "Other User")
	ticket, verifier := s.MustAuthorizeBound(t, "user_1")
	browser := s.Browser()
	r := mustAsk(t, s, browser, browser.MustReturnBound(t, ticket))
	mustShow(t, s, &r)
	r.Replace = true
	result, err := s.Broker.Choose(t.Context(), r)
	must(t, err)
	finish := pipes.FinishRequest{ResultID: pipestest.ResultID(t, result.ReturnTo), Verifier: verifier}
	if a := s.MustAccount(t, "user_1"); a.Identifier != "user-1" {
		t.Errorf("before it is finished the account is %q", a.Identifier)
	}
	a, err := s.Broker.Finish(t.Context(), s.Call(), finish)
	must(t, err)
	if a.Identifier != "user-2" || a.DisplayName != "Other User" {
		t.Errorf("the account is %+v", a)
	}
}

// Tokens that wait stand nowhere in clear, and the answer is rendered nowhere with them.
func TestWaitingForAChoiceIsSealed(t *testing.T) {
	s := identified(t, func(c *connectors.Connector) { c.Identity = connectors.Identity{TokenID: []string{"me"}} })
	reply := func(n, me string) connectorstest.Fault {
		return connectorstest.JSON(200, `{"access_token":"canary-access-`+n+`","refresh_token":"canary-refresh-`+n+`","me":"`+me+`"}`)
	}
	s.Provider.Next(reply("one", "user-1"), reply("two", "user-2"))
	s.MustConnect(t, "user_1")
	browser := s.Browser()
	r := mustAsk(t, s, browser, browser.MustReturn(t, s.MustAuthorize(t, "user_1")))
	mustShow(t, s, &r)
	content := string(disk(t, s.DataDir, s.AuditDir)) + s.Log.String()
	if !strings.Contains(content, pipestest.Slug) {
		t.Fatal("the search does not even find the slug")
	}
	for _, plain := range []string{"canary-access-two", "canary-refresh-two", string(browser.Cookie.Reveal())} {
		for form, text := range forms(plain) {
			if strings.Contains(content, text) {
				t.Errorf("%s stands there %s", plain[:10], form)
			}
		}
	}
	r.Replace = true
	must(t, errOf(s.Broker.Choose(t.Context(), r)))
	if v := s.MustToken(t, "user_1"); !v.AccessToken.Equal(secret.New([]byte("canary-access-two"))) {
		t.Error("another token is vended than the one that waited")
	}
}
