package connectorstest_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"
)

const redirect = "https://culvert.example/callback"

// MustConnect goes through the flow as a browser and a client do.
func MustConnect(t *testing.T, s *connectorstest.Server) connectors.Tokens {
	t.Helper()
	conn, creds := s.Connector("test"), s.Credentials()
	verifier, challenge := connectors.GenerateVerifier()
	to, err := s.Client(t).AuthorizationURL(&conn, connectors.AuthorizationRequest{
		ClientID: creds.ID, RedirectURI: redirect, State: "state", Challenge: challenge, Scopes: conn.DefaultScopes,
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := s.Client(t).Exchange(t.Context(), &conn, creds, connectors.ExchangeRequest{
		Code: secret.New([]byte(s.Visit(t, to).Query().Get("code"))), Verifier: verifier, RedirectURI: redirect,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func refresh(t *testing.T, s *connectorstest.Server, token secret.Bytes) (connectors.Tokens, error) {
	conn := s.Connector("test")
	return s.Client(t).Refresh(t.Context(), &conn, s.Credentials(), token)
}

func MustRefresh(t *testing.T, s *connectorstest.Server, token secret.Bytes) connectors.Tokens {
	t.Helper()
	tokens, err := refresh(t, s, token)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func alive(s *connectorstest.Server, token secret.Bytes) bool { return s.Alive(string(token.Reveal())) }

func TestRotation(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config connectorstest.Config
		// What lives after the first refresh token was used twice: the tokens of the first refresh.
		secondUse, familyLives, firstAccessLives bool
	}{
		{"tokens that stay", connectorstest.Config{}, true, true, true},
		{"rotation", connectorstest.Config{Rotate: true}, false, true, true},
		{"re-use kills the family", connectorstest.Config{Rotate: true, ReuseKillsFamily: true}, false, false, false},
		{"a refresh kills the previous token", connectorstest.Config{Rotate: true, KillsPrevious: true}, false, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := connectorstest.Start(t, tc.config)
			first := MustConnect(t, s)
			if !alive(s, first.Access) {
				t.Fatal("a new token does not work")
			}
			second := MustRefresh(t, s, first.Refresh)
			if _, err := refresh(t, s, first.Refresh); (err == nil) != tc.secondUse {
				t.Errorf("second use: %v, want success: %v", err, tc.secondUse)
			}
			if got := alive(s, first.Access); got != tc.firstAccessLives {
				t.Errorf("the first access token lives: %v", got)
			}
			if got := alive(s, second.Access) || !tc.familyLives; !got {
				t.Error("the second access token is dead")
			}
			if _, err := refresh(t, s, second.Refresh); (err == nil) != tc.familyLives {
				t.Errorf("the newest refresh token: %v, want success: %v", err, tc.familyLives)
			}
		})
	}
}

func TestLifetimes(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := connectorstest.Start(t, connectorstest.Config{Lifetime: 5 * time.Second, Now: clock})
	tokens := MustConnect(t, s)
	if got := tokens.ExpiresAt.Sub(now); got != 5*time.Second || !alive(s, tokens.Access) {
		t.Errorf("lifetime is %v", got)
	}
	mu.Lock()
	now = now.Add(5 * time.Second)
	mu.Unlock()
	if alive(s, tokens.Access) {
		t.Error("the token outlives its end")
	}
	endless := MustConnect(t, connectorstest.Start(t, connectorstest.Config{Lifetime: -1, NoRefresh: true}))
	if !endless.ExpiresAt.IsZero() || endless.Refresh.Len() != 0 {
		t.Errorf("an endless token ends at %v", endless.ExpiresAt)
	}
}

func TestAuthorize(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{Issuer: true, Scopes: []string{"less"}})
	conn := s.Connector("test")
	request := connectors.AuthorizationRequest{
		ClientID: connectorstest.DefaultClientID, RedirectURI: redirect + "?x=1", State: "s", Scopes: []string{"more"},
	}
	_, request.Challenge = connectors.GenerateVerifier()
	ask := func() string {
		to, err := s.Client(t).AuthorizationURL(&conn, request)
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	query := s.Visit(t, ask()).Query()
	if query.Get("iss") != conn.Issuer || query.Get("x") != "1" || query.Get("state") != "s" || query.Get("code") == "" {
		t.Errorf("the callback is %v", query)
	}
	s.Deny("access_denied")
	query = s.Visit(t, ask()).Query()
	if query.Get("error") != "access_denied" || query.Has("code") || query.Get("state") != "s" {
		t.Errorf("the denial is %v", query)
	}
	s.Deny("")
	request.Challenge = "short"
	if query = s.Visit(t, ask()).Query(); query.Get("error") != "invalid_request" {
		t.Errorf("a challenge of no use: %v", query)
	}
	// Case: a client that is not registered: the browser stays at the provider.
	request.ClientID = "other"
	response, err := http.Get(ask())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status is %d", response.StatusCode)
	}
	if got := MustConnect(t, s).Scopes; len(got) != 1 || got[0] != "less" {
		t.Errorf("granted are %q", got)
	}
}

func TestFaults(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{Rotate: true})
	tokens := MustConnect(t, s)
	// Case: nothing happened.
	s.Next(connectorstest.HTML(503), connectorstest.Fault{Drop: true})
	for range 2 {
		if _, err := refresh(t, s, tokens.Refresh); err == nil {
			t.Error("a fault did not happen")
		}
	}
	next := MustRefresh(t, s, tokens.Refresh)
	// Case: it happened, and nobody saw.
	s.Next(connectorstest.LostReply())
	if _, err := refresh(t, s, next.Refresh); err == nil {
		t.Error("the reply was not lost")
	}
	if _, err := refresh(t, s, next.Refresh); connectors.Of(err) == nil || connectors.Of(err).Class != connectors.DeadGrant {
		t.Errorf("the token was not used up: %v", err)
	}
	// Case: until it is healed.
	s.Always(connectorstest.Busy(time.Second))
	tokens2 := func() error { _, err := refresh(t, s, next.Refresh); return err }
	for range 2 {
		if e := connectors.Of(tokens2()); e == nil || e.RetryAfter != time.Second {
			t.Errorf("error is %v", e)
		}
	}
	s.Heal()
	again := MustConnect(t, s)
	s.RevokeAll()
	if _, err := refresh(t, s, again.Refresh); connectors.Of(err) == nil || connectors.Of(err).Class != connectors.DeadGrant || alive(s, again.Access) {
		t.Errorf("a revoked grant: %v", err)
	}
}

func TestHold(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{})
	tokens := MustConnect(t, s)
	s.Hold()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if _, err := refresh(t, s, tokens.Refresh); err != nil {
				t.Error(err)
			}
		})
	}
	for s.MostAtOnce() < 3 {
		time.Sleep(time.Millisecond)
	}
	s.Release()
	group.Wait()
	if s.Refreshes() != 3 || s.Exchanges() != 1 || s.MostAtOnce() != 3 {
		t.Errorf("%d refreshes, %d exchanges, %d at once", s.Refreshes(), s.Exchanges(), s.MostAtOnce())
	}
}

// TestIdentity: the endpoint that says whether a token works.
func TestIdentity(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{})
	tokens := MustConnect(t, s)
	for token, want := range map[string]int{string(tokens.Access.Reveal()): 200, "other": 401} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Connector("test").IdentityURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("status is %d, want %d", response.StatusCode, want)
		}
	}
}
