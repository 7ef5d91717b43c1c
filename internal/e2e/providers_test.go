//go:build e2e

package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
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
	cmd := exec.Command(newNode(t), "providers.mjs")
	said := &transcript{}
	cmd.Dir, cmd.Stderr = "pipes", said
	cmd.Env = append(os.Environ(), "CULVERT_ZITADEL="+zitadel(t))
	// It ends when this does, also if the test is killed.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("providers: %v\n%s", err, said.tail(4<<10))
		}
	})
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("providers: %v\n%s", err, said.tail(4<<10))
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	p := &providers{line: strings.TrimSpace(line)}
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

// newNode is a Node that the emulators run on, 22.15 or newer: the one that is installed, else the one
// among the dependencies of package pipes.
func newNode(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(string(out))
	if m := regexp.MustCompile(`^v(\d+)\.(\d+)\.`).FindStringSubmatch(version); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		if major > 22 || major == 22 && minor >= 15 {
			return "node"
		}
	}
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	path, err := filepath.Abs(filepath.Join("pipes", "node_modules", "node-"+runtime.GOOS+"-"+arch, "bin", "node"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("Node %s is too old for the emulators, which need 22.15, and npm has installed no other: %v", version, err)
	}
	return path
}
