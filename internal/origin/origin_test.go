package origin_test

import (
	"net/url"
	"strings"
	"testing"

	"culvert/internal/origin"
)

// Each refused text stands beside one that differs from it in the point alone.
func TestParse(t *testing.T) {
	for refused, twin := range map[string]string{
		"https://app.example/":          "https://app.example",
		"https://app.example/path":      "https://app.example:8443",
		"https://app.example?":          "http://app.example",
		"https://app.example#":          "https://APP.example",
		"https://user@app.example":      "https://user.app.example",
		"HTTPS://app.example":           "https://app.example:443",
		"//app.example":                 "x://app.example",
		"app.example":                   "capacitor://localhost",
		"app.example:443":               "https://127.0.0.1:443",
		"https://":                      "https://a",
		"https://:443":                  "https://a:443",
		"https:app.example":             "https://[::1]",
		"https://[::1":                  "https://[::1]:1",
		"https://a.example, https://b":  "https://a.example",
		"https://app.example:port":      "https://app.example:1",
		"https://app%2eexample":         "https://app.example",
		" https://app.example":          "https://app.example",
		"https://app.example\n":         "https://app.example",
		"https://app.example\\.example": "https://app.example.example",
		"https://::":                    "https://[::]",
		"https://[::1%25lo]":            "https://[::1]:2",
		"null":                          "null://null",
		"*":                             "http://x",
		"":                              "http://x",
	} {
		if _, ok := origin.Parse(refused); ok || origin.IsWeb(refused) {
			t.Errorf("%q is an origin", refused)
		}
		u, ok := origin.Parse(twin)
		if !ok || u.Scheme+"://"+u.Host != twin {
			t.Errorf("%q is no origin", twin)
		}
		if got, want := origin.IsWeb(twin), strings.HasPrefix(twin, "http"); got != want {
			t.Errorf("%q of http or https: %t, want %t", twin, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	for raw, want := range map[string]string{
		"https://idp.example/token?x=1":  "https://idp.example",
		"HTTPS://IDP.Example:443/token":  "https://idp.example",
		"https://idp.example:/token":     "https://idp.example",
		"https://idp.example:8443/token": "https://idp.example:8443",
		"http://127.0.0.1:8500/token":    "http://127.0.0.1:8500",
		"http://127.0.0.1:80/token":      "http://127.0.0.1",
		"https://[2001:DB8::1]/token":    "https://[2001:db8::1]",
		"https://[2001:db8::1]:444/":     "https://[2001:db8::1]:444",
		"http://idp.example:443/":        "http://idp.example:443",
		"https://idp.example:80/":        "https://idp.example:80",
		"https://idp@evil.example/":      "https://evil.example",
		"/token":                         "",
		"https://":                       "",
		"https:idp.example":              "",
		"https://::":                     "",
		"https://[fe80::1%25lo]/":        "",
		"https://a b/":                   "",
		"":                               "",
	} {
		if got := origin.Of(raw); got != want {
			t.Errorf("origin of %q is %q, want %q", raw, got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for refused, twin := range map[string]string{
		"localhost.example": "localhost", "app.localhost": "LocalHost", "localhost..": "localhost.", "": "LOCALHOST.",
		"126.255.255.255": "127.0.0.0", "128.0.0.0": "127.255.255.255", "127.1": "127.0.0.1", "2130706433": "127.0.0.1",
		"127.0.0.1.": "127.0.0.1", "127.0.0.1.evil.example": "127.9.9.9", "0.0.0.0": "127.0.0.1", "::": "::1", "::2": "::1%lo",
		"::ffff:10.0.0.1": "::ffff:127.0.0.1", "[::1]": "::1", "localhost:80": "localhost",
	} {
		if origin.IsLoopback(refused) {
			t.Errorf("%q is this machine", refused)
		}
		if !origin.IsLoopback(twin) {
			t.Errorf("%q is not this machine", twin)
		}
	}
}

// What is written is read again as the same, and an origin is its own origin but for case and port.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://App.example:443", "http://[::1]:80", "https://a/b?c#d", "x://localhost", "https://u@h", "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		of := origin.Of(raw)
		if origin.Of(of) != of {
			t.Errorf("origin of %q is %q, whose origin is %q", raw, of, origin.Of(of))
		}
		u, ok := origin.Parse(raw)
		if !ok {
			return
		}
		if of == "" {
			t.Errorf("%q is an origin and has none", raw)
		}
		again, err := url.Parse(of)
		if err != nil || again.Scheme != u.Scheme || again.Hostname() != strings.ToLower(u.Hostname()) {
			t.Errorf("%q became %q: %v", raw, of, err)
		}
		if u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q is more than an origin", raw)
		}
	})
}
