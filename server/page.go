package server

import (
	"net/http"
	"strings"

	"culvert/internal/origin"
	"culvert/server/pages"
)

// pageHeaders are on every answer of a browser's leg, redirects and errors included: the URLs of a flow
// are credentials, which no referrer may carry on and no cache may keep.
func (x *exchange) pageHeaders() {
	h := x.w.Header()
	h["Cache-Control"] = []string{"no-store"}
	h["Referrer-Policy"] = []string{"no-referrer"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if !x.opened {
		// A page that opened ours keeps no handle on it, with which it could lead it elsewhere.
		h["Cross-Origin-Opener-Policy"] = []string{"same-origin"}
	}
}

// page answers with HTML.
func (x *exchange) page(status int, policy string, body []byte) {
	x.pageHeaders()
	x.set("Content-Security-Policy", policy)
	x.send(status, "text/html; charset=utf-8", body)
}

// redirect sends the browser on with a GET, whatever it came with.
func (x *exchange) redirect(to string) {
	x.pageHeaders()
	x.set("Location", to)
	x.set("Content-Length", "0")
	x.noContent(http.StatusSeeOther)
}

// message answers with a page of sentences.
func (x *exchange) message(status int, m pages.Message) error {
	body, err := x.server.pages.Message(m)
	if err != nil {
		return err
	}
	policy := x.server.pages.Policy()
	if m.Closes {
		policy = x.server.pages.ClosingPolicy()
	}
	x.page(status, policy, body)
	return nil
}

// trouble is writeProblem for people.
func (x *exchange) trouble(p *problem) {
	switch p.code {
	case codeTicket:
		x.server.metrics.unauthenticated.WithLabelValues(reasonTicket).Inc()
	case codeRate:
		x.server.metrics.unauthenticated.WithLabelValues(reasonFlowRate).Inc()
	}
	x.retryAfter(p)
	m := pages.Trouble(p.code, p.status)
	m.RequestID = x.id
	if err := x.message(p.status, m); err != nil {
		// The templates are ours and tested; if they fail all the same, JSON is better than nothing.
		x.writeProblem(p)
	}
}

// sameOrigin tells whether a form was sent by a page of ours.
//
// Attacker: a page in the same browser that sends our form for the person in front of it. What decides is
// the form's keyed hash of the flow cookie (pipes); this is the second fence, for a browser whose cookies
// leak. Our pages have the referrer policy no-referrer, under which browsers write "null" as the origin
// of a POST, also to where the page is from (Fetch section 3.2); so "null" is let through here where
// Sec-Fetch-Site, which is never hidden, does not speak against it.
func sameOrigin(h http.Header, public string) bool {
	site, from := h["Sec-Fetch-Site"], h["Origin"]
	if len(site) > 1 || len(from) > 1 {
		return false
	}
	if len(site) == 1 && site[0] != "same-origin" {
		return false
	}
	return len(from) == 0 || from[0] == "null" || strings.EqualFold(from[0], public)
}

// parsePublicURL accepts an origin and writes it as browsers write theirs (RFC 6454 section 6.1): lower
// case, without the scheme's own port.
func parsePublicURL(raw string) (string, bool) {
	return origin.Of(raw), origin.IsWeb(strings.ToLower(raw))
}
