package server

import (
	"errors"
	"net/http"
	"strings"

	"culvert/internal/origin"
)

// cors answers browsers. Without configured origins it does nothing, and browsers keep pages of other
// origins from reading anything. It protects no route: whoever is not a browser ignores it. Credentials
// mode is never allowed: the only cookies are those of a flow, and its legs are navigations, not calls
// of scripts.
type cors struct {
	origins  map[string]bool
	loopback bool
}

func newCORS(origins []string, loopback bool) (cors, error) {
	c := cors{origins: make(map[string]bool, len(origins)), loopback: loopback}
	for _, o := range origins {
		if !origin.IsWeb(o) {
			return cors{}, errors.New("server: a CORS origin is scheme://host[:port] and nothing else")
		}
		c.origins[o] = true
	}
	return c, nil
}

// answer sets the headers for an allowed origin, and answers a preflight request; true if it did. An
// origin that is not allowed gets no header, which is the refusal.
func (c cors) answer(x *exchange) bool {
	if len(c.origins) == 0 && !c.loopback {
		return false
	}
	h := x.w.Header()
	// Also where the answer is no: a cache must not give one origin's answer to another.
	h.Add("Vary", "Origin")
	from := x.r.Header.Get("Origin")
	if from == "" || !c.allows(from) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", from)
	h.Set("Access-Control-Expose-Headers", "X-Request-ID, Retry-After")
	// Browsers send a preflight request without a credential, so it is answered before authentication. It
	// says nothing of the path.
	if x.r.Method != http.MethodOptions || x.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key")
	h.Set("Access-Control-Max-Age", "600")
	x.status = http.StatusNoContent
	x.w.WriteHeader(x.status)
	return true
}

// allows compares whole origins. For development it lets in pages of this machine of whatever scheme, and
// of names below localhost, which browsers keep local.
func (c cors) allows(from string) bool {
	if c.origins[from] {
		return true
	}
	u, ok := origin.Parse(from)
	return ok && c.loopback && (origin.IsLoopback(u.Hostname()) || strings.HasSuffix(u.Hostname(), ".localhost"))
}
