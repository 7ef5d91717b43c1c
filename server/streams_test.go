package server_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/stream"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// TestStreams: how a stream does is shown, and it is set back, never ahead; who may see may not do so.
func TestStreams(t *testing.T) {
	d := newDoor(t)
	streams := auditPath + "/streams"
	sent := func() string {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(d.stack.AuditDir), "streamed.jsonl"))
		must(t, err)
		return string(text)
	}
	state := func() map[string]any {
		return d.do(t, get(streams)).want(t, 200).object(t)["data"].([]any)[0].(map[string]any)
	}
	caughtUp := func(from float64) map[string]any {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			// Asking leaves a record itself, so what was there before is what has to come.
			if s := state(); s["next_index"].(float64) >= from && s["state"] == "delivering" {
				return s
			}
			if time.Now().After(end) {
				t.Fatalf("not delivered: %v", state())
			}
		}
	}
	s := caughtUp(state()["log_size"].(float64))
	if s["name"] != "disk" || s["type"] != "file" || s["node"] != d.stack.Audit.Node() || s["reason"] != nil || s["missing_records"] != 0.0 {
		t.Errorf("got %v", s)
	}
	const first = `"index":0,`
	if n := strings.Count(sent(), first); n != 1 {
		t.Fatalf("record 0 was sent %d times", n)
	}
	size := state()["log_size"].(float64)
	got := d.do(t, post(streams+"/disk/rewind", `{"index":0}`))
	got.want(t, 200)
	records := d.stack.MustAuditOf(t, got.header.Get("X-Request-Id"))
	if len(records) != 2 || records[0].Phase != audit.Intent || records[1].Result != audit.Allowed || records[1].Subject != "disk" || records[1].Action != access.AuditStreamsRewind {
		t.Errorf("recorded %+v", records)
	}
	caughtUp(size)
	if n := strings.Count(sent(), first); n != 2 {
		t.Errorf("record 0 was sent %d times after a rewind", n)
	}
	// Ahead changes nothing.
	ahead := d.do(t, post(streams+"/disk/rewind", `{"index":1000000}`)).want(t, 200).object(t)
	if ahead["next_index"].(float64) > ahead["log_size"].(float64) {
		t.Errorf("moved ahead: %v", ahead)
	}
	d.do(t, post(streams+"/disk/rewind", `{"since":"2026-01-01T00:00:00Z"}`)).want(t, 200)
	d.do(t, post(streams+"/none/rewind", `{"index":0}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, post(streams+"/disk/rewind", `{"index":0,"since":"2026-01-01T00:00:00Z"}`)).mustRefuse(t, 422, "invalid_request_parameters")
	auditor := "Bearer " + string(d.stack.MustAPIKey(t, access.RoleAuditor).Text().Reveal())
	d.do(t, get(streams).with("Authorization", auditor)).want(t, 200)
	d.do(t, post(streams+"/disk/rewind", `{"index":0}`).with("Authorization", auditor)).mustRefuse(t, 403, "forbidden")
}

// TestStreamMetrics: the labels are the names of the settings, and a stall is an alarm.
func TestStreamMetrics(t *testing.T) {
	m := server.NewMetrics()
	m.WatchStreams(func() []stream.Status {
		return []stream.Status{
			{Name: "one", State: stream.Delivering, Next: 7, End: 9, Lag: 1500 * time.Millisecond, Counts: stream.Counts{Records: 7}},
			{Name: "two", State: stream.Stalled, Counts: stream.Counts{Failures: 3}},
		}
	})
	d := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) { c.Metrics = m })
	page := httptest.NewRecorder()
	d.server.AdminHandler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`lag_records{stream="one"} 2`, `lag_seconds{stream="one"} 1.5`, `stalled{stream="one"} 0`, `records_total{stream="one"} 7`,
		`stalled{stream="two"} 1`, `failures_total{stream="two"} 3`,
	} {
		if want = fmt.Sprint("\nculvert_audit_stream_", want, "\n"); !strings.Contains(page.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, page.Body.String())
		}
	}
}
