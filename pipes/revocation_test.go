package pipes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// disconnect removes a user's account and returns its id. revoke is the call's own choice.
func disconnect(t *testing.T, s *pipestest.Stack, user string, revoke *bool) pipes.AccountID {
	t.Helper()
	r := pipestest.Request(user)
	id := s.MustAccount(t, user).ID
	r.RevokeAtProvider = revoke
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), r))
	return id
}

// awaitRevocation works on the queue until a revocation is in a state, which the broker does by itself, too.
func awaitRevocation(t *testing.T, s *pipestest.Stack, id pipes.AccountID, enough func(pipes.Revocation) bool) pipes.Revocation {
	t.Helper()
	var r pipes.Revocation
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		pipes.Revoke(t.Context(), s.Broker)
		var err error
		r, err = s.Broker.Revocation(t.Context(), s.Call(), id)
		must(t, err)
		if enough(r) {
			return r
		}
	}
	t.Fatalf("the revocation is %+v", r)
	return r
}

func over(r pipes.Revocation) bool { return r.State != pipes.RevocationPending }

func choice(b bool) *bool { return &b }

// Who disconnects decides whether the provider is told: the call, or else the integration, which says no
// unless it was told otherwise.
func TestRevokeOnDisconnect(t *testing.T) {
	for name, c := range map[string]struct {
		integration, revoked bool
		call                 *bool
	}{
		"as the contract":        {false, false, nil},
		"by the integration":     {true, true, nil},
		"by the call":            {false, true, choice(true)},
		"not by the call":        {true, false, choice(false)},
		"by both":                {true, true, choice(true)},
		"by neither, and by say": {false, false, choice(false)},
	} {
		t.Run(name, func(t *testing.T) {
			s := withAccount(t, connectorstest.Config{Rotate: true})
			must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
				Slug: pipestest.Slug, RevokeAtProvider: &c.integration,
			})))
			token := string(s.MustToken(t, "user_1").AccessToken.Reveal())
			id := disconnect(t, s, "user_1", c.call)
			if !c.revoked {
				pipes.Revoke(t.Context(), s.Broker)
				if err := errOf(s.Broker.Revocation(t.Context(), s.Call(), id)); !errors.Is(err, pipes.ErrNoRevocation) {
					t.Errorf("a revocation that nobody asked for: %v", err)
				}
				if !s.Provider.Alive(token) || len(s.Provider.Revocations()) != 0 {
					t.Error("the provider was told")
				}
				return
			}
			r := awaitRevocation(t, s, id, over)
			if r.State != pipes.Revoked || r.Grant != nil || r.Attempts != 1 || r.EndedAt.IsZero() || s.Provider.Alive(token) {
				t.Errorf("revocation %+v, the token lives: %t", r, s.Provider.Alive(token))
			}
			var sent []string
			for _, q := range s.Provider.Revocations() {
				sent = append(sent, q.Params.Get("token_type_hint"))
			}
			if got := strings.Join(sent, " "); got != "refresh_token access_token" {
				t.Errorf("sent %s", got)
			}
			checkRevocationEnded(t, s, r)
		})
	}
}

// checkRevocationEnded: one event, which leads to the record of the attempt, by the server itself.
func checkRevocationEnded(t *testing.T, s *pipestest.Stack, r pipes.Revocation) {
	t.Helper()
	ends := s.MustEvents(t, events.RevocationEnded)
	if len(ends) != 1 {
		t.Fatalf("%d events of the end", len(ends))
	}
	var data map[string]any
	must(t, json.Unmarshal(ends[0].Data, &data))
	if data["connected_account_id"] != string(r.ID) || data["state"] != string(r.State) || data["user_id"] != "user_1" {
		t.Errorf("event %s", ends[0].Data)
	}
	var phases []audit.Phase
	for _, rec := range s.MustAuditRecords(t) {
		if rec.Action == "pipes.token.revoke" {
			phases = append(phases, rec.Phase)
			if rec.ActorID != "system" || rec.ActorName != "revoker" || rec.UserID != "user_1" || rec.AccountID != string(r.ID) || rec.GrantID == "" {
				t.Errorf("audit record %+v", rec)
			}
			if rec.Phase == audit.Intent && rec.Index != ends[0].Index {
				t.Errorf("the event leads to record %d, and the intent is %d", ends[0].Index, rec.Index)
			}
		}
	}
	if len(phases) != 2 || phases[0] != audit.Intent || phases[1] != audit.Outcome {
		t.Errorf("the trail has %v", phases)
	}
}

// What a provider may answer later is tried again, after what it asked for, for a day; what it refuses is not.
func TestRevocationIsRetried(t *testing.T) {
	busy := connectorstest.JSON(503, `{}`)
	busy.Header.Set("Retry-After", "1800")
	wrongClient := connectorstest.JSON(401, `{"error":"invalid_client"}`)
	s := withAccount(t, connectorstest.Config{Rotate: true})
	token := string(s.MustToken(t, "user_1").AccessToken.Reveal())
	s.Clock.Stop()
	s.Provider.NextRevocation(busy, connectorstest.Fault{Drop: true}, wrongClient)
	id := disconnect(t, s, "user_1", choice(true))
	for attempt, want := range []struct {
		code string
		wait time.Duration
	}{{"transient", 30 * time.Minute}, {"ambiguous", 20 * time.Second}, {"invalid_client", 40 * time.Second}} {
		r := awaitRevocation(t, s, id, func(r pipes.Revocation) bool { return r.Code == want.code })
		if wait := r.NextAt.Sub(s.Clock.Now()); r.State != pipes.RevocationPending || r.Attempts != attempt+1 || (wait-want.wait).Abs() > time.Second {
			t.Errorf("attempt %d: %+v, and waits %s, want %s", attempt+1, r, wait, want.wait)
		}
		pipes.Revoke(t.Context(), s.Broker) // before its time
		if n := len(s.Provider.Revocations()); n != attempt+1 {
			t.Errorf("%d requests after attempt %d", n, attempt+1)
		}
		s.Clock.Advance(want.wait + time.Second)
	}
	if r := awaitRevocation(t, s, id, over); r.State != pipes.Revoked || s.Provider.Alive(token) {
		t.Errorf("in the end it is %+v", r)
	}
}

// A day of failures ends it, and who asks is told; what cannot succeed ends at once.
func TestRevocationsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		answer connectorstest.Fault
		// after passes between the failure and the next attempt.
		after time.Duration
		state pipes.RevocationState
		code  string
		// tokens were sent.
		sent int
	}{
		"a day":            {connectorstest.HTML(502), 25 * time.Hour, pipes.RevocationGivenUp, "ambiguous", 2},
		"refused":          {connectorstest.JSON(400, `{"error":"invalid_request"}`), 0, pipes.RevocationFailed, "invalid_request", 1},
		"refused in prose": {connectorstest.JSON(403, `{"message":"canary-prose"}`), 0, pipes.RevocationFailed, "refused", 1},
		"no such tokens":   {connectorstest.JSON(400, `{"error":"invalid_token"}`), 0, pipes.Revoked, "", 2},
		"of no kind":       {connectorstest.JSON(400, `{"error":"unsupported_token_type"}`), 0, pipes.RevocationUnsupported, "unsupported_token_type", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := withAccount(t, connectorstest.Config{Rotate: true})
			s.Provider.NextRevocation(c.answer, c.answer)
			id := disconnect(t, s, "user_1", choice(true))
			if c.after > 0 {
				awaitRevocation(t, s, id, func(r pipes.Revocation) bool { return r.Code != "" })
				s.Clock.Advance(c.after)
			}
			r := awaitRevocation(t, s, id, over)
			if r.State != c.state || r.Code != c.code || r.Grant != nil || len(s.Provider.Revocations()) != c.sent {
				t.Errorf("revocation %+v after %d requests, want %s (%s) after %d", r, len(s.Provider.Revocations()), c.state, c.code, c.sent)
			}
			if strings.Contains(s.Log.String(), "canary-prose") {
				t.Error("the provider's words are in the log")
			}
		})
	}
}

// Tokens and client secrets are not sent where they do not belong, and not for another client.
func TestRevocationIsBound(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pipestest.Stack) error
		code   string
	}{
		"to where they came from": {code: pipes.RevocationMoved, change: func(s *pipestest.Stack) error {
			moved := connectorstest.Start(t, connectorstest.Config{}).Definition()
			return errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
				Slug: "mine", Credentials: pipestest.Credentials(), Custom: &pipes.CustomUpdate{
					AuthorizationURL: &moved.AuthorizationURL, TokenURL: &moved.TokenURL, RevocationURL: &moved.TokenURL,
				},
			}))
		}},
		"to their client": {code: pipes.RevocationClientChanged, change: func(s *pipestest.Stack) error {
			other := pipestest.Credentials()
			other.ID = "another"
			return errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: "mine", Credentials: other}))
		}},
		"and sent as long as nothing changed": {change: func(*pipestest.Stack) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.New(t)
			d := s.Provider.Definition()
			must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
				Slug: "mine", Enabled: true, Credentials: pipestest.Credentials(), Custom: &pipes.CustomProvider{
					Name: "Mine", AuthorizationURL: d.AuthorizationURL, TokenURL: d.TokenURL, RevocationURL: s.Provider.URL + connectorstest.RevokePath,
					PKCE: true, ScopeSeparator: " ", SecretRequired: true, TokenContentType: "application/x-www-form-urlencoded", ClientAuth: "request_body",
				},
			})))
			r := pipes.Request{Slug: "mine", UserID: "u", RevokeAtProvider: choice(true)}
			must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), r, pipes.AccountTokens{AccessToken: pipestest.Secret("at"), RefreshToken: pipestest.Secret("rt")})))
			a, err := s.Broker.Account(t.Context(), s.Call(), r)
			must(t, errors.Join(err, c.change(s), s.Broker.DeleteAccount(t.Context(), s.Call(), r)))
			got := awaitRevocation(t, s, a.ID, over)
			if failed := c.code != ""; failed != (got.State == pipes.RevocationFailed) || got.Code != c.code || failed == (len(s.Provider.Revocations()) > 0) {
				t.Errorf("revocation %+v, %d requests", got, len(s.Provider.Revocations()))
			}
		})
	}
	// The address of a custom provider is at the origin of its token endpoint.
	s := pipestest.New(t)
	d := s.Provider.Definition()
	err := errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Credentials: pipestest.Credentials(), Custom: &pipes.CustomProvider{
			Name: "Mine", AuthorizationURL: d.AuthorizationURL, TokenURL: d.TokenURL, RevocationURL: "https://collector.example/",
		},
	}))
	if invalid := (*pipes.InvalidError)(nil); !errors.As(err, &invalid) || invalid.Field != "custom_provider.revocation_url" {
		t.Errorf("an address elsewhere: %v", err)
	}
}

// Pending tokens are nobody's: they are not vended, and a reconnect has a grant of its own that lives on.
func TestRevokedTokensAreNotVended(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.Provider.NextRevocation(connectorstest.HTML(503))
	id := disconnect(t, s, "user_1", choice(true))
	awaitRevocation(t, s, id, func(r pipes.Revocation) bool { return r.Attempts > 0 && r.Code != "" })
	if v, err := token(t, s); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("vended %+v, %v", v, err)
	}
	again := s.MustConnect(t, "user_1")
	s.Clock.Advance(time.Minute)
	if r := awaitRevocation(t, s, id, over); r.State != pipes.Revoked || again == id {
		t.Errorf("revocation %+v", r)
	}
	if v := s.MustToken(t, "user_1"); !s.Provider.Alive(string(v.AccessToken.Reveal())) {
		t.Error("the new connection died with the old one")
	}
}

// The accounts of a removed integration are revoked with the client credentials that it had; those are kept
// for no longer than that. Without the word nothing is kept or sent.
func TestRemovedIntegrationIsRevoked(t *testing.T) {
	for _, revoke := range []bool{true, false} {
		t.Run(fmt.Sprint(revoke), func(t *testing.T) {
			s := withAccount(t, connectorstest.Config{Rotate: true})
			s.MustConnect(t, "user_2")
			var tokens []string
			var ids []pipes.AccountID
			for _, user := range []string{"user_1", "user_2"} {
				tokens = append(tokens, string(s.MustToken(t, user).AccessToken.Reveal()))
				ids = append(ids, s.MustAccount(t, user).ID)
			}
			must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", &revoke))
			pipes.Sweep(t.Context(), s.Broker)
			for i, id := range ids {
				if revoke {
					if r := awaitRevocation(t, s, id, over); r.State != pipes.Revoked {
						t.Errorf("revocation %+v", r)
					}
				}
				if s.Provider.Alive(tokens[i]) == revoke {
					t.Errorf("the token lives: %t", !revoke)
				}
			}
			pipes.Revoke(t.Context(), s.Broker)
			must(t, s.Store.Fence(t.Context()))
			if left, err := s.Store.Retired(t.Context(), s.Environment.ID()); err != nil || len(left) != 0 {
				t.Errorf("%d integrations are kept, %v", len(left), err)
			}
		})
	}
}

// Replicas that work on one queue send each token once.
func TestRevocationsOfTwoReplicas(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	const accounts = 6
	for n := 2; n <= accounts; n++ {
		s.MustConnect(t, fmt.Sprint("user_", n))
	}
	other := s.Replica(t)
	var ids []pipes.AccountID
	for n := 1; n <= accounts; n++ {
		ids = append(ids, disconnect(t, s, fmt.Sprint("user_", n), choice(true)))
	}
	var both sync.WaitGroup
	for _, b := range []*pipes.Broker{s.Broker, other.Broker} {
		both.Go(func() { pipes.Revoke(t.Context(), b) })
	}
	both.Wait()
	for _, id := range ids {
		if r := awaitRevocation(t, s, id, over); r.State != pipes.Revoked || r.Attempts != 1 {
			t.Errorf("revocation %+v", r)
		}
	}
	if n := len(s.Provider.Revocations()); n != 2*accounts {
		t.Errorf("%d requests for %d tokens", n, 2*accounts)
	}
}

// dyingStore loses the first end of a revocation.
type dyingStore struct {
	pipes.Store
	lost *sync.Once
}

func (s dyingStore) Apply(ctx context.Context, c pipes.Change) (err error) {
	if c.Revocation != nil && c.Revocation.Record.State == pipes.Revoked {
		s.lost.Do(func() { err = errors.New("the process died") })
	}
	if err != nil {
		return err
	}
	return s.Store.Apply(ctx, c)
}

// A process that dies after it has sent leaves a claim, which runs out: the tokens are sent again.
func TestRevocationSurvivesACrash(t *testing.T) {
	var lost sync.Once
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true},
		Wrap: func(store pipes.Store) pipes.Store {
			return dyingStore{Store: store, lost: &lost}
		},
	})
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	id := disconnect(t, s, "user_1", choice(true))
	r := awaitRevocation(t, s, id, func(r pipes.Revocation) bool { return len(s.Provider.Revocations()) == 2 })
	if r.State != pipes.RevocationPending || r.Attempts != 1 || r.Grant == nil {
		t.Errorf("after the crash it is %+v", r)
	}
	s.Clock.Advance(6 * time.Minute)
	if r := awaitRevocation(t, s, id, over); r.State != pipes.Revoked || r.Attempts != 2 {
		t.Errorf("in the end it is %+v", r)
	}
}

// identify says whose an account is at the provider.
func identify(t *testing.T, s *pipestest.Stack, id pipes.AccountID, identifier string) {
	t.Helper()
	must(t, s.Store.Fence(t.Context()))
	found, err := s.Store.Account(t.Context(), s.Environment.ID(), id)
	must(t, err)
	next := *found.Record
	next.Identifier = identifier
	must(t, s.Store.Apply(t.Context(), pipes.Change{
		Environment: s.Environment.ID(), Account: &pipes.Put[pipes.Account]{Record: next, Revision: found.Revision},
		Events: []events.Event{{Type: events.AccountUpdated, Data: []byte("{}"), At: s.Clock.Now(), Node: "test"}},
	}))
}

// Where the end of one token is the end of all that the client has of a person, other accounts of the same
// person keep it from being revoked; so does one of which nobody knows whose it is.
func TestSharedConsentIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		// ids are the provider's of the accounts that stay, "" for an unknown one; mine is that of the one
		// that goes.
		mine string
		ids  []string
		// all is a provider that ends all.
		all   bool
		state pipes.RevocationState
		code  string
	}{
		"the same person":              {"p1", []string{"p2", "p1"}, true, pipes.RevocationKept, pipes.RevocationShared},
		"other people":                 {"p1", []string{"p2", "p3"}, true, pipes.Revoked, ""},
		"nobody else":                  {"p1", nil, true, pipes.Revoked, ""},
		"an unknown one":               {"p1", []string{""}, true, pipes.RevocationKept, pipes.RevocationUnidentified},
		"unknown itself":               {"", []string{"p1"}, true, pipes.RevocationKept, pipes.RevocationUnidentified},
		"unknown and alone":            {"", nil, true, pipes.Revoked, ""},
		"the same, where it is no sin": {"p1", []string{"p1"}, false, pipes.Revoked, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{
				Provider: connectorstest.Config{Rotate: true},
				Connector: func(conn *connectors.Connector) {
					conn.RevokesAll, conn.IdentityURL = c.all, ""
				},
			})
			// The second slug is another product of the same provider, with the same client.
			s.MustIntegration(t, pipestest.Slug)
			s.MustIntegration(t, pipestest.Second)
			s.MustConnect(t, "user_1")
			identify(t, s, s.MustAccount(t, "user_1").ID, c.mine)
			for n, id := range c.ids {
				r := pipes.Request{Slug: pipestest.Second, UserID: fmt.Sprint("other_", n)}
				a, err := s.Broker.ImportAccount(t.Context(), s.Call(), r, pipes.AccountTokens{AccessToken: pipestest.Secret("at")})
				must(t, err)
				identify(t, s, a.ID, id)
			}
			id := disconnect(t, s, "user_1", choice(true))
			if r := awaitRevocation(t, s, id, over); r.State != c.state || r.Code != c.code {
				t.Errorf("revocation %+v, want %s (%s)", r, c.state, c.code)
			}
		})
	}
}

// An account that leaves a grant which others have says that it was kept, and sends nothing; the last one
// takes the tokens along.
func TestSharedGrantIsKept(t *testing.T) {
	s := withAccount(t, connectorstest.Config{})
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1"}, "access-1", "shared")
	connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_2"}, "access-2", "shared")
	first := disconnect(t, s, "user_1", choice(true))
	if r := awaitRevocation(t, s, first, over); r.State != pipes.RevocationKept || r.Code != pipes.RevocationShared {
		t.Errorf("the first: %+v", r)
	}
	if len(s.Provider.Revocations()) != 0 {
		t.Error("the grant of the other account was revoked")
	}
	s.MustToken(t, "user_2")
	if r := awaitRevocation(t, s, disconnect(t, s, "user_2", choice(true)), over); r.State != pipes.Revoked {
		t.Errorf("the last: %+v", r)
	}
}

// Outcomes are listed in pages, and are gone after a month.
func TestRevocationsAreListed(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	s.MustConnect(t, "user_2")
	want := []pipes.AccountID{disconnect(t, s, "user_1", choice(true)), disconnect(t, s, "user_2", choice(true))}
	for _, id := range want {
		awaitRevocation(t, s, id, over)
	}
	page, err := s.Broker.Revocations(t.Context(), s.Call(), pipes.RevocationQuery{Limit: 1})
	must(t, err)
	next, err := s.Broker.Revocations(t.Context(), s.Call(), pipes.RevocationQuery{Limit: 1, After: page.After})
	must(t, err)
	if len(page.Data) != 1 || len(next.Data) != 1 || page.Data[0].ID != want[0] || next.Data[0].ID != want[1] || next.After != "" {
		t.Errorf("pages %+v and %+v", page, next)
	}
	s.Clock.Advance(pipes.RevocationKeep - time.Hour)
	pipes.Sweep(t.Context(), s.Broker)
	must(t, errOf(s.Broker.Revocation(t.Context(), s.Call(), want[0])))
	s.Clock.Advance(2 * time.Hour)
	pipes.Sweep(t.Context(), s.Broker)
	for _, err := range []error{
		errOf(s.Broker.Revocation(t.Context(), s.Call(), want[0])), errOf(s.Broker.Revocation(t.Context(), s.Call(), "no id")),
	} {
		if !errors.Is(err, pipes.ErrNoRevocation) {
			t.Errorf("got %v, want ErrNoRevocation", err)
		}
	}
	if err := errOf(s.Broker.Revocations(t.Context(), s.Call(), pipes.RevocationQuery{After: "x"})); !errors.Is(err, pipes.ErrUnknownCursor) {
		t.Errorf("a cursor of nobody: %v", err)
	}
}
