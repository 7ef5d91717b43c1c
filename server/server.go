package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/audit"
	"culvert/internal/environments"
	"culvert/internal/events"
	"culvert/internal/export"
	"culvert/internal/proof"
	"culvert/internal/ratelimit"
	"culvert/internal/stream"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/server/pages"
	"culvert/vault"
)

// Config is what a [Server] is made of.
type Config struct {
	// Vault, Pipes, Keys, Events, Webhooks, Auditor, Streams, Exports, Gate and Audit are required.
	Vault    *vault.Vault
	Pipes    *pipes.Broker
	Keys     *keys.Operations
	Events   *events.Log
	Webhooks *webhooks.Webhooks
	Auditor  *proof.Auditor
	Streams  *stream.Desk
	Exports  *export.Exports
	Gate     *access.Gate
	Audit    *audit.Log
	// Admission is the register of API keys and roles; required.
	Admission *admission.Register
	// Environments are the use cases on them; required.
	Environments *environments.Environments
	// PublicURL is where browsers reach this server, an origin such as "https://culvert.example.com", the
	// same that Pipes has; required. What is built for browsers comes from it, never from a Host header.
	PublicURL string
	// Health looks at every dependency; required. It is called at most once a second however often
	// /readyz is, and must return within its context's deadline.
	Health func(context.Context) []Check
	// Logger takes the access log at level Info and failures at Warn and Error; required.
	Logger *slog.Logger
	// Metrics counts requests; default a new set. The part of the program that meets integrity failures
	// outside a request shares it.
	Metrics *Metrics
	// CORSOrigins are the browser origins ("https://app.example.com") whose pages may call; default
	// none. An API key does not belong into a browser.
	CORSOrigins []string
	// CORSLoopback adds every origin on this machine; for development only.
	CORSLoopback bool
	// Limits default field by field; see there.
	Limits Limits
	// Rates bounds how often API keys call; nil for without a bound.
	Rates *ratelimit.Limiter
	// Now is the clock of request ids and durations; default [time.Now].
	Now func() time.Time
}

// Server is the HTTP door. It is immutable but for its caches and safe for concurrent use; it owns no
// goroutine and needs no Close.
type Server struct {
	vault    *vault.Vault
	pipes    *pipes.Broker
	keys     *keys.Operations
	events   *events.Log
	webhooks *webhooks.Webhooks
	auditor  *proof.Auditor
	streams  *stream.Desk
	exports  *export.Exports
	gate     *access.Gate
	audit    *audit.Log

	admission    *admission.Register
	environments *environments.Environments

	pages *pages.Pages
	// publicURL is written as browsers write an origin.
	publicURL string
	logger    *slog.Logger
	metrics   *Metrics
	health    *health
	cors      cors
	limits    Limits
	rates     *ratelimit.Limiter
	now       func() time.Time
	engine    *gin.Engine
	routes    []*route
	// unmatched stands in for the route of a request that has none.
	unmatched *route
	// sentinels is what errors of other packages become.
	sentinels []sentinel
	// draining is set by Drain, for good.
	draining atomic.Bool
	// buffers are for answers; they are wiped before they go back.
	buffers sync.Pool
}

// New checks the configuration and returns a Server that is ready to answer.
func New(c Config) (*Server, error) {
	if c.Vault == nil || c.Pipes == nil || c.Keys == nil || c.Events == nil || c.Webhooks == nil || c.Auditor == nil || c.Streams == nil || c.Exports == nil || c.Gate == nil || c.Audit == nil || c.Admission == nil || c.Environments == nil || c.Health == nil || c.Logger == nil {
		return nil, errors.New("server: incomplete configuration")
	}
	publicURL, ok := parsePublicURL(c.PublicURL)
	if !ok {
		return nil, errors.New("server: PublicURL must be an origin, such as https://culvert.example.com")
	}
	rendered, err := pages.New()
	if err != nil {
		return nil, err
	}
	limits, err := c.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	origins, err := newCORS(c.CORSOrigins, c.CORSLoopback)
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	s := &Server{
		vault:     c.Vault,
		pipes:     c.Pipes,
		keys:      c.Keys,
		pages:     rendered,
		publicURL: publicURL,
		events:    c.Events,
		webhooks:  c.Webhooks,
		auditor:   c.Auditor,
		streams:   c.Streams,
		exports:   c.Exports,
		gate:      c.Gate,
		audit:     c.Audit,
		admission: c.Admission, environments: c.Environments,
		logger:    c.Logger,
		metrics:   c.Metrics,
		health:    &health{look: c.Health, now: c.Now},
		cors:      origins,
		limits:    limits,
		rates:     c.Rates,
		now:       c.Now,
		sentinels: sentinels(),
		buffers:   sync.Pool{New: func() any { return new([]byte) }},
	}
	s.route()
	return s, nil
}

// Handler is the public door: [Server.HTTPServer] serves it.
func (s *Server) Handler() http.Handler { return s }

// HTTPServer returns an [http.Server] without address for [Server.Handler]. Its time limits bound what
// a slow or silent client can hold: a connection, never a request without end.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" gets the same JSON and request id as everything else.
		DisableGeneralOptionsHandler: true,
		// net/http writes a line per broken handshake; a port scan must not fill the log.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
}
