package pipes_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// A provider that is down, with more to revoke than one round looks at, is asked once a round and not without a
// pause; and what stands behind it in the queue is not kept waiting until all of it was tried.
func TestRevocationsOfAProviderThatIsDown(t *testing.T) {
	s := pipestest.New(t)
	round, woken := pipes.Revoker(s.Broker, 2)
	s.Clock.Stop()
	s.MustIntegration(t, pipestest.Slug)
	other := connectorstest.Start(t, connectorstest.Config{})
	d := other.Definition()
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "other", Enabled: true, Credentials: pipestest.Credentials(), Custom: &pipes.CustomProvider{
			Name: "Other", AuthorizationURL: d.AuthorizationURL, TokenURL: d.TokenURL, RevocationURL: other.URL + connectorstest.RevokePath,
			PKCE: true, ScopeSeparator: " ", SecretRequired: true, TokenContentType: "application/x-www-form-urlencoded", ClientAuth: "request_body",
		},
	})))
	remove := func(slug string, n int) pipes.AccountID {
		t.Helper()
		r := pipes.Request{Slug: slug, UserID: fmt.Sprint("user_", n), RevokeAtProvider: choice(true)}
		tokens := pipes.AccountTokens{AccessToken: pipestest.Secret(fmt.Sprint("at_", n)), RefreshToken: pipestest.Secret(fmt.Sprint("rt_", n))}
		a, err := s.Broker.ImportAccount(t.Context(), s.Call(), r, tokens)
		must(t, errors.Join(err, s.Broker.DeleteAccount(t.Context(), s.Call(), r)))
		s.Clock.Advance(time.Millisecond) // the queue is in the order of ids
		return a.ID
	}
	const down = 5
	for n := range down {
		remove(pipestest.Slug, n)
	}
	behind := remove("other", down)
	woken()
	for n := range 3 {
		s.Provider.NextRevocation(connectorstest.HTML(503))
		round(t.Context())
		if sent := len(s.Provider.Revocations()); sent != n+1 {
			t.Errorf("%d requests after round %d", sent, n+1)
		}
		if r, err := s.Broker.Revocation(t.Context(), s.Call(), behind); err != nil || (r.State == pipes.Revoked) != (n == 2) {
			t.Errorf("round %d: behind it %+v, %v", n+1, r, err)
		}
		if n < 2 && woken() {
			t.Errorf("round %d is followed by the next one at once", n+1)
		}
	}
	// The twin: while it answers there is no pause.
	s.Clock.Advance(time.Minute)
	woken()
	rounds := 0
	for {
		round(t.Context())
		if rounds++; !woken() && rounds > 1 {
			break
		}
	}
	if sent := len(s.Provider.Revocations()); sent != 3+2*down {
		t.Errorf("%d requests in the end", sent)
	}
}
