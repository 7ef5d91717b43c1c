package server_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"culvert/internal/logtest"
	"culvert/internal/ratelimit"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// TestRateLimit: a key that comes too often is told when to come again, on every kind of route, without a record of
// each time; whoever asks for no credential, and the next window, are not touched.
func TestRateLimit(t *testing.T) {
	stack := vaulttest.WithConfig(t, vaulttest.Config{})
	d := &door{stack: stack, log: &logtest.Buffer{}}
	now := time.Unix(0, 0).Add(1000 * ratelimit.Window)
	d.open(t, func(c *server.Config) {
		var err error
		c.Rates, err = ratelimit.New(ratelimit.Config{
			Store: stack.Store, PerKey: 3, Wait: time.Minute, Now: func() time.Time { return now },
		})
		must(t, err)
	})
	for range 3 {
		d.do(t, get(kv)).want(t, 200)
	}
	for path, vault := range map[string]bool{kv: true, "/events": false} {
		a := d.do(t, get(path))
		a.mustRefuse(t, http.StatusTooManyRequests, "rate_limit_exceeded")
		if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 || wait > 10 {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if _, shaped := a.object(t)["error"]; shaped != vault {
			t.Errorf("%s: %v", path, a.object(t))
		}
		if len(d.stack.MustAuditOf(t, a.header.Get("X-Request-Id"))) > 0 {
			t.Error("a request too many is in the audit trail")
		}
	}
	d.do(t, get("/healthz").with("Authorization")).want(t, 200)
	now = now.Add(ratelimit.Window)
	d.do(t, get(kv)).want(t, 200)
}
