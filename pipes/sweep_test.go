package pipes_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Flows that nobody came back from are settled once, with their likely cause; those that ended otherwise
// are left alone. The list of attempts says the same before and after.
func TestAttemptsThatNeverReturned(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	s.MustAuthorize(t, "not opened")
	s.Clock.Advance(time.Millisecond)
	s.Browser().MustOpen(t, s.MustAuthorize(t, "opened"))
	s.Clock.Advance(time.Millisecond)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "departed"))
	s.Clock.Advance(time.Millisecond)
	s.MustConnect(t, "connected")

	attempts := func(state pipes.AttemptState, code string) map[string]string {
		t.Helper()
		got, q := map[string]string{}, pipes.AttemptQuery{Limit: 2}
		for {
			page, err := s.Broker.Attempts(t.Context(), s.Call(), q)
			must(t, err)
			for _, a := range page.Data {
				got[a.UserID] = a.Cause
				if a.State != state || a.Code != code || a.Integration != i.ID {
					t.Errorf("attempt %+v", a)
				}
			}
			if page.After == "" {
				return got
			}
			q.After = page.After
		}
	}
	want := map[string]string{
		"not opened": "the link has not been opened yet",
		"opened":     "the confirmation page was shown, and nobody has continued yet",
		"departed":   "the browser was sent to the provider and is not back yet",
	}
	if diff := cmp.Diff(attempts(pipes.AttemptPending, ""), want); diff != "" {
		t.Errorf("at once: %s", diff)
	}
	pipes.Sweep(t.Context(), s.Broker) // too early for everything
	s.Clock.Advance(4 * time.Minute)
	noCallback := " minutes: check that the redirect URI " + i.RedirectURI + " is registered at the provider"
	want["departed"] = "no callback after 4" + noCallback
	if diff := cmp.Diff(attempts(pipes.AttemptPending, ""), want); diff != "" {
		t.Errorf("after some minutes: %s", diff)
	}
	s.Clock.Advance(51 * time.Minute)
	want = map[string]string{
		"not opened": "the link was never opened",
		"opened":     "the confirmation page was shown, but nobody continued",
		"departed":   "no callback after 10" + noCallback,
	}
	if diff := cmp.Diff(attempts(pipes.AttemptNeverReturned, pipes.CodeExpired), want); diff != "" {
		t.Errorf("before the sweeper came: %s", diff)
	}
	replica := s.Replica(t)
	pipes.Sweep(t.Context(), s.Broker)
	pipes.Sweep(t.Context(), replica.Broker)
	if diff := cmp.Diff(attempts(pipes.AttemptNeverReturned, pipes.CodeExpired), want); diff != "" {
		t.Errorf("after: %s", diff)
	}
	got := map[string]string{}
	for _, e := range s.MustEvents(t, events.ConnectionFailed) {
		var data struct {
			User   string `json:"user_id"`
			Code   string `json:"error_code"`
			Reason string `json:"error_reason"`
		}
		must(t, json.Unmarshal(e.Data, &data))
		if data.Code != pipes.CodeExpired || got[data.User] != "" {
			t.Errorf("event %+v, again: %v", data, got[data.User] != "")
		}
		got[data.User] = data.Reason
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("events: %s", diff)
	}
	// Who comes back at last is told, and goes back to the application.
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if result.Code != pipes.CodeExpired || result.ReturnTo == "" {
		t.Errorf("a late callback: %+v", result)
	}
	wantSystemTrail(t, 3, s, replica)
}

// wantSystemTrail checks that the sweepers recorded what they changed: each replica has one.
func wantSystemTrail(t *testing.T, want int, stacks ...*pipestest.Stack) {
	t.Helper()
	n := 0
	for _, s := range stacks {
		for _, r := range s.MustAuditRecords(t) {
			if r.Phase == audit.Internal && r.ActorID == "system" {
				n++
			}
		}
	}
	if n < want {
		t.Errorf("%d records of the sweeper, want %d", n, want)
	}
}

// A slug that has no integration has no list of attempts, not an empty one.
func TestAttemptsOfNothing(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Second, Ownership: pipes.OwnedByOrganization, Credentials: pipestest.Credentials(),
	})))
	for slug, want := range map[string]error{
		"": nil, pipestest.Slug: nil, pipestest.Second: nil, "nothing": pipes.ErrNoIntegration, "no/slug": pipes.ErrNoIntegration,
	} {
		if err := errOf(s.Broker.Attempts(t.Context(), s.Call(), pipes.AttemptQuery{Slug: slug})); !errors.Is(err, want) {
			t.Errorf("attempts of %q: got %v, want %v", slug, err, want)
		}
	}
}

// Flows are kept for seven days, then they are gone.
func TestOldFlowsAreRemoved(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
	flows := func() int {
		t.Helper()
		all, err := s.Store.Flows(t.Context(), s.Environment.ID(), time.Unix(0, 0), s.Clock.Now())
		must(t, err)
		return len(all)
	}
	s.Clock.Advance(pipes.FlowKeep - time.Minute)
	pipes.Sweep(t.Context(), s.Broker)
	if n := flows(); n != 1 {
		t.Errorf("%d flows before their days are over", n)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
	s.Clock.Advance(2 * time.Minute)
	pipes.Sweep(t.Context(), s.Broker)
	if n := flows(); n != 0 {
		t.Errorf("%d flows after", n)
	}
	if err := errOf(s.Broker.Callback(t.Context(), callback)); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("callback of a flow that is gone: %v", err)
	}
	s.MustToken(t, "user_1")
}

// Accounts of a removed integration are absent from its removal on, and removed by whoever sweeps, also
// by another process after this one died.
func TestAccountsOfARemovedIntegration(t *testing.T) {
	s := pipestest.New(t)
	old := s.MustIntegration(t, pipestest.Slug)
	const accounts = 7
	for n := range accounts {
		must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request(fmt.Sprint("user_", n)), pipes.AccountTokens{
			AccessToken: pipestest.Secret("a"), RefreshToken: pipestest.Secret(fmt.Sprint("refresh ", n)), ExpiresAt: s.Clock.Now().Add(time.Hour),
		})))
	}
	grant := s.MustAccount(t, "user_0").Grant
	must(t, s.Broker.Close(t.Context())) // nobody sweeps here any more
	must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil))
	if err := errOf(token(t, s)); !errors.Is(err, pipes.ErrNoIntegration) {
		t.Errorf("token: %v", err)
	}
	// A new integration takes the slug: the old accounts are not its.
	fresh := s.MustIntegration(t, pipestest.Slug)
	if v, err := token(t, s); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("token under the new integration: %+v, %v", v, err)
	}
	s.MustConnect(t, "user_1")
	another := s.Replica(t) // sweeps at its start
	eventually(t, "the old accounts are gone", func() bool {
		must(t, s.Store.Fence(t.Context()))
		members, err := s.Store.Memberships(t.Context(), s.Environment.ID())
		must(t, err)
		return len(members) == 1 && members[0] == fresh.ID
	})
	if left, err := s.Store.AccountsOf(t.Context(), s.Environment.ID(), old.ID, "", 100); err != nil || len(left) != 0 {
		t.Errorf("%d accounts left, %v", len(left), err)
	}
	must(t, s.Store.Fence(t.Context()))
	if err := errOf(s.Store.Grant(t.Context(), s.Environment.ID(), grant)); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("a grant is left: %v", err)
	}
	if n := len(s.MustEvents(t, events.AccountDisconnected)); n != accounts {
		t.Errorf("%d disconnected events, want %d", n, accounts)
	}
	another.MustToken(t, "user_1")
	wantSystemTrail(t, accounts, another)
	// The refresh tokens are free again.
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_9"), pipes.AccountTokens{
		AccessToken: pipestest.Secret("a"), RefreshToken: pipestest.Secret("refresh 0"),
	})))
}

// Removing an integration wakes the sweeper of this process.
func TestRemovalSweepsAtOnce(t *testing.T) {
	s := mustStack(t)
	must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil))
	eventually(t, "the account is gone", func() bool {
		members, err := s.Store.Memberships(t.Context(), s.Environment.ID())
		must(t, err)
		return len(members) == 0
	})
}
