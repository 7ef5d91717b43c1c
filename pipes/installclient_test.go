package pipes_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// clientSlug is that of a custom provider that takes client credentials alone.
const clientSlug = "machines"

// clientOf is an install of the client that the provider accepts.
func clientOf(user string) pipes.ClientInstall {
	return pipes.ClientInstall{
		Request:  pipes.Request{Slug: clientSlug, UserID: user},
		ClientID: pipestest.ClientID, Secret: pipestest.Secret(pipestest.ClientSecret),
	}
}

func mustClientIntegration(t *testing.T, s *pipestest.Stack) {
	t.Helper()
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: clientSlug, Enabled: true, AuthMethods: []pipes.AuthMethod{pipes.MethodClientCredentials}, Scopes: []string{"api"},
		Custom: &pipes.CustomProvider{Name: "Machines", TokenURL: s.Provider.URL + connectorstest.TokenPath, SecretRequired: true},
	})))
}

func credential(t *testing.T, s *pipestest.Stack, user string) (pipes.Vended, error) {
	t.Helper()
	return s.Broker.Credentials(t.Context(), s.Call(), pipes.Request{Slug: clientSlug, UserID: user})
}

// A client from its install over many callers at the end of its token to its rejection.
func TestClientCredentials(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	mustClientIntegration(t, s)
	a, err := s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))
	must(t, err)
	if a.Method != pipes.MethodClientCredentials || a.ClientID != pipestest.ClientID || a.SecretLast4 != "p5vJ" || len(a.Scopes) != 1 || a.Scopes[0] != "api" {
		t.Errorf("account %+v", a)
	}
	v, err := credential(t, s, "user_1")
	must(t, err)
	if !v.Active || v.Method != pipes.MethodClientCredentials || !s.Provider.Alive(string(v.AccessToken.Reveal())) || v.ExpiresAt.IsZero() || len(v.MissingScopes) != 0 {
		t.Errorf("vended %+v", v)
	}
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: clientSlug, UserID: "user_1"})); !errors.Is(err, pipes.ErrAuthMethod) {
		t.Errorf("token: %v", err)
	}
	// Case 1: it has ended. However many ask, one fetches, and all have what is in the store.
	s.Clock.Advance(2 * time.Hour)
	before := len(s.Provider.Requests())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if v, err := credential(t, s, "user_1"); err != nil || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
				t.Errorf("vended %+v, %v", v, err)
			}
		})
	}
	all.Wait()
	if n := len(s.Provider.Requests()) - before; n != 1 {
		t.Errorf("%d requests", n)
	}
	// Case 2: an outage flips nothing.
	s.Clock.Advance(2 * time.Hour)
	s.Provider.Always(connectorstest.HTML(503))
	if err := errOf(credential(t, s, "user_1")); !errors.Is(err, pipes.ErrProvider) {
		t.Errorf("outage: %v", err)
	}
	s.Provider.Heal()
	s.Clock.Advance(10 * time.Minute) // over the pause
	if v, err := credential(t, s, "user_1"); err != nil || !v.Active {
		t.Errorf("after the outage: %+v, %v", v, err)
	}
	// Case 3: the client is refused. That is the account's own, and definite.
	s.Clock.Advance(2 * time.Hour)
	s.Provider.Always(connectorstest.JSON(401, `{"error":"invalid_client"}`))
	if v, err := credential(t, s, "user_1"); err != nil || v.Error != pipes.VendNeedsReauthorization || v.Reason != pipes.ReasonClientRejected {
		t.Errorf("rejected: %+v, %v", v, err)
	}
	if len(s.MustEvents(t, events.ReauthorizationAsked)) != 1 {
		t.Error("nobody is told")
	}
	// Case 4: it is renewed, in the same account.
	s.Provider.Heal()
	renewed, err := s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))
	must(t, err)
	if v, err := credential(t, s, "user_1"); err != nil || !v.Active || renewed.ID != a.ID || renewed.Grant != a.Grant {
		t.Errorf("renewed: %+v, %+v, %v", renewed, v, err)
	}
}

// What a provider says of a client that somebody brings: only a definite no is the client's.
func TestClientIsTriedBeforeItIsStored(t *testing.T) {
	s := pipestest.New(t)
	mustClientIntegration(t, s)
	wrong := clientOf("user_1")
	wrong.Secret = pipestest.Secret("canary-wrong-secret")
	if err := errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), wrong)); !errors.Is(err, pipes.ErrBadClient) {
		t.Errorf("a wrong secret: %v", err)
	}
	for what, c := range map[string]struct {
		fault connectorstest.Fault
		want  error
	}{
		"another reason": {connectorstest.JSON(400, `{"error":"invalid_scope"}`), pipes.ErrRefused},
		"an outage":      {connectorstest.HTML(502), pipes.ErrProvider},
		"no answer":      {connectorstest.Fault{Drop: true}, pipes.ErrProvider},
	} {
		s.Provider.Next(c.fault)
		if err := errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v, err := credential(t, s, "user_1"); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("after refusals: %+v, %v", v, err)
	}
	for field, change := range map[string]func(*pipes.ClientInstall){
		"client_id":     func(r *pipes.ClientInstall) { r.ClientID = "" },
		"client_secret": func(r *pipes.ClientInstall) { r.Secret = pipestest.Secret("") },
		"config":        func(r *pipes.ClientInstall) { r.Config = map[string]string{"host": "evil.example"} },
	} {
		r := clientOf("user_1")
		change(&r)
		var refused *pipes.InvalidError
		if err := errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), r)); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	must(t, errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))))
}

// A moved token endpoint gets no customer's secret, and an edited record none of another's.
func TestCustomersSecretIsBound(t *testing.T) {
	s := pipestest.New(t)
	mustClientIntegration(t, s)
	must(t, errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))))
	elsewhere := connectorstest.Start(t, connectorstest.Config{})
	moved := elsewhere.URL + connectorstest.TokenPath
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: clientSlug, Custom: &pipes.CustomUpdate{TokenURL: &moved}})))
	s.Clock.Advance(2 * time.Hour)
	if err := errOf(credential(t, s, "user_1")); !errors.Is(err, pipes.ErrEndpointChanged) {
		t.Errorf("moved: %v", err)
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("%d requests at the new endpoint", n)
	}
	back := s.Provider.URL + connectorstest.TokenPath
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: clientSlug, Custom: &pipes.CustomUpdate{TokenURL: &back}})))
	if v, err := credential(t, s, "user_1"); err != nil || !v.Active {
		t.Errorf("moved back: %+v, %v", v, err)
	}
}

// Metadata of a reply is vended if it is what the connector declares, and nothing else of it is.
func TestMetadataOfAReply(t *testing.T) {
	for url, kept := range map[string]bool{"https://acme.provider.example": true, "https://evil.example/.provider.example": false} {
		s := pipestest.WithConfig(t, pipestest.Config{
			Provider: connectorstest.Config{InstanceURL: url},
			Connector: func(c *connectors.Connector) {
				c.Metadata = []connectors.ReplyField{{Name: "instance_url", Pattern: `^(?:https://[a-z]+\.provider\.example)$`}}
			},
		})
		mustKeyIntegration(t, s, nil, pipes.MethodClientCredentials)
		r := clientOf("user_1")
		r.Slug = pipestest.Second
		must(t, errOf(s.Broker.InstallClientCredentials(t.Context(), s.Call(), r)))
		for range 2 {
			v, err := s.Broker.Credentials(t.Context(), s.Call(), r.Request)
			if err != nil || (v.Metadata["instance_url"] == url) != kept || !kept && len(v.Metadata) > 0 {
				t.Errorf("%s: %v, %v", url, v.Metadata, err)
			}
			s.Clock.Advance(2 * time.Hour)
		}
		if log := s.Log.String(); strings.Contains(log, url) {
			t.Error("a reply stands in the log")
		}
	}
}

// The caretaker fetches a client's next token as a caller would, and sends no refresh token that is not there.
func TestCaretakerFetchesForClients(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	s.Clock.Stop()
	mustClientIntegration(t, s)
	a, err := s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))
	must(t, err)
	for n := range uint64(2) {
		if v, err := credential(t, s, "user_1"); err != nil || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
			t.Fatalf("vended %+v, %v", v, err)
		}
		s.Clock.Advance(57 * time.Minute)
		pipes.Care(t.Context(), s.Broker)
		if g := mustGrant(t, s, a.Grant); g.Dead || g.Generation != 2+n || !g.DueAt.After(s.Clock.Now()) {
			t.Fatalf("grant at generation %d, dead %t (%s), due %s", g.Generation, g.Dead, g.Reason, g.DueAt)
		}
	}
	if n := s.Provider.Refreshes(); n != 0 {
		t.Errorf("%d refresh tokens were sent", n)
	}
}

// No provider forgets a client, and the end of its token is nobody's: what nobody uses is left in peace, and no
// owner is told to connect again.
func TestUnusedClientsAreLeftInPeace(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	s.Clock.Stop()
	mustClientIntegration(t, s)
	s.Provider.Next(connectorstest.JSON(200, `{"access_token":"for-two-days","expires_in":172800,"token_type":"bearer"}`))
	a, err := s.Broker.InstallClientCredentials(t.Context(), s.Call(), clientOf("user_1"))
	must(t, err)
	// The first token counts as used: there is one more.
	for _, after := range []time.Duration{48*time.Hour - 2*time.Minute, 30 * 24 * time.Hour} {
		s.Clock.Advance(after)
		pipes.Care(t.Context(), s.Broker)
		if g := mustGrant(t, s, a.Grant); g.Generation != 2 || g.Dead {
			t.Errorf("after %s: generation %d", after, g.Generation)
		}
	}
	if n := len(s.MustEvents(t, events.AccountExpiring)); n != 0 {
		t.Errorf("%d ends were announced", n)
	}
	if v, err := credential(t, s, "user_1"); err != nil || !v.Active {
		t.Errorf("vended %+v, %v", v, err)
	}
}
