package pipes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// twoTokens reads replies with a bot's token at the top and a user's inside, or after a refresh either of
// them at the top: as Slack sends them.
func twoTokens(r connectors.Reply) (connectors.Tokens, error) {
	named := func(r connectors.Reply, name string) (connectors.Tokens, error) {
		t, err := r.Tokens()
		t.Named, t.NamedRefresh = map[string]secret.Bytes{name: t.Access}, map[string]secret.Bytes{}
		t.NamedExpiresAt = map[string]time.Time{name: t.ExpiresAt}
		if t.Refresh.Len() > 0 {
			t.NamedRefresh[name] = t.Refresh
		}
		return t, err
	}
	if r.Text("of") == "user" {
		return named(r, "user")
	}
	bot, err := named(r, "bot")
	if inner := r.Object("user"); err == nil && inner.Text("access_token") != "" {
		user, err := named(inner, "user")
		if err != nil {
			return connectors.Tokens{}, err
		}
		bot.Named["user"], bot.NamedRefresh["user"], bot.NamedExpiresAt["user"] = user.Access, user.Refresh, user.ExpiresAt
	}
	return bot, err
}

// The replies of such a provider: both tokens, and one that was refreshed. The bot's lives for an hour, the
// user's for half of it.
const bothReply = `{"access_token":"canary-bot-1","refresh_token":"canary-bot-r1","expires_in":3600,"scope":"read user:write",
	"user":{"access_token":"canary-user-1","refresh_token":"canary-user-r1","expires_in":1800}}`

func botReply(n string) connectorstest.Fault {
	return connectorstest.JSON(200, `{"access_token":"canary-bot-`+n+`","refresh_token":"canary-bot-r`+n+`","expires_in":3600,"scope":"read"}`)
}

func userReply(n string) connectorstest.Fault {
	return connectorstest.JSON(200, `{"of":"user","access_token":"canary-user-`+n+`","refresh_token":"canary-user-r`+n+`","expires_in":1800,"scope":"write"}`)
}

// withTwoTokens is a stack whose user_1 has both.
func withTwoTokens(t *testing.T) (*pipestest.Stack, *interposed) {
	t.Helper()
	store := &interposed{}
	s := pipestest.WithConfig(t, pipestest.Config{
		Connector: func(c *connectors.Connector) { c.Reply = twoTokens },
		Wrap: func(inner pipes.Store) pipes.Store {
			if store.Store == nil {
				store.Store = inner
				return store
			}
			return inner
		},
	})
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	s.Clock.Stop()
	s.Provider.Next(connectorstest.JSON(200, bothReply))
	s.MustConnect(t, "user_1")
	return s, store
}

// vendNamed asks for one of the tokens, by its name.
func vendNamed(t *testing.T, s *pipestest.Stack, name string) (pipes.Vended, error) {
	t.Helper()
	r := pipestest.Request("user_1")
	r.TokenName = name
	return s.Broker.Token(t.Context(), s.Call(), r)
}

func wantToken(t *testing.T, s *pipestest.Stack, name, want string, ends time.Duration) {
	t.Helper()
	v, err := vendNamed(t, s, name)
	if err != nil || !v.Active || string(v.AccessToken.Reveal()) != want {
		t.Fatalf("token %q: %v %s, %v; want %s", name, v.Active, v.AccessToken.Reveal(), err, want)
	}
	if got := v.ExpiresAt.Sub(s.Clock.Now()); (got - ends).Abs() > time.Second {
		t.Errorf("token %q ends in %v, want %v", name, got, ends)
	}
}

// sentRefreshTokens are those that the provider was sent, in their order.
func sentRefreshTokens(s *pipestest.Stack) (sent []string) {
	for _, r := range s.Provider.Requests() {
		if r.Grant == "refresh_token" {
			sent = append(sent, r.Params.Get("refresh_token"))
		}
	}
	return sent
}

// Each of several tokens is vended by its name, ends at its own time, and is refreshed with its own refresh
// token, which may rotate. The others stay as they are, and the account has the scopes of all of them.
func TestNamedTokens(t *testing.T) {
	s, _ := withTwoTokens(t)
	if a := s.MustAccount(t, "user_1"); !cmp.Equal(a.TokenNames, []string{"bot", "user"}) {
		t.Errorf("the account has the tokens %q", a.TokenNames)
	}
	const half = 30 * time.Minute
	wantToken(t, s, "", "canary-bot-1", 2*half)
	wantToken(t, s, "bot", "canary-bot-1", 2*half)
	wantToken(t, s, "user", "canary-user-1", half)
	var refused *pipes.InvalidError
	for _, unknown := range []string{"Bot", "refresh/user", "x\x00"} {
		if _, err := vendNamed(t, s, unknown); !errors.As(err, &refused) || refused.Field != "token_name" ||
			refused.Code != pipes.CodeTokenName || refused.Rule != "must be one of bot, user" {
			t.Errorf("token %q: %v", unknown, err)
		}
	}

	s.Clock.Advance(half)
	wantToken(t, s, "bot", "canary-bot-1", half)
	s.Provider.Next(userReply("2"))
	wantToken(t, s, "user", "canary-user-2", half)
	wantToken(t, s, "", "canary-bot-1", half)
	s.Clock.Advance(half)
	s.Provider.Next(botReply("2"), userReply("3"))
	wantToken(t, s, "", "canary-bot-2", 2*half)
	wantToken(t, s, "user", "canary-user-3", half)
	wantToken(t, s, "bot", "canary-bot-2", 2*half)
	if diff := cmp.Diff(sentRefreshTokens(s), []string{"canary-user-r1", "canary-bot-r1", "canary-user-r2"}); diff != "" {
		t.Errorf("refresh tokens (-got +want):\n%s", diff)
	}
	a := s.MustAccount(t, "user_1")
	if g := mustGrant(t, s, a.Grant); g.Generation != 4 || a.State != pipes.Connected {
		t.Errorf("generation %d, account %+v", g.Generation, a)
	}
	if !cmp.Equal(a.Scopes, []string{"read", "user:write"}) {
		t.Errorf("the account has the scopes %q of one token", a.Scopes)
	}
}

// An account of one token has no names.
func TestNoNamedTokens(t *testing.T) {
	s := withAccount(t, connectorstest.Config{})
	var refused *pipes.InvalidError
	if _, err := vendNamed(t, s, "bot"); !errors.As(err, &refused) || !strings.Contains(refused.Rule, "left out") {
		t.Errorf("got %v", err)
	}
	if a := s.MustAccount(t, "user_1"); a.TokenNames != nil {
		t.Errorf("the account has the tokens %q", a.TokenNames)
	}
	s.MustToken(t, "user_1")
}

// A named token that is dead is dead alone, until somebody connects again.
func TestDeadNamedToken(t *testing.T) {
	s, _ := withTwoTokens(t)
	s.Clock.Advance(30 * time.Minute)
	s.Provider.Next(connectorstest.JSON(400, `{"error":"invalid_grant"}`))
	for range 2 {
		v, err := vendNamed(t, s, "user")
		if err != nil || v.Active || v.Error != pipes.VendNeedsReauthorization || v.Reason != "revoked" {
			t.Errorf("got %+v, %v", v, err)
		}
	}
	wantToken(t, s, "bot", "canary-bot-1", 30*time.Minute)
	if a := s.MustAccount(t, "user_1"); a.State != pipes.Connected {
		t.Errorf("account %+v", a)
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	s.Provider.Next(connectorstest.JSON(200, bothReply))
	s.MustConnect(t, "user_1")
	wantToken(t, s, "user", "canary-user-1", 30*time.Minute)
}

// A named token whose refresh rotated is not lost by a crash before it is stored: it is replayed as itself.
func TestKilledWithANamedToken(t *testing.T) {
	s, store := withTwoTokens(t)
	s.Clock.Advance(30 * time.Minute)
	store.set(func(c pipes.Change) error {
		if isRefresh(c) {
			return &outage.Error{Dependency: outage.Etcd}
		}
		return nil
	})
	s.Provider.Next(userReply("2"))
	go func() { _, _ = vendNamed(t, s, "user") }()
	eventually(t, "an entry in the journal", func() bool { return pipes.Pending(s.Broker) == 1 })
	restarted := comesBack(t, s) // whose store works; that of the killed process stays away until it is dead
	wantToken(t, restarted, "user", "canary-user-2", 30*time.Minute)
	wantToken(t, restarted, "bot", "canary-bot-1", 30*time.Minute)
	s.Clock.Advance(30 * time.Minute)
	s.Provider.Next(userReply("3"))
	wantToken(t, restarted, "user", "canary-user-3", 30*time.Minute)
	if diff := cmp.Diff(sentRefreshTokens(s), []string{"canary-user-r1", "canary-user-r2"}); diff != "" {
		t.Errorf("refresh tokens (-got +want):\n%s", diff)
	}
}

// dies is the end of a node's lease: its attempt stays, without its lock.
func dies(t *testing.T, s *pipestest.Stack) {
	t.Helper()
	left := standing(t, s)
	must(t, errOf(s.Store.PutAttempt(t.Context(), pipes.Step{
		Environment: s.Environment.ID(), Attempt: *left.Attempt.Record, Revision: left.Attempt.Revision, Lock: pipes.LockReleased,
	})))
}

// withJournaled is a stack that died with the result of one token's refresh in its journal alone, and a replica.
func withJournaled(t *testing.T, name string, reply connectorstest.Fault) (s, replica *pipestest.Stack) {
	t.Helper()
	s, store := withTwoTokens(t)
	s.Clock.Advance(time.Hour)
	store.set(func(c pipes.Change) error {
		if isRefresh(c) {
			return &outage.Error{Dependency: outage.Etcd}
		}
		return nil
	})
	s.Provider.Next(reply)
	go func() { _, _ = vendNamed(t, s, name) }()
	eventually(t, "an entry in the journal", func() bool { return pipes.Pending(s.Broker) == 1 })
	dies(t, s)
	replica = s.Replica(t)
	pipes.Impatient(replica.Broker)
	pipes.Settled(replica.Broker, 10*time.Millisecond)
	return s, replica
}

// comesBack is the next life of a node, which has stored what its journal had.
func comesBack(t *testing.T, s *pipestest.Stack) *pipestest.Stack {
	t.Helper()
	restarted := s.Restart(t)
	pipes.Impatient(restarted.Broker)
	eventually(t, "the replay", func() bool { return restarted.Counts.Of(pipes.CountReplayed) == 1 })
	return restarted
}

func wantDead(t *testing.T, s *pipestest.Stack, name, reason string) {
	t.Helper()
	if v, err := vendNamed(t, s, name); err != nil || v.Active || v.Reason != reason {
		t.Errorf("token %q: %+v, %v; want it to be dead as %s", name, v, err, reason)
	}
}

var deadToken = connectorstest.JSON(400, `{"error":"invalid_grant"}`)

// The main token is refreshed while a dead node has the named one's result: first the named one's refresh is
// finished, and what the node brings is stored beside the main one's, whose refresh goes on meanwhile.
func TestMainTokenPassesANamedResult(t *testing.T) {
	s, replica := withJournaled(t, "user", userReply("2"))
	s.Provider.Next(deadToken)
	wantDead(t, replica, "user", pipes.ReasonRotationLost)
	s.Provider.Next(botReply("2"))
	s.Provider.Hold()
	vended := make(chan error, 1)
	go func() {
		_, err := vendNamed(t, replica, "bot")
		vended <- err
	}()
	eventually(t, "the main token's refresh", func() bool { return s.Provider.Refreshes() == 3 })
	restarted := comesBack(t, s)
	if left := standing(t, s); left.Attempt.Record == nil || left.Attempt.Record.Name != "" || left.Lock.Revision == 0 {
		t.Errorf("the replay of one token left %+v of the other", left)
	}
	s.Provider.Release()
	must(t, <-vended)
	wantToken(t, restarted, "user", "canary-user-2", 30*time.Minute)
	wantToken(t, restarted, "bot", "canary-bot-2", time.Hour)
	if diff := cmp.Diff(sentRefreshTokens(s), []string{"canary-user-r1", "canary-user-r1", "canary-bot-r1"}); diff != "" {
		t.Errorf("refresh tokens (-got +want):\n%s", diff)
	}
	if g := mustGrant(t, s, s.MustAccount(t, "user_1").Grant); g.Generation != 3 || standing(t, s).Attempt.Record != nil {
		t.Errorf("generation %d, left %+v", g.Generation, standing(t, s))
	}
	s.Clock.Advance(time.Hour)
	s.Provider.Next(botReply("3"), userReply("3"))
	wantToken(t, replica, "bot", "canary-bot-3", time.Hour)
	wantToken(t, replica, "user", "canary-user-3", 30*time.Minute)
}

// The named token is wanted while a dead node has the main one's result: it is not sent before the main one's
// refresh is finished, and the grant lives again with what the node brings.
func TestNamedTokenPassesAMainResult(t *testing.T) {
	s, replica := withJournaled(t, "bot", botReply("2"))
	s.Provider.Next(deadToken)
	wantDead(t, replica, "user", pipes.ReasonRotationLost)
	restarted := comesBack(t, s)
	s.Provider.Next(userReply("2"))
	wantToken(t, restarted, "user", "canary-user-2", 30*time.Minute)
	wantToken(t, replica, "bot", "canary-bot-2", time.Hour)
	if diff := cmp.Diff(sentRefreshTokens(s), []string{"canary-bot-r1", "canary-bot-r1", "canary-user-r1"}); diff != "" {
		t.Errorf("refresh tokens (-got +want):\n%s", diff)
	}
}

// What was lost of one token is known until that one is refreshed or judged, whichever other is wanted.
func TestAmbiguityIsOfOneToken(t *testing.T) {
	lost := connectorstest.Fault{Drop: true}
	for _, row := range []struct{ lost, wanted string }{{"user", "bot"}, {"bot", "user"}} {
		t.Run(row.lost, func(t *testing.T) {
			s, _ := withTwoTokens(t)
			s.Clock.Advance(time.Hour)
			s.Provider.Next(lost, lost, lost, lost)
			if v, err := vendNamed(t, s, row.lost); err == nil {
				t.Fatalf("vended %+v", v)
			}
			replica := s.Replica(t)
			pipes.Impatient(replica.Broker)
			s.Provider.Next(deadToken, botReply("2"))
			if _, err := vendNamed(t, replica, row.wanted); err != nil {
				t.Error(err)
			}
			wantDead(t, replica, row.lost, pipes.ReasonRotationLost)
			if n := replica.Counts.Of(pipes.CountRotationLost); n != 1 {
				t.Errorf("%d rotations lost", n)
			}
		})
	}
	t.Run("and none is lost", func(t *testing.T) {
		s, _ := withTwoTokens(t)
		s.Clock.Advance(time.Hour)
		s.Provider.Next(lost, lost, lost, lost)
		if v, err := vendNamed(t, s, "user"); err == nil {
			t.Fatalf("vended %+v", v)
		}
		replica := s.Replica(t)
		pipes.Impatient(replica.Broker)
		s.Provider.Next(userReply("2"), botReply("2"))
		wantToken(t, replica, "bot", "canary-bot-2", time.Hour)
		wantToken(t, replica, "user", "canary-user-2", 30*time.Minute)
	})
}
