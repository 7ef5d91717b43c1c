package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/internal/logtest"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// TestAdminAddressAlone: metrics and profiles are on the admin address, and for nobody on the public one, whatever his
// key; what tells of arguments is on none.
func TestAdminAddressAlone(t *testing.T) {
	d := newDoor(t)
	admin := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		d.server.AdminHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	for _, path := range []string{
		"/metrics", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/allocs", "/debug/pprof/mutex?debug=1",
		"/debug/pprof/block", "/debug/pprof/threadcreate", "/debug/pprof/trace?seconds=0.01",
	} {
		if w := admin(path); w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s on the admin address: %d", path, w.Code)
		}
		d.do(t, get(path)).mustRefuse(t, 404, "route_not_found")
	}
	for _, path := range []string{"/debug/pprof", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/vars", "/debug/requests"} {
		d.do(t, get(path)).mustRefuse(t, 404, "route_not_found")
	}
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/vars", kv, "/healthz"} {
		if w := admin(path); w.Code != 404 {
			t.Errorf("%s on the admin address: %d", path, w.Code)
		}
	}
}

// hostileVisits are requests with everything that a client can choose in places that could become labels or lines.
func hostileVisits(salt string) []request {
	x := marker + salt
	line := "%0Alevel=ERROR%20msg=" + x
	var all []request
	for i := range 20 {
		x := fmt.Sprintf("%s-%d", x, i)
		all = append(all,
			get("/"+x), request{method: "M" + strings.ReplaceAll(x, "-", ""), path: kv}, get(kv+"/"+x), get(kv+"/name/"+x+line),
			get("/data-integrations/"+x), post("/data-integrations/"+x+"/token", `{"user_id":"`+x+`"}`),
			get("/organizations/"+x+line+"/api_keys"), get("/user_management/users/"+x+"/connected_accounts/"+x),
			get("/organizations/"+x+"/data_integration_configurations"), post("/culvert/v1/jobs/"+x+"/cancel", ""),
			get("/culvert/v1/roles/"+x), get("/culvert/v1/audit/records?action="+x), get("/events?events="+x),
			get(kv).with("Authorization", "Bearer "+x), get(kv).with("Authorization", "Bearer sk_"+x), get(kv).with("X-Request-Id", x, x+" level=ERROR"),
			get(kv).with("User-Agent", x+"\tmsg=forged"), get("/data-integrations/"+x+"/authorize-redirect"),
			create(createBody("n", "v")).with("Idempotency-Key", x+"é"), get(kv+"?limit="+x),
		)
	}
	return all
}

// TestMetricSeriesAreBounded: whatever is asked for, by whatever name, there are no more series than after the first time.
func TestMetricSeriesAreBounded(t *testing.T) {
	d := newDoor(t)
	series := func(salt string) int {
		for _, q := range hostileVisits(salt) {
			d.do(t, q)
		}
		text := metrics(d.server)
		if strings.Contains(text, marker) {
			t.Error("a label is what a client has sent")
		}
		return strings.Count(text, "\nculvert_")
	}
	first := series("a")
	if second := series("b"); second != first {
		t.Errorf("%d series, then %d", first, second)
	}
}

// TestLogLines: a request is one line with the same members, in either format, and nothing that a client sends begins
// another one or is in it.
func TestLogLines(t *testing.T) {
	for name, handler := range map[string]func(*logtest.Buffer) slog.Handler{
		"text": func(b *logtest.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *logtest.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			lines := &logtest.Buffer{}
			d := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) { c.Logger = slog.New(handler(lines)) })
			all := hostileVisits("c")
			for _, q := range all {
				d.do(t, q)
			}
			// A line is written behind its answer.
			for end := time.Now().Add(20 * time.Second); strings.Count(lines.String(), "\n") < len(all) && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			text := strings.TrimSpace(lines.String())
			if strings.Contains(text, marker) || strings.Contains(text, "forged") {
				t.Error("the log has what a client has sent")
			}
			requests := strings.Split(text, "\n")
			if len(requests) != len(all) {
				t.Errorf("%d requests have left %d lines", len(all), len(requests))
			}
			for _, line := range requests {
				for _, member := range []string{"time", "level", "msg", "method", "route", "status", "duration", "request_id", "actor_id", "environment"} {
					if name == "json" && !json.Valid([]byte(line)) || !strings.Contains(line, member+"=") && !strings.Contains(line, `"`+member+`":`) {
						t.Fatalf("no %s in %q", member, line)
					}
				}
			}
		})
	}
}
