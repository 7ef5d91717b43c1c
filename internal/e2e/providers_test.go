//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// providers is a running pipes/providers.mjs.
type providers struct {
	// line is what it has printed, for the suites: where its parts are, as JSON.
	line string
	// Control is the door to steer it by, Providers are the providers' origins by name.
	Control   string            `json:"control"`
	Providers map[string]string `json:"providers"`
}

// startProviders starts it, and ends it with the test. `npm ci` must have been run.
func startProviders(t *testing.T) *providers {
	t.Helper()
	line, more := startNode(t, []string{"CULVERT_ZITADEL=" + zitadel(t)}, "providers.mjs")
	go func() { _, _ = io.Copy(io.Discard, more) }()
	p := &providers{line: line}
	if err := json.Unmarshal([]byte(line), p); err != nil {
		t.Fatalf("providers: %v in %q", err, line)
	}
	return p
}

// zitadel builds the program of package zitadel, a module of its own as gosdk is.
func zitadel(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zitadel")
	run(t, "zitadel", os.Environ(), "go", "build", "-o", path, ".")
	return path
}

// settings point the built-in connectors at the emulators. Where an emulator's paths are not the
// provider's own, each endpoint is named. The suite ends tokens and waits for their ends, so nothing may refresh
// them meanwhile; the test of refreshes under kill -9 runs with what is on by default.
func (p *providers) settings() []string {
	at := func(slug, setting, path string) string {
		return fmt.Sprintf("--set=pipes.connectors.%s.%s=%s%s", slug, setting, p.Providers[slug], path)
	}
	return []string{
		"--set=pipes.background_refresh=false",
		at("github", "base_url", ""),
		at("slack", "base_url", ""),
		at("linear", "base_url", ""),
		at("google", "base_url", ""),
		at("google", "token_url", "/oauth2/token"),
		at("google", "revocation_url", "/oauth2/revoke"),
		at("google", "identity_url", "/oauth2/v2/userinfo"),
		at("microsoft", "base_url", ""),
		at("microsoft", "authorization_url", "/oauth2/v2.0/authorize"),
		at("microsoft", "token_url", "/oauth2/v2.0/token"),
	}
}

// secrets are the tokens, codes, verifiers, client secrets and flow states that the providers have seen,
// and the tickets of which a suite has told them.
func (p *providers) secrets(t *testing.T) []string {
	t.Helper()
	var all []string
	for name := range p.Providers {
		res, err := http.Post(p.Control+"/"+name+"/secrets", "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		var some []string
		err = json.NewDecoder(res.Body).Decode(&some)
		_ = res.Body.Close()
		if err != nil {
			t.Fatalf("secrets of %s: %v", name, err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		t.Error("no provider has seen a secret: the suite has connected nothing")
	}
	return all
}
