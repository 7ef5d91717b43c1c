package main_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDrainDelay: readiness turns red before anything is refused, answers end their connections, and then
// the process ends with code 0.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p := MustStartDev(t, t.TempDir()+"/data", addrs[0], "--set", "drain_delay=8s")
	get := func(path string) (status int, closes bool) {
		resp, err := http.Get(p.Base + path)
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, p.logs)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode, resp.Close
	}
	if status, closes := get("/readyz"); status != http.StatusOK || closes {
		t.Errorf("before: status %d, closes %v", status, closes)
	}
	began := time.Now()
	mustSignal(t, p, syscall.SIGTERM)
	await(t, "red readiness", func() bool {
		status, _ := get("/readyz")
		return status == http.StatusServiceUnavailable
	})
	if status, closes := get("/healthz"); status != http.StatusOK || !closes {
		t.Errorf("meanwhile: status %d, closes %v", status, closes)
	}
	if err := <-ended(p); err != nil {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(began); took < 8*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if !strings.Contains(p.logs.String(), "msg=stopping") {
		t.Error("the log does not say that it stops")
	}
}
