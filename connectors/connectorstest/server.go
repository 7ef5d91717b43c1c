// Package connectorstest is an authorization server for tests: a provider on loopback that keeps the
// rules of RFC 6749 and 7636, with knobs for what providers do besides, and a record of what it was
// sent. It knows no user interface: its authorize endpoint sends the browser straight back.
package connectorstest

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
)

// Config is how a server behaves. The zero value is a confidential client with its secret in the body,
// PKCE required, tokens of one hour, refresh tokens that stay.
type Config struct {
	// ClientID and ClientSecret have defaults that tests can search output for.
	ClientID, ClientSecret string
	// ClientAuth is the only way that is accepted; default ClientAuthBody. ClientAuthNone needs no secret.
	ClientAuth connectors.ClientAuth
	// Body is the only content type that is accepted; default BodyForm.
	Body connectors.Body
	// NoPKCE takes requests without a challenge, and ignores one.
	NoPKCE bool
	// Lifetime is an access token's; default one hour, negative: it does not end and replies do not say.
	Lifetime time.Duration
	// Rotate gives a new refresh token each time; the old one is invalid_grant from then on, and with
	// ReuseKillsFamily all tokens of the grant are when it comes back.
	Rotate, ReuseKillsFamily bool
	// KillsPrevious ends the old access token with a refresh.
	KillsPrevious bool
	// NoRefresh gives no refresh tokens.
	NoRefresh bool
	// Issuer sends iss in the callback (RFC 9207); it is the server's URL.
	Issuer bool
	// Scopes are granted instead of those asked for, if not nil.
	Scopes []string
	// InstanceURL stands in every token reply as instance_url, if it is set.
	InstanceURL string
	// Push takes authorization requests that were pushed (RFC 9126), and none that a browser brings.
	Push bool
	// TLS serves https under a certificate of [Server.RootCAs].
	TLS bool
	// Now defaults to time.Now.
	Now func() time.Time
}

// The default credentials.
const (
	DefaultClientID     = "connectorstest-client"
	DefaultClientSecret = "canary-client-secret-p5vJ"
)

// Paths of the endpoints.
const (
	AuthorizePath = "/authorize"
	TokenPath     = "/token"
	RevokePath    = "/revoke"
	IdentityPath  = "/me"
	PushPath      = "/par"
)

// Server is the authorization server. It is safe for concurrent use.
type Server struct {
	// URL is the server's origin.
	URL string

	config Config
	http   *httptest.Server

	mu sync.Mutex // guards all below
	// codes live until they are exchanged, refreshTokens for ever: a used one is told from an unknown one.
	codes         map[string]*code
	accessTokens  map[string]*accessToken
	refreshTokens map[string]*refreshToken
	denial        string
	faults        []Fault
	constant      *Fault
	held          chan struct{} // nil: replies are not held back
	requests      []Request
	revocations   []Request
	revokeFaults  []Fault
	user          user
	secrets       []string // of the client, each of which is accepted
	// pushed are the requests that lie here until a browser brings their names, pushes how many came.
	pushed map[string]pushed
	pushes int
	// identities counts the identity calls, the next of which go wrong.
	identities    int
	identityFault *Fault
	active, most  int
}

// user is who is signed in and consents.
type user struct{ id, name string }

// code is an authorization that waits for its exchange.
type code struct {
	redirectURI, challenge string
	scopes                 []string
	user                   user
}

// grant is one consent: what rotation and re-use are about.
type grant struct {
	// own is a client's own, without a user.
	own    bool
	scopes []string
	user   user
	dead   bool
}

type accessToken struct {
	grant *grant
	ends  time.Time // zero: never
	dead  bool
}

type refreshToken struct {
	grant *grant
	used  bool
	// access is the token that was given out with it.
	access string
}

// Start runs a server on loopback until the test ends.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	s := &Server{
		config:        withDefaults(c),
		codes:         map[string]*code{},
		accessTokens:  map[string]*accessToken{},
		refreshTokens: map[string]*refreshToken{},
		user:          user{"user-1", "Test User"},
	}
	s.secrets, s.pushed = []string{s.config.ClientSecret}, map[string]pushed{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+AuthorizePath, s.authorize)
	mux.HandleFunc("POST "+TokenPath, s.token)
	mux.HandleFunc("POST "+RevokePath, s.revoke)
	mux.HandleFunc("GET "+IdentityPath, s.identity)
	mux.HandleFunc("POST "+PushPath, s.push)
	s.http = httptest.NewUnstartedServer(mux)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are what some tests are about
	if c.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.Release()
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

func withDefaults(c Config) Config {
	if c.ClientID == "" {
		c.ClientID = DefaultClientID
	}
	if c.ClientSecret == "" {
		c.ClientSecret = DefaultClientSecret
	}
	if c.ClientAuth == "" {
		c.ClientAuth = connectors.ClientAuthBody
	}
	if c.Body == "" {
		c.Body = connectors.BodyForm
	}
	if c.Lifetime == 0 {
		c.Lifetime = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Connector is the server as data, under a slug of the test's choice.
func (s *Server) Connector(slug string) connectors.Connector {
	c := connectors.Connector{
		Slug:                     slug,
		Name:                     "Test provider",
		Type:                     "custom",
		DocsURL:                  "https://provider.example/docs",
		Methods:                  []connectors.Method{connectors.MethodOAuth, connectors.MethodAPIKey, connectors.MethodClientCredentials},
		AuthorizationURL:         s.URL + AuthorizePath,
		TokenURL:                 s.URL + TokenPath,
		RevocationURL:            s.URL + RevokePath,
		IdentityURL:              s.URL + IdentityPath,
		ClientAuth:               s.config.ClientAuth,
		Body:                     s.config.Body,
		PKCE:                     !s.config.NoPKCE,
		ScopeSeparator:           " ",
		DefaultScopes:            []string{"read"},
		NoSecret:                 s.config.ClientAuth == connectors.ClientAuthNone,
		KillsPreviousAccessToken: s.config.KillsPrevious,
		ReuseKillsFamily:         s.config.ReuseKillsFamily,
	}
	if s.config.Issuer {
		c.Issuer = s.URL
	}
	if s.config.Push {
		c.PushURL = s.URL + PushPath
	}
	return c
}

// Definition is the server as a caller of the API would define it.
func (s *Server) Definition() connectors.Definition {
	return connectors.Definition{
		Name:             "Test provider",
		AuthorizationURL: s.URL + AuthorizePath,
		TokenURL:         s.URL + TokenPath,
		PKCE:             !s.config.NoPKCE,
		SecretRequired:   s.config.ClientAuth != connectors.ClientAuthNone,
		TokenContentType: string(s.config.Body),
		ClientAuth:       string(s.config.ClientAuth),
	}
}

// Credentials are those that the server accepts.
func (s *Server) Credentials() connectors.Credentials {
	c := connectors.Credentials{ID: s.config.ClientID}
	if s.config.ClientAuth != connectors.ClientAuthNone {
		c.Secret = secret.New([]byte(s.config.ClientSecret))
	}
	return c
}

// Client is a client that may call the server, and nothing that is not on loopback.
func (s *Server) Client(t testing.TB) *connectors.Client {
	t.Helper()
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	config := connectors.ClientConfig{Egress: egress, Now: s.config.Now}
	if s.config.TLS {
		config.RootCAs = s.http.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	c, err := connectors.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newToken makes a token that says what it is.
func newToken(kind string) string { return kind + "-" + rand.Text() }

// wait ends early when the request or the server does.
func wait(ctx context.Context, d time.Duration, until <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-until:
	case <-ctx.Done():
	}
}
