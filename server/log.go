package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// What the log may hold is a closed list: method, route template, status, duration, request id, actor
// id, environment. Never a path, a query, a header or a body: names can be personal, and a value pasted into the
// wrong place would stay for as long as logs do.

// logAccess writes the request's line.
func (x *exchange) logAccess() {
	ctx := x.r.Context()
	// Asked first: where nobody wants the line, it costs nothing.
	if !x.server.logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	log := x.route.log
	if x.route == x.server.unmatched {
		log = log.With(slog.String("method", x.method()), slog.String("route", unmatched))
	}
	// A record of our own, because the logger would look up which line of the source logged it.
	ended := x.server.now()
	line := slog.NewRecord(ended, slog.LevelInfo, "request", 0)
	line.AddAttrs(
		slog.Int("status", x.status),
		slog.Duration("duration", ended.Sub(x.started)),
		slog.String("request_id", x.id),
		slog.String("actor_id", x.actor.ID()),
		slog.String("environment", string(x.actor.Environment())),
	)
	_ = log.Handler().Handle(ctx, line) // a log that cannot be written must not fail a request
}

// logProblem writes why an answer is a 5xx, under the request id that the caller was given. Errors hold
// no secret by the rules of this program (ids they may name).
func (x *exchange) logProblem(p *problem) {
	if p.code == codeIntegrity {
		x.server.metrics.IntegrityFailure()
	}
	if p.cause == nil {
		return
	}
	level := slog.LevelWarn
	if p.status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	x.server.logger.LogAttrs(x.r.Context(), level, "request failed",
		slog.String("code", p.code),
		slog.String("route", x.route.Path),
		slog.String("request_id", x.id),
		slog.String("error", p.cause.Error()),
	)
}

// logPanic writes where it happened and the type of what was thrown. The value itself stays out: an
// index error is harmless, but a library may throw what it was given.
func (x *exchange) logPanic(reason any) {
	x.server.logger.LogAttrs(x.r.Context(), slog.LevelError, "panic",
		slog.String("route", x.route.Path),
		slog.String("request_id", x.id),
		slog.String("type", fmt.Sprintf("%T", reason)),
		slog.String("stack", string(debug.Stack())),
	)
}

// method is the request's, if it is one of HTTP's: it becomes a label and a log field, and any token is
// allowed as a method.
func (x *exchange) method() string {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return x.r.Method
	}
	return "other"
}

// vaultShaped tells whether error bodies have the vault's shape, also where no route matched.
func (x *exchange) vaultShaped() bool {
	return x.route.vault || x.route == x.server.unmatched && hasVaultPrefix(x.r.URL.Path)
}
