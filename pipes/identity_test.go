package pipes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// identified is a stack whose provider says who its users are when it is asked.
func identified(t *testing.T, change func(*connectors.Connector)) *pipestest.Stack {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true},
		Connector: func(c *connectors.Connector) {
			c.Identity = connectors.Identity{ID: []string{"sub"}, Name: []string{"name"}}
			if change != nil {
				change(c)
			}
		},
	})
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	return s
}

// Whose an account is at the provider: as it says when it is asked, in its token reply, or in the callback
// alone.
func TestIdentityAtConnect(t *testing.T) {
	for what, c := range map[string]struct {
		identity connectors.Identity
		reply    string
		others   map[string]string
		id, name string
		calls    int
	}{
		"asked":            {identity: connectors.Identity{ID: []string{"sub"}, Name: []string{"name"}}, id: "user-1", name: "Test User", calls: 1},
		"in the reply":     {identity: connectors.Identity{TokenID: []string{"me.id"}, TokenName: []string{"me.name"}}, reply: `,"me":{"id":7,"name":"A"}`, id: "7", name: "A"},
		"half of it there": {identity: connectors.Identity{TokenID: []string{"me.id"}, ID: []string{"sub"}, Name: []string{"name"}}, reply: `,"me":{"id":7}`, id: "7", calls: 1},
		"in the callback":  {identity: connectors.Identity{CallbackID: "realmId"}, others: map[string]string{"realmId": "4711", "x": "y"}, id: "4711"},
		"another's in it":  {identity: connectors.Identity{CallbackID: "location"}, others: map[string]string{"realmId": "4711"}},
		"nowhere":          {},
	} {
		t.Run(what, func(t *testing.T) {
			s := identified(t, func(conn *connectors.Connector) { conn.Identity = c.identity })
			if c.reply != "" {
				s.Provider.Next(connectorstest.JSON(200, `{"access_token":"access-token"`+c.reply+`}`))
			}
			callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
			callback.Others = c.others
			result, err := s.Broker.Callback(t.Context(), callback)
			must(t, err)
			if result.Code != "" {
				t.Fatalf("got %+v", result)
			}
			if a := s.MustAccount(t, "user_1"); a.Identifier != c.id || a.DisplayName != c.name {
				t.Errorf("the account is %q, called %q", a.Identifier, a.DisplayName)
			}
			if n := s.Provider.Identities(); n != c.calls {
				t.Errorf("%d identity calls, want %d", n, c.calls)
			}
		})
	}
}

// An identity call that fails costs no grant: the account is connected, nobody's for now, and the provider
// is asked again behind a vend, once in a while.
func TestIdentityBehindAVend(t *testing.T) {
	s := identified(t, nil)
	s.Provider.AlwaysIdentity(connectorstest.HTML(503))
	s.MustConnect(t, "user_1")
	if a := s.MustAccount(t, "user_1"); a.State != pipes.Connected || a.Identifier != "" || a.DisplayName != "" {
		t.Fatalf("the account is %+v", a)
	}
	s.Clock.Stop()
	s.MustToken(t, "user_1")
	eventually(t, "a call behind the vend", func() bool { return s.Provider.Identities() == 2 })
	s.Provider.Heal()
	for range 3 {
		s.MustToken(t, "user_1")
	}
	if n := s.Provider.Identities(); n != 2 {
		t.Errorf("%d calls within the pause", n)
	}
	// The pause has to be over whenever the failure of the call behind was noted.
	eventually(t, "the identity", func() bool {
		s.Clock.Advance(time.Minute)
		s.MustToken(t, "user_1")
		return s.MustAccount(t, "user_1").Identifier == "user-1"
	})
	a := s.MustAccount(t, "user_1")
	if a.DisplayName != "Test User" {
		t.Errorf("the account is called %q", a.DisplayName)
	}
	updated := s.MustEvents(t, events.AccountUpdated)
	if len(updated) != 1 || !strings.Contains(string(updated[0].Data), string(a.ID)) {
		t.Errorf("%d events of the change", len(updated))
	}
	n := s.Provider.Identities()
	s.Clock.Advance(time.Minute)
	token := s.MustToken(t, "user_1")
	must(t, s.Broker.Close(t.Context()))
	if again := s.Provider.Identities(); again != n {
		t.Error("an account that is known is asked about")
	}
	if strings.Contains(s.Log.String(), string(token.AccessToken.Reveal())) || !strings.Contains(s.Log.String(), "did not say whose account") {
		t.Error("the log has the token, or says nothing of the failure")
	}
	intents := 0
	for _, r := range s.MustAuditRecords(t) {
		if r.Phase == audit.Intent && r.Action == access.TokenVend && r.AccountID == string(a.ID) {
			intents++
		}
	}
	if intents == 0 {
		t.Error("no record of the change")
	}
}

// Imported accounts are asked about too; tokens that were brought for an account leave nothing of whose it
// was; and a token is never sent to an identity call of another token endpoint's connector.
func TestIdentityOfImportedAccounts(t *testing.T) {
	s := identified(t, nil)
	s.MustConnect(t, "user_1")
	access := s.MustToken(t, "user_1").AccessToken
	r := pipestest.Request("user_2")
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), r, pipes.AccountTokens{AccessToken: access})))
	if a := s.MustAccount(t, "user_2"); a.Identifier != "" {
		t.Errorf("the account is %q before anybody asked", a.Identifier)
	}
	identity := func() bool { s.MustToken(t, "user_2"); return s.MustAccount(t, "user_2").Identifier == "user-1" }
	eventually(t, "the identity", identity)
	must(t, errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), r, pipes.AccountTokens{AccessToken: access})))
	if a := s.MustAccount(t, "user_2"); a.Identifier != "" || a.DisplayName != "" {
		t.Errorf("the account with other tokens is still %q", a.Identifier)
	}
	eventually(t, "the identity again", identity)
}

// A custom provider whose identity call an administrator adds later is asked at the origin of its tokens.
func TestIdentityOfACustomProvider(t *testing.T) {
	s := pipestest.New(t)
	d := s.Provider.Definition()
	custom := &pipes.CustomProvider{
		Name: "Mine", AuthorizationURL: d.AuthorizationURL, TokenURL: d.TokenURL, PKCE: true, SecretRequired: true,
		IdentityURL: s.Provider.URL + connectorstest.IdentityPath,
	}
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, Credentials: pipestest.Credentials(), Custom: custom,
	})))
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "user_1"})
	must(t, err)
	must(t, errOf(s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))))
	a, err := s.Broker.Account(t.Context(), s.Call(), pipes.Request{Slug: "mine", UserID: "user_1"})
	must(t, err)
	if a.Identifier != "user-1" || a.DisplayName != "Test User" {
		t.Errorf("the account is %q, called %q", a.Identifier, a.DisplayName)
	}
	elsewhere := "https://elsewhere.example/me"
	var refused *pipes.InvalidError
	_, err = s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
		Slug: "mine", Custom: &pipes.CustomUpdate{IdentityURL: &elsewhere},
	})
	if !errors.As(err, &refused) || refused.Field != "custom_provider.identity_url" {
		t.Errorf("an identity call at another origin: %v", err)
	}
}
