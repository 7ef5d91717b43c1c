package server

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"culvert/internal/access"
)

// Route is one row of the table, as tests and documentation walk it.
type Route struct {
	Method string
	// Path is a template: ":name" stands for one escaped segment.
	Path string
	// Action is what the caller needs permission for; empty on the routes that ask for no credential.
	Action access.Action
}

// table is THE table: every route there is. Handlers take no part in deciding who may: the action here
// is what the audit trail says of a call refused in decoding, and what the use case authorizes.
func (s *Server) table() []*route {
	return []*route{
		s.row(http.MethodPost, "/vault/v1/kv", access.DataCreate, s.createObject()),
		s.row(http.MethodGet, "/vault/v1/kv", access.NamesList, s.listObjects()),
		s.row(http.MethodGet, "/vault/v1/kv/name/:name", access.DataRead, s.readObjectByName()),
		s.row(http.MethodGet, "/vault/v1/kv/:id", access.DataRead, s.readObject()),
		s.row(http.MethodPut, "/vault/v1/kv/:id", access.DataUpdate, s.updateObject()),
		s.row(http.MethodDelete, "/vault/v1/kv/:id", access.DataDelete, s.deleteObject()),
		s.row(http.MethodGet, "/vault/v1/kv/:id/metadata", access.MetadataRead, s.describeObject()),
		s.row(http.MethodGet, "/vault/v1/kv/:id/versions", access.MetadataRead, s.listVersions()),

		s.row(http.MethodPost, "/vault/v1/keys/data-key", access.DEKCreate, s.createDataKey()),
		s.row(http.MethodPost, "/vault/v1/keys/decrypt", access.DEKDecrypt, s.decryptDataKey()),
		s.row(http.MethodPost, "/vault/v1/keys/rekey", access.DEKRekey, s.rekeyDataKey()),

		s.row(http.MethodGet, "/events", access.EventsList, s.listEvents()),

		s.row(http.MethodGet, "/healthz", public, s.alive()),
		s.row(http.MethodGet, "/readyz", public, s.ready()),
	}
}

// public marks the routes that ask for no credential.
const public access.Action = ""

// vaultPrefix tells the routes whose errors have the vault's shape.
const vaultPrefix = "/vault/"

// route is a row with what serving it needs.
type route struct {
	Route
	// name is method and template, as audit records show it.
	name    string
	handler handler
	// vault routes carry the member "error" in error bodies.
	vault    bool
	requests requestCounter
}

func (s *Server) row(method, path string, action access.Action, h handler) *route {
	return &route{
		Route:    Route{Method: method, Path: path, Action: action},
		name:     method + " " + path,
		handler:  h,
		vault:    hasVaultPrefix(path),
		requests: s.metrics.requestCounter(path, method),
	}
}

// Routes returns the table.
func (s *Server) Routes() []Route {
	rows := make([]Route, len(s.routes))
	for i, r := range s.routes {
		rows[i] = r.Route
	}
	return rows
}

// route fills the router from the table. gin routes and does nothing else: it neither logs, nor
// redirects, nor writes a byte of any answer (see exchange.Write).
func (s *Server) route() {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	// With any other settings gin answers 404 for %2F, turns "+" into a space, unescapes twice, or
	// redirects "a%2Fb/" to a name the caller did not mean.
	e.UseEscapedPath = true
	e.UnescapePathValues = false
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = true

	s.routes = s.table()
	for _, row := range s.routes {
		e.Handle(row.Method, row.Path, func(c *gin.Context) {
			x := exchangeOf(c)
			x.route, x.params = row, c.Params
			x.finish(row.handler(x))
		})
	}
	// No action and no handler: a request without a route is answered before anybody is asked who he is.
	// That tells a stranger the table, which is public anyway.
	s.unmatched = s.row("", unmatched, public, nil)
	e.NoRoute(func(c *gin.Context) { exchangeOf(c).finish(noRoute()) })
	e.NoMethod(func(c *gin.Context) { exchangeOf(c).finish(noMethod()) })
	s.engine = e
}

// exchangeOf finds the request behind gin's context: gin's writer wraps the one it was handed, and that
// is the exchange.
func exchangeOf(c *gin.Context) *exchange {
	return c.Writer.(interface{ Unwrap() http.ResponseWriter }).Unwrap().(*exchange)
}

func hasVaultPrefix(path string) bool { return strings.HasPrefix(path, vaultPrefix) }
