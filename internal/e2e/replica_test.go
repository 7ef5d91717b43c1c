//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// replica is one of several processes on one etcd, each with a data directory of its own. It can be killed
// and stopped; both are undone by themselves.
type replica struct {
	n     int
	bin   string
	flags []string
	// base is where the API is, admin where the metrics are.
	base, admin string
	dir         string
	// node is its name in etcd.
	node   string
	output *transcript
	ledger *ledger
	http   *http.Client

	mu sync.Mutex
	// cmd is the process, struck says that something is being done to it. Guarded by mu.
	cmd    *exec.Cmd
	struck bool
	closed bool
	// undoing are the strikes that are not undone yet.
	undoing sync.WaitGroup
}

func newReplica(t *testing.T, n int, bin string, l *ledger, flags ...string) *replica {
	t.Helper()
	addr, err := etcdtest.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := etcdtest.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	r := &replica{
		n: n, bin: bin, base: "http://" + addr, admin: "http://" + admin, dir: dir, output: &transcript{}, ledger: l,
		flags: append([]string{"dev", "--addr", addr, "--data-dir", dir, "--set", "admin_addr=" + admin}, flags...),
		// Callers have less patience than the program: a refresh outlives who asked for it.
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(r.end)
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	r.node = mustReadLine(t, filepath.Join(dir, "node-id"))
	return r
}

// start starts the process and waits until it is ready.
func (r *replica) start() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.cmd = exec.Command(r.bin, r.flags...)
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	err := r.cmd.Start()
	r.mu.Unlock()
	if err != nil {
		return err
	}
	last := fmt.Errorf("not asked yet")
	for until := time.Now().Add(startTimeout); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		last = (&server{baseURL: r.base}).ready(ctx)
		cancel()
		if last == nil {
			return nil
		}
	}
	return fmt.Errorf("replica %d is not ready after %s: %w\n%s", r.n, startTimeout, last, r.output.tail(4<<10))
}

// kill is kill -9. The process starts again by itself.
func (r *replica) kill(why string) bool {
	return r.strike(why, true, func(p *os.Process) error {
		r.mu.Lock()
		cmd := r.cmd
		r.mu.Unlock()
		_ = cmd.Wait()
		r.http.CloseIdleConnections()
		return r.start()
	})
}

// pause is SIGSTOP, and SIGCONT so much later.
func (r *replica) pause(why string, length time.Duration) bool {
	return r.strike(why, false, func(p *os.Process) error {
		time.Sleep(length)
		return p.Signal(syscall.SIGCONT)
	})
}

// strike does one thing to the process, at once, and undoes it behind; false if another is being done.
func (r *replica) strike(why string, kill bool, undo func(*os.Process) error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.struck || r.closed {
		return false
	}
	r.struck = true
	process, signal := r.cmd.Process, syscall.SIGSTOP
	if kill {
		signal = syscall.SIGKILL
	}
	err := process.Signal(signal)
	r.ledger.hurt(r.n, kill, why)
	r.undoing.Go(func() {
		if err == nil {
			err = undo(process)
		}
		if err != nil {
			r.ledger.fail(nil, "replica %d, %s: %v", r.n, why, err)
		}
		r.ledger.recovered(r.n)
		r.mu.Lock()
		r.struck = false
		r.mu.Unlock()
	})
	return true
}

func (r *replica) isStruck() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.struck
}

func (r *replica) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd.Process.Pid
}

func (r *replica) end() {
	r.mu.Lock()
	r.closed = true
	cmd := r.cmd
	r.mu.Unlock()
	if cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Kill()
	}
	r.undoing.Wait()
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Wait()
	}
}

// stop ends the process in order.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	cmd := r.cmd
	r.closed = true
	r.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("replica %d had ended before: %v", r.n, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("replica %d ended with %v after SIGTERM", r.n, err)
	}
}

// call sends a request with JSON. The error is that of the connection.
func (r *replica) call(method, path string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, r.base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+r.ledger.apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := r.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 400 || out == nil {
		return res.StatusCode, err
	}
	return res.StatusCode, json.Unmarshal(text, out)
}

func mustReadLine(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
