//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// suiteTimeout bounds each command of the suites; together they take less than a minute.
const suiteTimeout = 5 * time.Minute

func TestOfficialSDKs(t *testing.T) {
	bin := binary(t)
	ours, other := startServer(t, bin, "--set", "events.reads=true"), startServer(t, bin)
	env := append(os.Environ(),
		"CULVERT_BASE_URL="+ours.baseURL,
		"CULVERT_API_KEY_FILE="+ours.apiKeyFile(),
		"CULVERT_OTHER_BASE_URL="+other.baseURL,
		"CULVERT_OTHER_API_KEY_FILE="+other.apiKeyFile(),
		// What a developer may have set for real use must not reach an SDK.
		"WORKOS_API_KEY=", "WORKOS_CLIENT_ID=",
	)

	t.Run("node", func(t *testing.T) {
		install(t, "node")
		run(t, "node", env, "node", "--test", "--test-reporter=spec")
	})
	t.Run("go", func(t *testing.T) {
		run(t, "gosdk", env, "go", "test", "-count=1", "./...")
	})
	for _, s := range []*server{ours, other} {
		s.stop(t)
	}
	t.Run("nothing in clear", func(t *testing.T) {
		nothingInClear(t, ours)
		nothingInClear(t, other)
	})
}

// install puts the packages in place that a directory's lock file names. Networks have hiccups, so npm is
// given a second chance.
func install(t *testing.T, dir string) {
	t.Helper()
	args := []string{"ci", "--no-audit", "--no-fund", "--fetch-retries=5"}
	if out, err := command(t, dir, os.Environ(), "npm", args...); err != nil {
		t.Logf("npm %v in %s: %v, once more\n%s", args, dir, err, out)
		run(t, dir, os.Environ(), "npm", args...)
	}
}

// run requires that a command succeeds, and shows all it said if it does not.
func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	if out, err := command(t, dir, env, name, args...); err != nil {
		t.Fatalf("%s %v in %s: %v\n%s", name, args, dir, err, out)
	}
}

func command(t *testing.T, dir string, env []string, name string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	// A child that keeps the pipe open must not keep the test waiting.
	cmd.WaitDelay = 10 * time.Second
	return cmd.CombinedOutput()
}

// Marks that the suites put at the beginning of names and values.
var (
	nameMark  = []byte("e2e-name-")
	valueMark = []byte("e2e-plaintext-")
)

// nothingInClear requires that no value, none of further secrets and no API key stands in what the server
// left behind. That the names are found, which are stored in clear, shows that the search can find
// something.
func nothingInClear(t *testing.T, s *server, secrets ...string) {
	t.Helper()
	key, err := os.ReadFile(s.apiKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	key = bytes.TrimSpace(key)
	names := 0
	look := func(where string, content []byte) {
		names += bytes.Count(content, nameMark)
		if bytes.Contains(content, valueMark) {
			t.Errorf("a value stands in clear in %s", where)
		}
		if where != s.apiKeyFile() && bytes.Contains(content, key) {
			t.Errorf("the API key stands in clear in %s", where)
		}
		for i, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("secret %d of %d stands in clear in %s", i, len(secrets), where)
			}
		}
	}
	lookAround(t, s.dataDir, s.output, look)
	if names == 0 {
		t.Errorf("no name was found under %s: the search finds nothing", s.dataDir)
	}
}

// lookAround shows all that a server left behind.
func lookAround(t *testing.T, dataDir string, output *transcript, look func(where string, content []byte)) {
	t.Helper()
	look("the server's output", output.bytes())
	err := filepath.WalkDir(dataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil {
			look(path, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
