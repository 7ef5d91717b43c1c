package pipes_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

const newSecret = "the-next-client-secret"

// rotation is a change that brings a new client secret and keeps the one before it for a day.
func rotation(s *pipestest.Stack, secret string) pipes.UpdateIntegration {
	until := s.Clock.Now().Add(24 * time.Hour)
	credentials := *pipestest.Credentials()
	credentials.Secret, credentials.PreviousUntil = pipestest.Secret(secret), &until
	return pipes.UpdateIntegration{Slug: pipestest.Slug, Credentials: &credentials}
}

// secretsSent are the client secrets of the token requests behind the first n.
func secretsSent(s *pipestest.Stack, n int) (sent []string) {
	for _, r := range s.Provider.Requests()[n:] {
		sent = append(sent, r.Params.Get("client_secret"))
	}
	return sent
}

// A client secret is rotated while its provider takes one of both, whichever comes first: no code, no refresh
// token and no revocation is lost, the one that works is remembered, and after its end the previous one is not
// sent any more.
func TestRotationOfAClientSecret(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true, ReuseKillsFamily: true})
	i, err := s.Broker.UpdateIntegration(t.Context(), s.Call(), rotation(s, newSecret))
	must(t, err)
	if c := i.Client; c.Last4 != "cret" || c.Previous == nil || c.Previous.Last4 != pipestest.ClientSecret[len(pipestest.ClientSecret)-4:] {
		t.Fatalf("the client is %+v", c)
	}
	old := pipestest.ClientSecret
	refresh := func(want ...string) {
		t.Helper()
		s.Clock.Advance(2 * time.Hour)
		n := len(s.Provider.Requests())
		s.MustToken(t, "user_1")
		wantTexts(t, secretsSent(s, n), want...)
	}
	refresh(newSecret, old) // the provider knows the old one alone
	refresh(old)            // which is remembered
	n := len(s.Provider.Requests())
	s.MustConnect(t, "user_2")
	wantTexts(t, secretsSent(s, n), old)

	s.Provider.Accept(newSecret)
	n = len(s.Provider.Requests())
	s.MustConnect(t, "user_3")
	wantTexts(t, secretsSent(s, n), old, newSecret) // one code, which a refused client did not use up
	refresh(newSecret)

	s.Provider.Accept(old)
	revoked := awaitRevocation(t, s, disconnect(t, s, "user_3", choice(true)), over)
	if sent := s.Provider.Revocations(); revoked.State != pipes.Revoked || len(sent) < 2 || sent[0].Params.Get("client_secret") != newSecret {
		t.Errorf("the revocation is %+v, after %d requests", revoked, len(sent))
	}

	s.Clock.Advance(24 * time.Hour)
	n = len(s.Provider.Requests())
	if err := errOf(token(t, s)); !errors.Is(err, pipes.ErrClientRejected) {
		t.Errorf("after the end of the previous secret: %v", err)
	}
	wantTexts(t, secretsSent(s, n), newSecret)
}

// Only a client that is refused is another one's turn: a refresh whose reply was lost goes on with the secret that
// it began with, and a token that is dead is not tried again.
func TestOtherSecretIsNoRetry(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), rotation(s, newSecret))))
	s.Provider.Accept(newSecret)
	s.Clock.Advance(2 * time.Hour)
	n := len(s.Provider.Requests())
	s.Provider.Next(connectorstest.Fault{Drop: true})
	s.MustToken(t, "user_1")
	wantTexts(t, secretsSent(s, n), newSecret, newSecret)

	for _, code := range []string{"invalid_grant", "unauthorized_client"} {
		s.Clock.Advance(2 * time.Hour)
		n = len(s.Provider.Requests())
		s.Provider.Next(connectorstest.JSON(400, `{"error":"`+code+`"}`))
		_ = errOf(token(t, s)) // dead, or waiting
		wantTexts(t, secretsSent(s, n), newSecret)
		s.MustConnect(t, "user_1")
	}
}

// The end of a previous secret can be moved, and be now. A change that is sent a second time, because its answer
// was lost, pushes nothing out; a new secret without a word of the one before it takes its place at once.
func TestEndOfThePreviousSecret(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	update := func(change func(*pipes.ClientCredentials)) (*pipes.PreviousSecret, error) {
		r := rotation(s, "")
		change(r.Credentials)
		v, err := s.Broker.UpdateIntegration(t.Context(), s.Call(), r)
		if err != nil {
			return nil, err
		}
		return v.Client.Previous, nil
	}
	last4 := pipestest.ClientSecret[len(pipestest.ClientSecret)-4:]
	for range 2 {
		p, err := update(func(c *pipes.ClientCredentials) { c.Secret = pipestest.Secret(newSecret) })
		if err != nil || p == nil || p.Last4 != last4 {
			t.Fatalf("rotated: %+v, %v", p, err)
		}
	}
	later := s.Clock.Now().Add(48 * time.Hour).UTC().Truncate(time.Millisecond)
	if p, err := update(func(c *pipes.ClientCredentials) { c.PreviousUntil = &later }); err != nil || !p.Until.Equal(later) || p.Last4 != last4 {
		t.Errorf("moved: %+v, %v", p, err)
	}
	if p, err := update(func(c *pipes.ClientCredentials) { c.PreviousUntil = nil }); err != nil || p == nil {
		t.Errorf("left alone: %+v, %v", p, err)
	}
	if p, err := update(func(c *pipes.ClientCredentials) { c.PreviousUntil = new(time.Time) }); err != nil || p != nil {
		t.Errorf("ended: %+v, %v", p, err)
	}
	wantInvalid(t, errOf(update(func(*pipes.ClientCredentials) {})), "credentials.previous_secret_expires_at")
	must(t, errOf(update(func(c *pipes.ClientCredentials) { c.Secret = pipestest.Secret("a third secret") })))
	if p, err := update(func(c *pipes.ClientCredentials) { c.Secret, c.PreviousUntil = pipestest.Secret("a fourth"), nil }); err != nil || p != nil {
		t.Errorf("replaced: %+v, %v", p, err)
	}
	for what, change := range map[string]func(*pipes.ClientCredentials){
		"past":       func(c *pipes.ClientCredentials) { c.PreviousUntil = new(time.Unix(1, 0)) },
		"far away":   func(c *pipes.ClientCredentials) { c.PreviousUntil = new(s.Clock.Now().Add(2 * pipes.MaxSecretOverlap)) },
		"another id": func(c *pipes.ClientCredentials) { c.ID = "another client" },
	} {
		t.Log(what)
		wantInvalid(t, errOf(update(func(c *pipes.ClientCredentials) {
			c.Secret = pipestest.Secret("a fifth")
			change(c)
		})), "credentials.previous_secret_expires_at")
	}
}

// An organization rotates the secret of its own client in the same way.
func TestRotationOfAnOrganizationsSecret(t *testing.T) {
	s, _ := withOwnClients(t)
	until := s.Clock.Now().Add(24 * time.Hour)
	alone := pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, PreviousUntil: &until}
	wantInvalid(t, errOf(s.Broker.Configure(t.Context(), s.Call(), alone)), "previous_secret_expires_at")
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_1", pipestest.ClientID, pipestest.ClientSecret))))
	r := client("org_1", pipestest.ClientID, newSecret)
	r.PreviousUntil = &until
	v, err := s.Broker.Configure(t.Context(), s.Call(), r)
	if err != nil || v.Own.Client.Previous == nil {
		t.Fatalf("rotated: %+v, %v", v.Own, err)
	}
	connectWithin(t, s, within("org_1"))
	wantTexts(t, secretsSent(s, 0), newSecret, pipestest.ClientSecret)
	alone.PreviousUntil = new(time.Time)
	if v, err := s.Broker.Configure(t.Context(), s.Call(), alone); err != nil || v.Own.Client.Previous != nil || v.Own.Client.Secret == nil {
		t.Errorf("ended: %+v, %v", v.Own, err)
	}
}

// wantInvalid expects a refused field.
func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	var refused *pipes.InvalidError
	if !errors.As(err, &refused) || refused.Field != field {
		t.Errorf("got %v, want %s refused", err, field)
	}
}

func wantTexts(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("sent: %s", diff)
	}
}
