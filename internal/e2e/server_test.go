//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/logtest"
)

const (
	startTimeout = time.Minute
	// stopTimeout is above what the server gives requests in progress.
	stopTimeout = 45 * time.Second
)

// binary is the program under test: the one that CULVERT_BIN names, else one built from this tree.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CULVERT_BIN"); path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(t.TempDir(), "culvert")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/culvert")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build ./cmd/culvert: %v\n%s", err, out)
	}
	return path
}

// server is a running `culvert dev`.
type server struct {
	baseURL string
	dataDir string
	cmd     *exec.Cmd
	output  *transcript
	// exited is closed when the process has ended; err may be read then.
	exited chan struct{}
	err    error
}

// startServer starts the program on a free port and an empty data directory, with further flags, and
// waits until it is ready. The process is killed at the end of the test if stop did not end it before.
func startServer(t *testing.T, bin string, flags ...string) *server {
	t.Helper()
	s := &server{
		dataDir: filepath.Join(t.TempDir(), "data"),
		output:  &transcript{},
		exited:  make(chan struct{}),
	}
	listens := make(chan string, 1)
	s.cmd = exec.Command(bin, append([]string{"dev", "--addr", "127.0.0.1:0", "--data-dir", s.dataDir}, flags...)...)
	s.cmd.Stderr = s.output
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	go func() {
		defer close(s.exited)
		s.read(stdout, listens)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("the server's output ended with:\n%s", s.output.tail(4<<10))
		}
	})
	select {
	case s.baseURL = <-listens:
	case <-s.exited:
		t.Fatalf("the server ended at once: %v", s.err)
	case <-time.After(startTimeout):
		t.Fatalf("the server printed no address in %s", startTimeout)
	}
	s.awaitReady(t)
	return s
}

// read copies the program's standard output until its end and sends the address out of the first line.
func (s *server) read(stdout io.Reader, listens chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		_, _ = fmt.Fprintln(s.output, lines.Text())
		if url, ok := strings.CutPrefix(lines.Text(), "Culvert listens on "); ok {
			select {
			case listens <- url:
			default:
			}
		}
	}
}

func (s *server) awaitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	last := errors.New("not asked yet")
	for ctx.Err() == nil {
		if last = s.ready(ctx); last == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the server is not ready after %s: %v", startTimeout, last)
}

func (s *server) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.baseURL+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return err
}

// stop asks the program to end and requires that it does, with success.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("the server had ended before: %v", err)
	}
	select {
	case <-s.exited:
		if s.err != nil {
			t.Errorf("the server ended with %v after SIGTERM", s.err)
		}
	case <-time.After(stopTimeout):
		t.Errorf("the server did not end within %s of SIGTERM", stopTimeout)
	}
}

// apiKeyFile is where the program has put the key of its only environment.
func (s *server) apiKeyFile() string { return filepath.Join(s.dataDir, "root-api-key") }

// transcript is output that is written by one goroutine and read by another.
type transcript struct{ logtest.Buffer }

func (o *transcript) bytes() []byte { return []byte(o.String()) }

func (o *transcript) tail(n int) []byte {
	all := o.bytes()
	return all[max(0, len(all)-n):]
}
