package server_test

import (
	"strings"
	"testing"

	"culvert/server"
	"culvert/vault/vaulttest"
)

// TestCORS: browsers are let in from configured origins alone, and from none by default.
func TestCORS(t *testing.T) {
	const good = "https://app.example.com"
	preflight := func(origin string) request {
		return request{method: "OPTIONS", path: kv}.with("Origin", origin).with("Access-Control-Request-Method", "POST").with("Authorization")
	}
	allowed := func(a answer) string { return a.header.Get("Access-Control-Allow-Origin") }

	closed := newDoor(t)
	if a := closed.do(t, preflight(good)).want(t, 405); allowed(a) != "" {
		t.Errorf("by default: %v", a.header)
	}

	listed := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) { c.CORSOrigins = []string{good} })
	if a := listed.do(t, preflight(good)).want(t, 204); allowed(a) != good || a.body != "" {
		t.Errorf("preflight: %v", a.header)
	}
	if a := listed.do(t, get(kv).with("Origin", good)).want(t, 200); allowed(a) != good || a.header.Get("Vary") != "Origin" {
		t.Errorf("request: %v", a.header)
	}
	for _, origin := range []string{
		"null", "*", "http://app.example.com", good + ".evil.com", good + ":444", "https://evil.com", strings.ToUpper(good), "http://localhost:3000",
	} {
		if a := listed.do(t, preflight(origin)).want(t, 405); allowed(a) != "" {
			t.Errorf("%s: %v", origin, a.header)
		}
		if a := listed.do(t, get(kv).with("Origin", origin)).want(t, 200); allowed(a) != "" {
			t.Errorf("%s: %v", origin, a.header)
		}
	}

	loopback := newDoorWith(t, vaulttest.Config{}, func(c *server.Config) { c.CORSLoopback = true })
	for origin, want := range map[string]bool{
		"http://localhost:3000": true, "http://127.0.0.1": true, "https://[::1]:8443": true, "http://app.localhost:5173": true,
		"http://localhost.evil.com": false, "http://127.0.0.1.evil.com": false, "http://evil.com": false, "null": false, "http://localhost:3000/x": false,
	} {
		if got := allowed(loopback.do(t, get(kv).with("Origin", origin))) == origin; got != want {
			t.Errorf("%s: allowed %v, want %v", origin, got, want)
		}
	}
}

// TestConfig: what New refuses.
func TestConfig(t *testing.T) {
	d := newDoor(t)
	if _, err := server.New(server.Config{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
	changes := []func(*server.Config){
		func(c *server.Config) { c.Limits.PathBytes = -1 },
		func(c *server.Config) { c.Limits.BodyBytes = -1 },
		func(c *server.Config) { c.Health = nil },
	}
	for _, origin := range []string{"*", "null", "https://a.example/", "https://", "a.example", "ftp://a.example", "https://a.example?x"} {
		changes = append(changes, func(c *server.Config) { c.CORSOrigins = []string{origin} })
	}
	for i, change := range changes {
		config := d.config(t)
		if _, err := server.New(config); err != nil {
			t.Fatalf("the twin was refused: %v", err)
		}
		change(&config)
		if _, err := server.New(config); err == nil {
			t.Errorf("configuration %d was accepted: %v", i, config.CORSOrigins)
		}
	}
}
