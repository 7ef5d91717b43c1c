package history_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// process is one `culvert dev`.
type process struct {
	base string
	// key is the API key that its start made; any process knows it.
	key string
	cmd *exec.Cmd
	log *os.File
}

// mustBuild makes the program as it is shipped.
func mustBuild(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "culvert")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "./cmd/culvert")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build ./cmd/culvert: %v\n%s", err, out)
	}
	return path
}

// mustStart starts a process on a data directory of its own, and waits until it is ready. Processes that
// are to share a store are given the same endpoints and root key. It is killed after the test.
func mustStart(t *testing.T, binary, rootKey string, endpoints []string) *process {
	t.Helper()
	// A directory that others may look into is refused.
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(dir, 0o700))
	p := &process{}
	var err error
	p.log, err = os.Create(filepath.Join(dir, "log"))
	must(t, err)
	p.cmd = exec.Command(binary, "dev", "--addr", "127.0.0.1:0", "--data-dir", dir,
		"--set", "etcd.endpoints="+strings.Join(endpoints, ","), "--set", "root_key.path="+rootKey)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	must(t, p.cmd.Start())
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("%s said in the end:\n%s", p.base, p.tail())
		}
		_ = p.log.Close()
	})
	p.mustBeReady(t, exited)
	key, err := os.ReadFile(filepath.Join(dir, "root-api-key"))
	must(t, err)
	p.key = strings.TrimSpace(string(key))
	return p
}

// mustBeReady waits until the process has said where it listens and answers there.
func (p *process) mustBeReady(t *testing.T, exited <-chan struct{}) {
	t.Helper()
	timeout := time.After(time.Minute)
	for !p.ready(t) {
		select {
		case <-exited:
			t.Fatalf("the process ended at once:\n%s", p.tail())
		case <-timeout:
			t.Fatalf("%s does not get ready:\n%s", p.base, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) ready(t *testing.T) bool {
	text, err := os.ReadFile(p.log.Name())
	must(t, err)
	_, after, _ := strings.Cut(string(text), "Culvert listens on ")
	base, _, whole := strings.Cut(after, "\n")
	if !whole {
		return false
	}
	p.base = base
	resp, err := http.Get(base + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the end of what the process said, without its access log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log.Name())
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "msg=request ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
