package server_test

import (
	"context"
	"strings"
	"testing"

	"culvert/internal/audit"
)

// marker stands in hostile requests wherever something can; no answer may contain it.
const marker = "zQ7hostile"

// hostile is a request that must be refused, and its twin: the smallest change that makes it good.
type hostile struct {
	name   string
	bad    request
	status int
	code   string
	// good is sent after bad; its status says what must come of it. The zero request has no twin, which
	// only a refusal by path alone may have.
	good       request
	goodStatus int
}

// run sends both and checks what holds for every refusal.
func (h hostile) run(t *testing.T, d *door) {
	t.Run(h.name, func(t *testing.T) {
		before := d.dump(t)
		refusal := d.do(t, h.bad)
		refusal.mustRefuse(t, h.status, h.code)
		d.mustRecord(t, refusal)
		if after := d.dump(t); after != before {
			t.Errorf("the store changed:\n%s\n%s", before, after)
		}
		if h.good.method != "" {
			d.do(t, h.good).want(t, h.goodStatus)
		}
	})
}

// mustRefuse checks a refusal: a clear 4xx as JSON under our request id, and no echo.
func (a answer) mustRefuse(t testing.TB, status int, code string) {
	t.Helper()
	if a.status < 400 || a.status > 499 || a.status != status {
		t.Fatalf("status %d, want %d\n%.500s", a.status, status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	id := a.header.Get("X-Request-Id")
	if !requestShape.MatchString(id) {
		t.Errorf("X-Request-ID %q", id)
	}
	o := a.object(t)
	if o["code"] != code || o["request_id"] != id || o["message"] == "" {
		t.Errorf("body %s, want code %q and request id %q", a.body, code, id)
	}
	if strings.Contains(a.body, marker) || strings.Contains(headerText(a), marker) {
		t.Errorf("the input is repeated: %v %s", a.header, a.body)
	}
}

// unrecorded are the refusals that come before there is an actor, or without a route.
func unrecorded(code string) bool {
	switch code {
	case "unauthorized", "route_not_found", "method_not_allowed", "path_too_long", "malformed_request":
		return true
	}
	return false
}

// mustRecord checks that a refusal stands in the audit trail under its request id, with the code and
// status of the answer.
func (d *door) mustRecord(t testing.TB, a answer) {
	t.Helper()
	code := a.code(t)
	records := d.stack.MustAuditOf(t, a.header.Get("X-Request-Id"))
	if len(records) == 0 {
		if !unrecorded(code) {
			t.Errorf("no audit record of a refusal with code %s", code)
		}
		return
	}
	last := records[len(records)-1]
	if last.Code != code || last.Status != a.status || last.Route == "" || last.ActorID == "" || last.Result == audit.Allowed {
		t.Errorf("audit record %+v, want code %s and status %d", last, code, a.status)
	}
}

func headerText(a answer) string {
	var b strings.Builder
	_ = a.header.Write(&b)
	return b.String()
}

// create, get and list are the requests that most cases are about.
func create(body string) request {
	return request{method: "POST", path: "/vault/v1/kv", body: body}
}

func get(path string) request { return request{method: "GET", path: path} }

// with adds a header.
func (q request) with(name string, values ...string) request {
	header := map[string][]string{name: values}
	for n, v := range q.header {
		header[n] = v
	}
	q.header = header
	return q
}

// alive fails the test if the server stopped to answer.
func (d *door) alive(t testing.TB) {
	t.Helper()
	a, err := d.try(context.Background(), get("/healthz"))
	must(t, err)
	a.want(t, 200)
}
