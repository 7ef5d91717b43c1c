//go:build e2e

package e2e_test

import (
	"os"
	"testing"
)

// TestPipes connects accounts at real authorization servers: one that is certified, and emulators of
// providers. Each suite has a server and providers of its own.
func TestPipes(t *testing.T) {
	bin := binary(t)
	install(t, "pipes")
	suites := map[string]func(t *testing.T, env []string){
		"node": func(t *testing.T, env []string) {
			run(t, "pipes", env, "node", "--test", "--test-concurrency=1", "--test-reporter=spec",
				"conformance.test.mjs", "integrations.test.mjs", "oidc.test.mjs", "frontdoor.test.mjs")
		},
		"go": func(t *testing.T, env []string) {
			run(t, "gosdk", env, "go", "test", "-count=1", "-tags", "pipes", "./pipes")
		},
	}
	if os.Getenv("CULVERT_CHROMIUM") != "" {
		suites["chromium"] = func(t *testing.T, env []string) {
			run(t, "pipes", env, "node", "--test", "--test-reporter=spec", "chromium.test.mjs")
		}
	}
	for name, suite := range suites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProviders(t)
			s := startServer(t, bin, p.settings()...)
			suite(t, append(os.Environ(),
				"CULVERT_BASE_URL="+s.baseURL, "CULVERT_API_KEY_FILE="+s.apiKeyFile(), "CULVERT_PROVIDERS="+p.line,
				"WORKOS_API_KEY=", "WORKOS_CLIENT_ID=",
			))
			secrets := p.secrets(t)
			s.stop(t)
			nothingInClear(t, s, secrets...)
		})
	}
}
