package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/internal/idempotency"
	"culvert/internal/outage"
)

// handler serves one matched request. What it returns instead of answering becomes the error body.
type handler func(*exchange) error

// endpoint is what differs between two rows of the table: its three steps.
type endpoint[Q, A any] struct {
	status int
	// plaintext marks answers that carry a value, a key or a credential: no cache on the way may keep them.
	plaintext bool
	// decode reads the request; it runs after authentication.
	decode func(*exchange) (Q, error)
	// call is the one call into a use case, which authorizes and audits.
	call func(context.Context, access.Call, Q) (A, error)
	// encode appends the JSON of the answer; nil where the status says it all (204).
	encode func([]byte, A) ([]byte, error)
}

// patience is what a call waits for storage in all, however often it has to ask: then it is told that etcd
// is unavailable.
const patience = 5 * time.Second

// handle is the one adapter that every route with a credential goes through.
func handle[Q, A any](e endpoint[Q, A]) handler {
	return func(x *exchange) error {
		began := time.Now()
		if err := x.authenticate(); err != nil {
			return err
		}
		left := patience - time.Since(began)
		if err := x.readIdempotencyKey(); err != nil {
			return x.recordRefusal(err)
		}
		query, err := e.decode(x) // takes as long as the client takes
		if err != nil {
			return x.recordRefusal(err)
		}
		ctx := x.r.Context()
		if x.route.prompt {
			ctx = outage.Limit(ctx, time.Now().Add(left))
		}
		answer, err := e.call(ctx, x.call(), query)
		if err != nil {
			return err
		}
		if e.encode == nil {
			x.noContent(e.status)
			return nil
		}
		return x.answer(e.status, e.plaintext, func(b []byte) ([]byte, error) { return e.encode(b, answer) })
	}
}

// decodeID does not look at the form of an id: one that cannot exist is not found, like any other.
func decodeID[ID ~string](x *exchange) (ID, error) {
	if _, err := x.query(); err != nil {
		return "", err
	}
	text, err := x.segment("id")
	return ID(text), err
}

// named is a route that names something by its id in the path, and answers with what is known of it. A body is
// not read.
func named[ID ~string, A any](call func(context.Context, access.Call, ID) (A, error), write func(*jsonWriter, A)) handler {
	return handle(endpoint[ID, A]{
		status: http.StatusOK,
		decode: decodeID[ID],
		call:   call,
		encode: func(b []byte, a A) ([]byte, error) {
			w := &jsonWriter{b: b}
			write(w, a)
			return w.done()
		},
	})
}

// exchange is one request and its answer. It belongs to the request's goroutine. It is the
// [http.ResponseWriter] that gin sees.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	route  *route
	params gin.Params
	actor  access.Actor
	// repeats is the request's Idempotency-Key, where the route honours one.
	repeats *idempotency.Request
	id      string
	started time.Time
	// opened marks the answers in a pop-up that keeps its opener.
	opened bool
	// status is 0 until the answer is written.
	status int
	// values are those of the answer's headers, as far as they go: a slice of one for each would be an
	// allocation of its own.
	values [4]string
	used   int
}

// ServeHTTP is the life of a request from its first byte to its access log line.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := s.now()
	x := &exchange{server: s, w: w, r: r, route: s.unmatched, id: "req_" + id.ULID(started), started: started}
	defer x.end()
	x.set("X-Request-Id", x.id) // before anything can fail
	if len(r.TransferEncoding) > 0 {
		// net/http prefers it to a Content-Length beside it and drops that: what follows could be a request
		// that somebody on the way saw as body, so the connection ends here (RFC 9112 section 6.1).
		w.Header().Set("Connection", "close")
	}
	if s.draining.Load() {
		w.Header()["Connection"] = []string{"close"}
	}
	if len(r.URL.EscapedPath()) > s.limits.PathBytes {
		x.finish(pathTooLong(s.limits.PathBytes))
		return
	}
	if len(r.Header) > maxHeaderFields {
		x.finish(tooManyFields())
		return
	}
	if s.cors.answer(x) {
		return
	}
	keepEscapes(r.URL)
	s.engine.ServeHTTP(x, r)
}

// end runs however the request went: also if a handler, or the router, panicked.
func (x *exchange) end() {
	if reason := recover(); reason != nil {
		if reason == http.ErrAbortHandler {
			panic(reason)
		}
		x.logPanic(reason)
		err := error(internalError(nil))
		if x.actor.ID() != "" {
			err = x.recordRefusal(err)
		}
		x.finish(err)
	}
	x.route.requests.count(x.method(), x.status)
	x.logAccess()
}

// keepEscapes makes EscapedPath return what the client sent. Where a client left characters unescaped
// that RFC 3986 wants escaped (quotes, UTF-8), net/url would escape the decoded path anew, and a %2F
// inside a name would become a separator.
func keepEscapes(u *url.URL) {
	if u.RawPath == "" || u.EscapedPath() == u.RawPath {
		return
	}
	const hex = "0123456789ABCDEF"
	escaped := make([]byte, 0, len(u.RawPath)+16)
	for _, c := range []byte(u.RawPath) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '/' || c == '%' ||
			c == '-' || c == '_' || c == '.' || c == '~' {
			escaped = append(escaped, c)
			continue
		}
		escaped = append(escaped, '%', hex[c>>4], hex[c&15])
	}
	u.RawPath = string(escaped)
}

// call is what every use case takes first.
func (x *exchange) call() access.Call {
	return access.Call{Actor: x.actor, RequestID: x.id, Route: x.route.name, Idempotency: x.repeats}
}

// segment is a path parameter that the route's template has, unescaped once. Names are not looked at more closely here: one that the
// vault refuses to store is simply not found.
func (x *exchange) segment(name string) (string, error) {
	value, err := url.PathUnescape(x.params[slices.Index(x.route.parameters, name)].Value)
	if err != nil || !utf8.ValidString(value) {
		return "", malformed("invalid_path", "The path must be percent-encoded UTF-8.")
	}
	if value == "" {
		return "", noRoute()
	}
	return value, nil
}

// answer writes a body made by encode. The buffer is wiped before another request gets it.
func (x *exchange) answer(status int, plaintext bool, encode func([]byte) ([]byte, error)) error {
	buffer := x.server.buffers.Get().(*[]byte)
	body, err := encode((*buffer)[:0])
	defer func() {
		clear(body)
		if cap(body) <= maxPooled {
			*buffer = body
			x.server.buffers.Put(buffer)
		}
	}()
	if err != nil {
		return err
	}
	if plaintext {
		x.set("Cache-Control", "no-store")
	}
	x.write(status, body)
	return nil
}

// finish turns an error into the answer, unless there is one already.
func (x *exchange) finish(err error) {
	if err == nil || x.status != 0 {
		return
	}
	p := x.server.problem(err)
	x.logProblem(p)
	if x.route.Browser {
		x.trouble(p)
		return
	}
	x.writeProblem(p)
}

// write sends JSON, whole and once.
func (x *exchange) write(status int, body []byte) { x.send(status, "application/json", body) }

// noContent is an answer without a body.
func (x *exchange) noContent(status int) {
	x.status = status
	x.w.WriteHeader(status)
}

// send sends the answer. A write error means that the client is gone: there is nobody to tell, and the
// audit trail says what was done.
func (x *exchange) send(status int, contentType string, body []byte) {
	x.status = status
	x.set("Content-Type", contentType)
	x.set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}

// set sets a header of the answer. The name must be in canonical form: [http.Header.Set] would bring it
// there again for every request.
func (x *exchange) set(name, value string) {
	var field []string
	if x.used < len(x.values) {
		field = x.values[x.used : x.used+1 : x.used+1]
		x.used++
	} else {
		field = make([]string, 1)
	}
	field[0] = value
	x.w.Header()[name] = field
}

// recordRefusal leaves the audit record of an authenticated call that reached no use case. If it cannot
// be written, that is the answer instead.
func (x *exchange) recordRefusal(err error) error {
	p := x.server.problem(err)
	// WithoutCancel: a caller who hangs up at once must not be able to probe without a trace. The audit
	// log bounds its own waiting.
	record := audit.For(x.call(), x.route.Action)
	record.Phase, record.Result = audit.Access, audit.Failed
	record.Code, record.Status = p.code, p.status
	if _, failed := x.server.audit.Append(context.WithoutCancel(x.r.Context()), record); failed != nil {
		return failed
	}
	return p
}

// Header implements [http.ResponseWriter] for gin, which puts Allow there.
func (x *exchange) Header() http.Header { return x.w.Header() }

// Write discards: what gin would write on its own is text/plain, and the answer is already there.
func (x *exchange) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader discards, as Write.
func (x *exchange) WriteHeader(int) {}
