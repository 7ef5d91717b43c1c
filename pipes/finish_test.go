package pipes_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// mustNotConnect checks that nobody has an account, and that no event says otherwise.
func mustNotConnect(t *testing.T, s *pipestest.Stack, user string) {
	t.Helper()
	if err := errOf(s.Broker.Account(t.Context(), s.Call(), pipestest.Request(user))); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("%s: got %v, want no account", user, err)
	}
	if n := len(s.MustEvents(t, events.AccountConnected)); n != 0 {
		t.Errorf("%d connected events", n)
	}
}

// A flow that is bound to a session has no page. Nothing is connected when the browser is back, and it is
// told no more than a result id, the same one each time; the session's verifier connects, once, and is told
// the same by every replica.
func TestSessionBinding(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	ticket, verifier := s.MustAuthorizeBound(t, "user_1")
	browser := s.Browser()
	callback := browser.MustReturnBound(t, ticket)
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	back, err := url.Parse(result.ReturnTo)
	must(t, err)
	resultID := pipestest.ResultID(t, result.ReturnTo)
	want := url.Values{"a": {"1"}, "status": {"finish_required"}, "result_id": {resultID}}
	if diff := cmp.Diff(back.Query(), want); diff != "" || result.Account != "" || result.Code != "" {
		t.Errorf("%+v: %s", result, diff)
	}
	replica := s.Replica(t)
	again, err := replica.Broker.Callback(t.Context(), callback)
	must(t, err)
	if again != result {
		t.Errorf("a second callback is answered with %+v, want %+v", again, result)
	}
	if err := errOf(s.Broker.Confirmation(t.Context(), browser.Request(ticket))); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("the ticket of a flow that is back: %v", err)
	}
	mustNotConnect(t, s, "user_1")

	finish := pipes.FinishRequest{ResultID: resultID, Verifier: verifier}
	call := s.Call()
	account, err := s.Broker.Finish(t.Context(), call, finish)
	must(t, err)
	checkTrail(t, s.MustAuditOf(t, call.RequestID))
	if a := s.MustAccount(t, "user_1"); a.ID != account.ID || a.Integration != i.ID || a.State != pipes.Connected || !cmp.Equal(a.Scopes, []string{"read"}) {
		t.Errorf("connected %+v, and finish answered %+v", a, account)
	}
	s.MustToken(t, "user_1")
	repeated, err := replica.Broker.Finish(t.Context(), replica.Call(), finish)
	must(t, err)
	if repeated.ID != account.ID || len(s.MustEvents(t, events.AccountConnected)) != 1 || s.Provider.Exchanges() != 1 {
		t.Errorf("finished again: %+v after %d exchanges", repeated, s.Provider.Exchanges())
	}
	other, _ := connectors.GenerateVerifier()
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: resultID, Verifier: other})); !errors.Is(err, pipes.ErrVerifier) {
		t.Errorf("another verifier, afterwards: %v", err)
	}
	last, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if last.Account != account.ID {
		t.Errorf("a callback afterwards: %+v", last)
	}
}

// A user of the application has a victim open his link, in whose session there is another verifier or none.
// And he himself does not learn the result id, which only the victim's browser was told.
func TestFinishNeedsBothHalves(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	ticket, attackers := s.MustAuthorizeBound(t, "attacker")
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturnBound(t, ticket))
	must(t, err)
	resultID := pipestest.ResultID(t, result.ReturnTo)
	victims := s.MustWait(t, "victim")
	flow := strings.Split(resultID, "-")
	for what, r := range map[string]pipes.FinishRequest{
		"the victim's verifier":       {ResultID: resultID, Verifier: victims.Verifier},
		"the attacker's own verifier": {ResultID: victims.ResultID, Verifier: attackers},
	} {
		if err := errOf(s.Broker.Finish(t.Context(), s.Call(), r)); !errors.Is(err, pipes.ErrVerifier) {
			t.Errorf("with %s: %v", what, err)
		}
	}
	forged := twisted(resultID)
	forged["the ticket"] = ticket
	forged["the result of another flow"] = strings.Join([]string{flow[0], flow[1], strings.Split(victims.ResultID, "-")[2]}, "-")
	delete(forged, "empty")
	for what, text := range forged {
		if err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: text, Verifier: attackers})); !errors.Is(err, pipes.ErrNoAuthorization) {
			t.Errorf("the attacker's verifier and %s: %v", what, err)
		}
	}
	// Nor is a flow finished that has a page, whatever its state: it has no verifier.
	paged, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, s.MustAuthorize(t, "user_2")))
	must(t, err)
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: string(paged.Account), Verifier: attackers})); !errors.Is(err, pipes.ErrNoAuthorization) {
		t.Errorf("an account's id: %v", err)
	}
	// Nothing was ended by all this.
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), victims)))
	if n := len(s.MustEvents(t, events.ConnectionFailed)); n != 0 {
		t.Errorf("%d failed flows", n)
	}
}

// Verifiers that cannot be one are refused before anything is looked up, and not counted; the fifth wrong
// one ends the flow, for the right one too.
func TestWrongVerifiers(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	r := s.MustWait(t, "user_1")
	for what, verifier := range map[string]string{
		"none": "", "short": strings.Repeat("a", 42), "long": strings.Repeat("a", 129), "a space": strings.Repeat("a", 42) + " ",
		"no ASCII": strings.Repeat("é", 43), "padding": string(r.Verifier.Reveal()) + "=",
	} {
		var refused *pipes.InvalidError
		err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: r.ResultID, Verifier: pipestest.Secret(verifier)}))
		if !errors.As(err, &refused) || refused.Field != "code_verifier" {
			t.Errorf("%s: %v", what, err)
		}
	}
	replica := s.Replica(t)
	wrong := func(b *pipes.Broker) error {
		verifier, _ := connectors.GenerateVerifier()
		return errOf(b.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: r.ResultID, Verifier: verifier}))
	}
	spared := s.MustWait(t, "user_2")
	for n := range pipes.MaxFinishTries {
		if err := wrong([]*pipes.Broker{s.Broker, replica.Broker}[n%2]); !errors.Is(err, pipes.ErrVerifier) {
			t.Errorf("wrong verifier %d: %v", n, err)
		}
	}
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), r)); !errors.Is(err, pipes.ErrNoAuthorization) {
		t.Errorf("the right one, after five: %v", err)
	}
	mustNotConnect(t, s, "user_1")
	wantFailure(t, s, i, map[string]any{"error_code": pipes.CodeVerifier, "error_reason": "the application brought wrong code verifiers"})
	// The twin: four wrong ones end nothing.
	for range pipes.MaxFinishTries - 1 {
		verifier, _ := connectors.GenerateVerifier()
		if err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: spared.ResultID, Verifier: verifier})); !errors.Is(err, pipes.ErrVerifier) {
			t.Error(err)
		}
	}
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), spared)))
}

// Tokens that nobody comes for are never saved: they are of no use from their end on, and gone from the
// store once a sweeper has come by, this process's at once and another one's later.
func TestAbandonedAuthorization(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	replica := s.Replica(t)
	r := s.MustWait(t, "user_1")
	flow := pipes.FlowID(strings.Split(r.ResultID, "-")[1])
	waits := func() bool {
		t.Helper()
		must(t, s.Store.Fence(t.Context()))
		f, err := s.Store.Flow(t.Context(), s.Environment.ID(), flow)
		must(t, err)
		return f.Record.Waiting != nil
	}
	attempt := func() pipes.AttemptView {
		t.Helper()
		page, err := s.Broker.Attempts(t.Context(), s.Call(), pipes.AttemptQuery{})
		must(t, err)
		if len(page.Data) != 1 {
			t.Fatalf("%d attempts", len(page.Data))
		}
		return page.Data[0]
	}
	s.Clock.Advance(pipes.FinishTTL - time.Minute)
	pipes.Sweep(t.Context(), s.Broker)
	if a := attempt(); !waits() || a.State != pipes.AttemptPending || a.Code != "" ||
		a.Cause != "the browser is back, and the application has not finished the authorization yet" {
		t.Errorf("before its end: %+v", a)
	}
	s.Clock.Advance(time.Minute)
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), r)); !errors.Is(err, pipes.ErrNoAuthorization) {
		t.Errorf("finished too late: %v", err)
	}
	const cause = "the browser came back, but the application did not finish the authorization with its code verifier"
	if a := attempt(); a.State != pipes.AttemptNeverReturned || a.Code != pipes.CodeNotFinished || a.Cause != cause {
		t.Errorf("after its end: %+v", a)
	}
	pipes.Sweep(t.Context(), replica.Broker)
	if !waits() {
		t.Error("a replica that did not begin the waiting looks at it before all flows of that age have ended")
	}
	pipes.Sweep(t.Context(), s.Broker)
	if a := attempt(); waits() || a.Code != pipes.CodeNotFinished || a.Cause != cause {
		t.Errorf("swept: %+v, tokens left: %v", a, waits())
	}
	wantFailure(t, s, i, map[string]any{"error_code": pipes.CodeNotFinished, "error_reason": cause})
	mustNotConnect(t, s, "user_1")

	// The process that took the callback has died.
	second := s.MustWait(t, "user_2")
	flow = pipes.FlowID(strings.Split(second.ResultID, "-")[1])
	s.Clock.Advance(pipes.TicketTTL + pipes.FlowStateTTL + pipes.FinishTTL + 5*time.Minute)
	pipes.Sweep(t.Context(), replica.Broker)
	if waits() {
		t.Error("the tokens of a process that died are still there")
	}
}

// Whoever dies, and wherever: the flow either waits as before or is finished, and another call tells. Two
// replicas that finish at once connect once.
func TestFinishIsCrashSafe(t *testing.T) {
	s, store := withInterposed(t) // with an account of its own
	replica := s.Replica(t)
	r := s.MustWait(t, "user_2")
	store.set(func(pipes.Change) error { return &outage.Error{Dependency: outage.Etcd} })
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), r)); outage.Of(err) == nil {
		t.Errorf("while nothing can be stored: %v", err)
	}
	// Stored, and nobody is told: as if the process had died before its answer.
	lost := false
	store.set(func(c pipes.Change) error {
		if c.Account == nil || lost {
			return nil
		}
		lost = true
		must(t, store.Store.Apply(t.Context(), c))
		return &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown}
	})
	err := errOf(s.Broker.Finish(t.Context(), s.Call(), r))
	if outage.Of(err) == nil || !lost {
		t.Errorf("a lost answer: %v", err)
	}
	store.set(nil)
	account, err := replica.Broker.Finish(t.Context(), replica.Call(), r)
	must(t, err)
	if a := s.MustAccount(t, "user_2"); a.ID != account.ID {
		t.Errorf("answered %s, connected %s", account.ID, a.ID)
	}

	both := s.MustWait(t, "user_3")
	accounts, errs := make([]pipes.Account, 6), make([]error, 6)
	var group sync.WaitGroup
	for n := range accounts {
		broker := []*pipes.Broker{s.Broker, replica.Broker}[n%2]
		group.Go(func() { accounts[n], errs[n] = broker.Finish(t.Context(), s.Call(), both) })
	}
	group.Wait()
	must(t, errors.Join(errs...))
	for _, a := range accounts {
		if a.ID != accounts[0].ID {
			t.Errorf("connected %s and %s", accounts[0].ID, a.ID)
		}
	}
	if n := len(s.MustEvents(t, events.AccountConnected)); n != 3 {
		t.Errorf("%d connected events, want one for each account", n)
	}
}

// A flow is bound to what it was begun with: the cookie of the browser that departed, the integration, and
// one refresh token for one grant.
func TestBoundFlowsKeepTheOtherRules(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	ticket, _ := s.MustAuthorizeBound(t, "user_2")
	callback := s.Browser().MustReturnBound(t, ticket)
	wrong := callback
	wrong.Binding = secret.Bytes{}
	if err := errOf(s.Broker.Callback(t.Context(), wrong)); !errors.Is(err, pipes.ErrOtherBrowser) {
		t.Errorf("in another browser: %v", err)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))

	off := s.MustWait(t, "user_3")
	enable := func(on bool) {
		must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: &on})))
	}
	enable(false)
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), off)); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("while the integration is off: %v", err)
	}
	enable(true)
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), off)))

	// Disconnected since, it is not connected again by the same words.
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_3")))
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), off)); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("after the account was removed: %v", err)
	}
}

// What is no S256 challenge is refused, and so is a flow that would end where no session is.
func TestChallenges(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	_, good := connectors.GenerateVerifier()
	for what, c := range map[string]struct {
		challenge, method, returnTo, field string
	}{
		"good":          {good, "", pipestest.ReturnTo, ""},
		"by its method": {good, "S256", pipestest.ReturnTo, ""},
		"plain":         {good, "plain", pipestest.ReturnTo, "code_challenge_method"},
		"method alone":  {"", "S256", pipestest.ReturnTo, "code_challenge"},
		"short":         {good[1:], "", pipestest.ReturnTo, "code_challenge"},
		"padded":        {good + "=", "", pipestest.ReturnTo, "code_challenge"},
		"loose bits":    {strings.Repeat("A", 42) + "B", "", pipestest.ReturnTo, "code_challenge"},
		"no base64url":  {strings.Repeat("+", 43), "", pipestest.ReturnTo, "code_challenge"},
		"no return_to":  {good, "", "", "return_to"},
	} {
		err := errOf(s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
			Slug: pipestest.Slug, UserID: "user_1", ReturnTo: c.returnTo, Challenge: c.challenge, ChallengeMethod: c.method,
		}))
		var refused *pipes.InvalidError
		if errors.As(err, &refused) != (c.field != "") || refused != nil && refused.Field != c.field || refused == nil && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{
		ResultID: string(s.Environment.ID()) + "-" + id.ULID(time.Now()) + "-" + good, Verifier: pipestest.Secret(good),
	})); !errors.Is(err, pipes.ErrNoAuthorization) {
		t.Errorf("a flow that never was: %v", err)
	}
}

// Tokens that wait belong to the client that they were given to, whichever one the integration has when they are
// claimed: no other may refresh or revoke them.
func TestWaitingTokensKeepTheirClient(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	r := s.MustWait(t, "user_1")
	other := pipestest.Credentials()
	other.ID = "another"
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Credentials: other})))
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), r)))
	if g := mustGrant(t, s, s.MustAccount(t, "user_1").Grant); g.Client != pipestest.ClientID {
		t.Errorf("the grant is of the client %q", g.Client)
	}
	// An account shows a client of its own, and that of an integration is none.
	if a := s.MustAccount(t, "user_1"); a.ClientID != "" {
		t.Errorf("the account has the client %q", a.ClientID)
	}
}
