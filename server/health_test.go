package server_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/server"
	"culvert/vault/vaulttest"
)

// metrics is the text of the admin handler.
func metrics(s *server.Server) string {
	w := httptest.NewRecorder()
	s.AdminHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestReadiness: the page names what is not ready, and is 503 only if something is unready.
func TestReadiness(t *testing.T) {
	now := time.Now()
	var checks []server.Check
	looks := 0
	d := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) {
		c.Now = func() time.Time { return now }
		c.Health = func(context.Context) []server.Check { looks++; return checks }
	})
	ok := server.Check{Name: "etcd", State: server.Ready}
	odd := server.Check{Name: "clock", State: server.Degraded, Reason: "The clock cannot be compared."}
	down := server.Check{Name: "root_key", State: server.Unready, Reason: "The root key does not answer."}
	entry := func(c server.Check) any {
		var reason any
		if c.Reason != "" {
			reason = c.Reason
		}
		return map[string]any{"name": c.Name, "status": string(c.State), "reason": reason}
	}
	for _, tc := range []struct {
		checks  []server.Check
		status  int
		overall string
	}{
		{[]server.Check{ok}, 200, "ready"},
		{[]server.Check{ok, odd}, 200, "degraded"},
		{[]server.Check{down, odd}, 503, "unready"},
		{[]server.Check{odd, down, ok}, 503, "unready"},
	} {
		checks, now = tc.checks, now.Add(2*time.Second)
		a := d.do(t, get("/readyz").with("Authorization")).want(t, tc.status)
		want := []any{}
		for _, c := range tc.checks {
			want = append(want, entry(c))
		}
		shape(t, a.object(t), map[string]any{"status": tc.overall, "checks": want})
		d.do(t, get("/healthz").with("Authorization")).want(t, 200)
	}
	// Nobody without a key can make the server look more often than once a second.
	before := looks
	for range 50 {
		d.do(t, get("/readyz").with("Authorization"))
	}
	if looks != before {
		t.Errorf("looked %d times in no time", looks-before)
	}
}

// TestPanic: a handler that panics is a 500 as JSON, and what was thrown is nowhere.
func TestPanic(t *testing.T) {
	d := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) {
		c.Health = func(context.Context) []server.Check { panic(canary) }
	})
	a := d.do(t, get("/readyz")).want(t, 500)
	shape(t, a.object(t), map[string]any{"message": "Internal error.", "code": "internal_error", "request_id": requestShape})
	log := d.log.String()
	if strings.Contains(log, canary) || !strings.Contains(log, `"type":"string"`) || !strings.Contains(log, "health_test.go") {
		t.Errorf("log %s", log)
	}
	d.alive(t)
}

// TestAccessLog: one line a request, and nothing in it but the closed list.
func TestAccessLog(t *testing.T) {
	d := newDoor(t)
	a := d.do(t, get(kv+"/name/"+marker+"?search="+marker).with("User-Agent", marker)).want(t, 404)
	d.do(t, request{method: marker, path: "/" + marker}).want(t, 404)
	lines := strings.Split(strings.TrimSpace(d.log.String()), "\n")
	if len(lines) != 2 || strings.Contains(d.log.String(), marker) {
		t.Fatalf("log %s", d.log.String())
	}
	var line map[string]any
	must(t, json.Unmarshal([]byte(lines[0]), &line))
	shape(t, line, map[string]any{
		"time": line["time"], "level": "INFO", "msg": "request", "method": "GET", "route": "/vault/v1/kv/name/:name",
		"status": 404.0, "duration": line["duration"], "request_id": a.header.Get("X-Request-Id"), "actor_id": actorShape,
		"environment": string(d.stack.Environment.ID()),
	})
	must(t, json.Unmarshal([]byte(lines[1]), &line))
	if line["method"] != "other" || line["route"] != "unmatched" || line["actor_id"] != "" {
		t.Errorf("line %v", line)
	}
}

// TestMetrics: requests by template, refusals by reason, and no label that a client can choose.
func TestMetrics(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, "thing", "value")
	d.do(t, get(kv+"/name/thing")).want(t, 200)
	d.do(t, get(kv+"/name/"+marker)).want(t, 404)
	d.do(t, request{method: marker, path: "/" + marker}).want(t, 404)
	d.do(t, get(kv).with("Authorization")).want(t, 401)
	d.do(t, get(kv).with("Authorization", "Bearer "+marker)).want(t, 401)
	d.do(t, get(kv).with("Authorization", "Bearer a", "Bearer b")).want(t, 401)
	got := metrics(d.server)
	for _, want := range []string{
		`culvert_http_requests_total{method="POST",route="/vault/v1/kv",status="201"} 1`,
		`culvert_http_requests_total{method="GET",route="/vault/v1/kv/name/:name",status="200"} 1`,
		`culvert_http_requests_total{method="GET",route="/vault/v1/kv/name/:name",status="404"} 1`,
		`culvert_http_requests_total{method="other",route="unmatched",status="404"} 1`,
		`culvert_unauthenticated_total{reason="missing"} 1`,
		`culvert_unauthenticated_total{reason="malformed"} 1`,
		`culvert_unauthenticated_total{reason="duplicate"} 1`,
		`culvert_unauthenticated_total{reason="rejected"} 0`,
		`culvert_integrity_failures_total 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, marker) {
		t.Error("a label holds input")
	}
}
