//go:build e2e

package e2e_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// startNode starts a program of package pipes and ends it with the test. It says in its first line where it is and
// what it has; what comes behind has to be read. env is added to the environment of this process. `npm ci` must
// have been run.
func startNode(t *testing.T, env []string, program string, args ...string) (line string, more io.Reader) {
	t.Helper()
	cmd := exec.Command(newNode(t), append([]string{program}, args...)...)
	said := &transcript{}
	cmd.Dir, cmd.Stderr = "pipes", said
	cmd.Env = append(os.Environ(), env...)
	// It ends when its input does, also if the test is killed.
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
			t.Errorf("%s: %v\n%s", program, err, said.tail(4<<10))
		}
	})
	lines := bufio.NewReader(stdout)
	line, err = lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.tail(4<<10))
	}
	return strings.TrimSpace(line), lines
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
