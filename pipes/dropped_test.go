package pipes_test

import (
	"errors"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Tokens that waited in vain are revoked where the integration says so: they are the provider's yet, and nobody
// else can end them.
func TestDroppedTokensAreRevoked(t *testing.T) {
	abandoned := func(s *pipestest.Stack) {
		s.MustWait(t, "user_1")
		s.Clock.Advance(pipes.FinishTTL)
		pipes.Sweep(t.Context(), s.Broker)
	}
	expired := func(s *pipestest.Stack) { // the process that took the callback has died
		s.MustWait(t, "user_1")
		s.Clock.Advance(pipes.TicketTTL + pipes.FlowStateTTL + pipes.FinishTTL + 5*time.Minute)
		pipes.Sweep(t.Context(), s.Replica(t).Broker)
	}
	guessed := func(s *pipestest.Stack) {
		r := s.MustWait(t, "user_1")
		for range pipes.MaxFinishTries {
			r.Verifier, _ = connectors.GenerateVerifier()
			if err := errOf(s.Broker.Finish(t.Context(), s.Call(), r)); !errors.Is(err, pipes.ErrVerifier) {
				t.Error(err)
			}
		}
	}
	for name, c := range map[string]struct {
		revokes bool
		drop    func(*pipestest.Stack)
	}{
		"abandoned": {true, abandoned}, "of a process that died": {true, expired}, "wrong verifiers": {true, guessed},
		"where nobody asked for it": {false, abandoned},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}})
			s.MustIntegration(t, pipestest.Slug)
			must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, RevokeAtProvider: &c.revokes})))
			c.drop(s)
			page, err := s.Broker.Revocations(t.Context(), s.Call(), pipes.RevocationQuery{})
			must(t, err)
			if !c.revokes {
				if len(page.Data) != 0 || len(s.Provider.Revocations()) != 0 {
					t.Errorf("revocations %+v", page.Data)
				}
				return
			}
			if len(page.Data) != 1 {
				t.Fatalf("%d revocations", len(page.Data))
			}
			r := awaitRevocation(t, s, page.Data[0].ID, over)
			if r.State != pipes.Revoked || r.Grant != nil || r.Flow == "" || len(s.Provider.Revocations()) != 2 {
				t.Errorf("revocation %+v after %d requests", r, len(s.Provider.Revocations()))
			}
			for _, token := range s.Provider.Tokens() {
				if s.Provider.Alive(token) {
					t.Error("a token lives")
				}
			}
			mustNotConnect(t, s, "user_1")
		})
	}
}

// What somebody has an account by is not revoked with tokens that waited: not the same refresh token, and not
// the consent of tokens that cannot be looked up by one.
func TestDroppedTokensOfAnAccount(t *testing.T) {
	for name, c := range map[string]struct {
		reply, kept string
		state       pipes.RevocationState
	}{
		"the same refresh token": {`{"access_token":"at","token_type":"Bearer","refresh_token":"shared"}`, pipes.RevocationShared, pipes.RevocationKept},
		"no refresh token":       {`{"access_token":"at","token_type":"Bearer"}`, pipes.RevocationUnidentified, pipes.RevocationKept},
		"another refresh token":  {`{"access_token":"at","token_type":"Bearer","refresh_token":"own"}`, "", pipes.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.New(t)
			s.MustIntegration(t, pipestest.Slug)
			must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, RevokeAtProvider: choice(true)})))
			must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), pipes.AccountTokens{
				AccessToken: pipestest.Secret("at"), RefreshToken: pipestest.Secret("shared"),
			})))
			s.Provider.Next(connectorstest.JSON(200, c.reply))
			s.MustWait(t, "user_1")
			s.Clock.Advance(pipes.FinishTTL)
			pipes.Sweep(t.Context(), s.Broker)
			page, err := s.Broker.Revocations(t.Context(), s.Call(), pipes.RevocationQuery{})
			must(t, err)
			if len(page.Data) != 1 {
				t.Fatalf("%d revocations", len(page.Data))
			}
			if r := awaitRevocation(t, s, page.Data[0].ID, over); r.State != c.state || r.Code != c.kept {
				t.Errorf("revocation %+v", r)
			}
		})
	}
}
