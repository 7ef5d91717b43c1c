package connectorstest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Request is one token request as it arrived.
type Request struct {
	// Grant is its grant_type.
	Grant  string
	Params url.Values
	Header http.Header
	At     time.Time
}

// Requests are all token requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Exchanges counts the token requests with a code.
func (s *Server) Exchanges() int { return s.count("authorization_code") }

// Refreshes counts the token requests with a refresh token.
func (s *Server) Refreshes() int { return s.count("refresh_token") }

// Identities counts the identity calls.
func (s *Server) Identities() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identities
}

func (s *Server) count(grant string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Grant == grant {
			n++
		}
	}
	return n
}

// MostAtOnce is the largest number of token requests that were under way at a time.
func (s *Server) MostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Deny makes the authorize endpoint answer every request with this error, such as "access_denied", as
// when a user says no. "" ends it.
func (s *Server) Deny(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denial = code
}

// SignIn makes somebody else the one who consents from now on. The first is "user-1", "Test User".
func (s *Server) SignIn(id, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = user{id, name}
}

// Code gives out an authorization code without a browser.
func (s *Server) Code(redirectURI, challenge string, scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newCode(redirectURI, challenge, scopes)
}

// newCode is Code with s.mu held.
func (s *Server) newCode(redirectURI, challenge string, scopes []string) string {
	if s.config.Scopes != nil {
		scopes = s.config.Scopes
	}
	text := newToken("code")
	s.codes[text] = &code{redirectURI: redirectURI, challenge: challenge, scopes: scopes, user: s.user}
	return text
}

// RevokeAll ends every grant so far, as a user does in the provider's settings.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refreshTokens {
		r.grant.dead = true
	}
	for _, a := range s.accessTokens {
		a.grant.dead = true
	}
}

// Alive tells whether an access token would be accepted now.
func (s *Server) Alive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accessTokens[token]
	return a != nil && !a.dead && !a.grant.dead && (a.ends.IsZero() || s.config.Now().Before(a.ends))
}

// authorize is the endpoint of RFC 6749 section 3.1, with a user who always says yes.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	redirect, redirectErr := url.Parse(query.Get("redirect_uri"))
	repeated := false
	for _, values := range query {
		repeated = repeated || len(values) > 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.Push {
		query, err = s.take(query)
		redirect, redirectErr = url.Parse(query.Get("redirect_uri"))
	}
	if err != nil || redirectErr != nil || !redirect.IsAbs() || repeated || query.Get("client_id") != s.config.ClientID {
		// RFC 6749 section 4.1.2.1: such errors stay here, and the client hears nothing.
		http.Error(w, "this request does not come from a registered client", http.StatusBadRequest)
		return
	}
	values := redirect.Query()
	values.Set("state", query.Get("state"))
	if s.config.Issuer {
		values.Set("iss", s.URL)
	}
	challenge := query.Get("code_challenge")
	switch {
	case s.denial != "":
		values.Set("error", s.denial)
	case query.Get("response_type") != "code",
		!s.config.NoPKCE && (len(challenge) != 43 || query.Get("code_challenge_method") != "S256"):
		values.Set("error", "invalid_request")
	default:
		values.Set("code", s.newCode(query.Get("redirect_uri"), challenge, strings.Fields(query.Get("scope"))))
	}
	redirect.RawQuery = values.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

// Visit opens an authorization URL as a browser does and returns where it is sent, without going there.
func (s *Server) Visit(t testing.TB, authorizationURL string) *url.URL {
	t.Helper()
	client := *s.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Get(authorizationURL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	location, err := response.Location()
	if err != nil {
		t.Fatalf("the provider answered %s without sending the browser back", response.Status)
	}
	return location
}

// Tokens are all access and refresh tokens that were given out, for tests that look for them elsewhere.
func (s *Server) Tokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Keys(s.accessTokens)), slices.Collect(maps.Keys(s.refreshTokens)))
}
