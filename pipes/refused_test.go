package pipes_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// reported is a stack with an account of "user_1" and its token, where identity tells whether its provider
// has an identity call.
func reported(t *testing.T, c connectorstest.Config, identity bool) (*pipestest.Stack, secret.Bytes) {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{Provider: c, Connector: func(conn *connectors.Connector) {
		conn.Identity = connectors.Identity{}
		if identity {
			conn.Identity = connectors.Identity{ID: []string{"sub"}, Name: []string{"name"}}
		}
	}})
	pipes.Impatient(s.Broker)
	s.Clock.Stop()
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	return s, s.MustToken(t, "user_1").AccessToken
}

func report(t *testing.T, s *pipestest.Stack, token secret.Bytes) (pipes.Refused, error) {
	t.Helper()
	return s.Broker.TokenRefused(t.Context(), s.Call(), pipes.RefusedToken{Request: pipestest.Request("user_1"), Token: token})
}

func mustReport(t *testing.T, s *pipestest.Stack, token secret.Bytes, want pipes.RefusedOutcome) pipes.Refused {
	t.Helper()
	found, err := report(t, s, token)
	if err != nil || found.Outcome != want {
		t.Fatalf("the report is answered with %+v, %v; want %s", found, err, want)
	}
	return found
}

// asked is how often the provider was asked about tokens: by identity calls, and for refreshes.
func asked(s *pipestest.Stack) [2]int { return [2]int{s.Provider.Identities(), s.Provider.Refreshes()} }

// What is found out about a refused token, by what the provider says of it.
func TestRefusedToken(t *testing.T) {
	unauthorized := connectorstest.JSON(401, `{"error":"invalid_token"}`)
	for what, c := range map[string]struct {
		noIdentity, noRefresh bool
		// identity and refresh are what the calls are answered with, where it is not the truth.
		identity, refresh *connectorstest.Fault
		// dead is a consent that was taken back.
		dead    bool
		outcome pipes.RefusedOutcome
		reason  string
		asked   [2]int
	}{
		"it works":                   {outcome: pipes.RefusedWorks, asked: [2]int{1, 0}},
		"it does not":                {identity: &unauthorized, outcome: pipes.RefusedRefreshed, asked: [2]int{1, 1}},
		"nobody to ask":              {noIdentity: true, outcome: pipes.RefusedRefreshed, asked: [2]int{0, 1}},
		"no right to ask":            {identity: at(connectorstest.JSON(403, `{}`)), outcome: pipes.RefusedRefreshed, asked: [2]int{1, 1}},
		"no right, and nothing else": {noRefresh: true, identity: at(connectorstest.JSON(403, `{}`)), outcome: pipes.RefusedUnknown, asked: [2]int{1, 0}},
		"the consent is gone":        {dead: true, outcome: pipes.RefusedDead, reason: pipes.ReasonRevoked, asked: [2]int{1, 1}},
		"gone, and nobody to ask":    {dead: true, noIdentity: true, outcome: pipes.RefusedDead, reason: pipes.ReasonRevoked, asked: [2]int{0, 1}},
		"gone, and not refreshable":  {dead: true, noRefresh: true, outcome: pipes.RefusedDead, reason: pipes.ReasonRefusedByAPI, asked: [2]int{1, 0}},
		"nothing to ask":             {dead: true, noIdentity: true, noRefresh: true, outcome: pipes.RefusedUnknown},
		"the identity call is down":  {dead: true, identity: at(connectorstest.HTML(503)), outcome: pipes.RefusedUnknown, asked: [2]int{1, 0}},
		"the identity call is lost":  {dead: true, identity: &connectorstest.Fault{Drop: true}, outcome: pipes.RefusedUnknown, asked: [2]int{1, 0}},
		"the identity call is busy":  {dead: true, noRefresh: true, identity: at(connectorstest.Busy(time.Second)), outcome: pipes.RefusedUnknown, asked: [2]int{1, 0}},
		"the token endpoint is down": {identity: &unauthorized, refresh: at(connectorstest.HTML(503)), outcome: pipes.RefusedUnknown, asked: [2]int{1, 1}},
		"the client is rejected":     {identity: &unauthorized, refresh: at(connectorstest.JSON(401, `{"error":"invalid_client"}`)), outcome: pipes.RefusedUnknown, asked: [2]int{1, 1}},
	} {
		t.Run(what, func(t *testing.T) {
			s, token := reported(t, connectorstest.Config{Rotate: true, NoRefresh: c.noRefresh}, !c.noIdentity)
			before, was := asked(s), s.MustAccount(t, "user_1")
			if c.identity != nil {
				s.Provider.AlwaysIdentity(*c.identity)
			}
			if c.refresh != nil {
				s.Provider.Always(*c.refresh)
			}
			if c.dead {
				s.Provider.RevokeAll()
			}
			found := mustReport(t, s, token, c.outcome)
			if found.Reason != c.reason {
				t.Errorf("the reason is %q, want %q", found.Reason, c.reason)
			}
			if now := asked(s); now[0]-before[0] != c.asked[0] || now[1]-before[1] != c.asked[1] {
				t.Errorf("asked %v times, and before %v; want %v more", now, before, c.asked)
			}
			if paced := c.outcome == pipes.RefusedUnknown || c.outcome == pipes.RefusedWorks; paced != (found.RetryAfter > 0) {
				t.Errorf("the next report may come after %v", found.RetryAfter)
			}
			checkReported(t, s, token, was, c.outcome, c.reason)
		})
	}
}

func at(f connectorstest.Fault) *connectorstest.Fault { return &f }

// checkReported compares the store with what a report was answered.
func checkReported(t *testing.T, s *pipestest.Stack, token secret.Bytes, was pipes.Account, outcome pipes.RefusedOutcome, reason string) {
	t.Helper()
	asked := s.MustEvents(t, events.ReauthorizationAsked)
	a := s.MustAccount(t, "user_1")
	if outcome == pipes.RefusedDead {
		if a.State != pipes.NeedsReauthorization || a.Reason != reason || len(asked) != 1 || !strings.Contains(string(asked[0].Data), reason) {
			t.Errorf("the account is %s for %q, %d events", a.State, a.Reason, len(asked))
		}
		mustReport(t, s, token, pipes.RefusedDead)
		return
	}
	if a.State != was.State || !a.UpdatedAt.Equal(was.UpdatedAt) || len(asked) != 0 {
		t.Errorf("the account was changed: %+v", a)
	}
	s.Provider.Heal()
	if now := s.MustToken(t, "user_1").AccessToken; now.Equal(token) == (outcome == pipes.RefusedRefreshed) {
		t.Error("the token is not what the outcome says")
	}
	if outcome == pipes.RefusedRefreshed {
		mustReport(t, s, token, pipes.RefusedNewer)
	}
}

// A hundred reports of one token ask the provider once, whether or not it works, and those of the next minute
// nobody.
func TestStormOfReports(t *testing.T) {
	for what, identity := range map[string]bool{"an identity call": true, "a refresh": false} {
		t.Run(what, func(t *testing.T) {
			s, token := reported(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true}, identity)
			before := asked(s)
			storm := func(token secret.Bytes, want ...pipes.RefusedOutcome) {
				var group sync.WaitGroup
				for range 100 {
					group.Go(func() {
						found, err := report(t, s, token)
						for _, outcome := range want {
							if err == nil && found.Outcome == outcome {
								return
							}
						}
						t.Errorf("the report is answered with %+v, %v", found, err)
					})
				}
				group.Wait()
			}
			if identity {
				storm(token, pipes.RefusedWorks)
			} else {
				storm(token, pipes.RefusedRefreshed, pipes.RefusedNewer)
			}
			if now := asked(s); now[0]+now[1] != before[0]+before[1]+1 {
				t.Fatalf("asked %v times, and before %v", now, before)
			}
			// What the API refuses for a reason of its own is refused again, with the next token, too.
			s.Clock.Advance(59 * time.Second)
			next := s.MustToken(t, "user_1").AccessToken
			want := pipes.RefusedUnknown
			if identity {
				want = pipes.RefusedWorks
			}
			if found := mustReport(t, s, next, want); found.RetryAfter != time.Second {
				t.Errorf("the next report may come after %v", found.RetryAfter)
			}
			if now := asked(s); now[0]+now[1] != before[0]+before[1]+1 {
				t.Errorf("asked %v times within the minute, and before %v", now, before)
			}
			s.Clock.Advance(time.Second)
			storm(next, pipes.RefusedWorks, pipes.RefusedRefreshed, pipes.RefusedNewer)
			if now := asked(s); now[0]+now[1] != before[0]+before[1]+2 {
				t.Errorf("asked %v times after it, and before %v", now, before)
			}
		})
	}
}

// A report with a token that the account does not have leads to nothing, whoever's it is.
func TestReportOfAnothersToken(t *testing.T) {
	s, token := reported(t, connectorstest.Config{Rotate: true}, true)
	s.MustConnect(t, "user_2")
	others := s.MustToken(t, "user_2").AccessToken
	s.Provider.RevokeAll()
	before, was, told := asked(s), s.MustAccount(t, "user_1"), len(s.MustEvents(t))
	half := secret.New(token.Reveal()[:token.Len()/2])
	for what, foreign := range map[string]secret.Bytes{"another's": others, "half of it": half, "a longer one": secret.New(append(append([]byte{}, token.Reveal()...), 'x'))} {
		if found := mustReport(t, s, foreign, pipes.RefusedNewer); found.RetryAfter != 0 {
			t.Errorf("%s: %+v", what, found)
		}
	}
	a := s.MustAccount(t, "user_1")
	if now := asked(s); now != before || a.State != pipes.Connected || !a.UpdatedAt.Equal(was.UpdatedAt) || len(s.MustEvents(t)) != told {
		t.Errorf("asked %v times and before %v, the account is %+v", now, before, a)
	}
	for what, r := range map[string]pipes.RefusedToken{
		"no token":        {Request: pipestest.Request("user_1")},
		"a long one":      {Request: pipestest.Request("user_1"), Token: secret.New(make([]byte, pipes.MaxToken+1))},
		"a name it lacks": {Request: pipes.Request{Slug: pipestest.Slug, UserID: "user_1", TokenName: "bot"}, Token: token},
	} {
		var invalid *pipes.InvalidError
		if err := errOf(s.Broker.TokenRefused(t.Context(), s.Call(), r)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	nobody := pipes.RefusedToken{Request: pipestest.Request("user_3"), Token: token}
	if err := errOf(s.Broker.TokenRefused(t.Context(), s.Call(), nobody)); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("nobody's account: %v", err)
	}
	// The twin: the account's own token.
	mustReport(t, s, token, pipes.RefusedDead)
	intents := 0
	for _, r := range s.MustAuditRecords(t) {
		if r.Phase == audit.Intent && r.Action == access.TokenReport && r.AccountID == string(a.ID) {
			intents++
		}
	}
	if intents != 1 {
		t.Errorf("%d intents of the flip", intents)
	}
}

// A token that is reported to two replicas is refreshed once: the second finds a newer generation.
func TestReportsToTwoReplicas(t *testing.T) {
	s, token := reported(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true}, false)
	other := s.Replica(t)
	pipes.Impatient(other.Broker)
	s.Provider.Hold()
	var group sync.WaitGroup
	for _, each := range []*pipestest.Stack{s, other} {
		group.Go(func() {
			found, err := report(t, each, token)
			if err != nil || found.Outcome != pipes.RefusedRefreshed && found.Outcome != pipes.RefusedNewer {
				t.Errorf("the report is answered with %+v, %v", found, err)
			}
		})
	}
	eventually(t, "the refresh", func() bool { return s.Provider.Refreshes() == 1 })
	s.Provider.Release()
	group.Wait()
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if now := s.MustToken(t, "user_1").AccessToken; now.Equal(token) || !s.Provider.Alive(string(now.Reveal())) {
		t.Error("the token that is vended now does not work")
	}
}
