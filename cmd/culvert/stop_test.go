package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	main "culvert/cmd/culvert"
)

// startFor starts a server of the test's own.
func startFor(t *testing.T) (p *Process, addr, dir string) {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "data")
	return MustStartDev(t, dir, addrs[0]), addrs[0], dir
}

// slowRequest has sent half of its body, which the server has asked for; finish sends the rest and returns
// the status. It asks to decrypt what is no data key: that needs the store, for the fence, but no write, which
// a slow disk could make fail for reasons of its own.
func slowRequest(t *testing.T, addr, dir string) (finish func() (int, error)) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "root-api-key"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	const body = `{"keys":"bm8gZGF0YSBrZXkgb2Ygb3Vycw=="}`
	if _, err := fmt.Fprintf(conn, "POST /vault/v1/keys/decrypt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", strings.TrimSpace(string(key)), len(body)); err != nil {
		t.Fatal(err)
	}
	// The server asks for a body when it has begun to answer the request.
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("the server did not ask for the body: %q, %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil { // the empty line
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(body[:15])); err != nil {
		t.Fatal(err)
	}
	return func() (int, error) {
		if _, err := conn.Write([]byte(body[15:])); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
}

// ended waits for the end of a process.
func ended(p *Process) chan error {
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	return done
}

// TestStopDrains: what has begun is finished, and nothing new is begun.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	// A disk that stalls for seconds makes a 503 here, as it should; parts that are closed before the
	// requests have ended make one every time.
	status, tries := 0, 0
	for ; tries < 5 && (tries == 0 || status == http.StatusServiceUnavailable); tries++ {
		status = drain(t)
	}
	if status != http.StatusBadRequest {
		t.Errorf("the request in progress got status %d in %d tries", status, tries)
	}
}

// drain stops a server during a request and returns the status that the request got.
func drain(t *testing.T) (status int) {
	t.Helper()
	p, addr, dir := startFor(t)
	finish := slowRequest(t, addr, dir)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(main.DrainTimeout - time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("new connections are still taken")
		}
		time.Sleep(10 * time.Millisecond)
	}
	status, err := finish()
	if err != nil {
		t.Errorf("the request in progress: %v\n%s", err, p.logs)
	}
	select {
	case err := <-ended(p):
		if err != nil {
			t.Errorf("%v\n%s", err, p.logs)
		}
	case <-time.After(main.DrainTimeout + 20*time.Second):
		t.Error("it did not end")
	}
	return status
}

// TestStopIsBounded: a request that never ends does not keep the process.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	p, addr, dir := startFor(t)
	_ = slowRequest(t, addr, dir)
	since := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended(p):
		if took := time.Since(since); err != nil || took < main.DrainTimeout/2 {
			t.Errorf("it ended after %v: %v\n%s", took, err, p.logs)
		}
	case <-time.After(main.DrainTimeout + 30*time.Second):
		t.Error("it did not end")
	}
}

// TestSecondSignal: whoever cannot wait does not have to.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, addr, dir := startFor(t)
	_ = slowRequest(t, addr, dir)
	done := ended(p)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the request: %v\n%s", err, p.logs)
	case <-time.After(500 * time.Millisecond):
	}
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(main.DrainTimeout + 20*time.Second):
		t.Error("it did not end")
	}
}

// TestReadyInTime starts on an empty directory and on a used one. The best of up to ten counts, because
// other tests run meanwhile, and none of a start that is slow would be in time.
func TestReadyInTime(t *testing.T) {
	const limit = 1500 * time.Millisecond
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	best := map[string]time.Duration{"first": time.Hour, "later": time.Hour}
	for tries := 0; tries < 10 && max(best["first"], best["later"]) > limit; tries++ {
		dir := filepath.Join(t.TempDir(), "data")
		for _, start := range []string{"first", "later"} {
			since := time.Now()
			p := MustStartDev(t, dir, addrs[0])
			best[start] = min(best[start], time.Since(since))
			p.MustStop(t)
		}
	}
	t.Log(best)
	for start, took := range best {
		if took > limit {
			t.Errorf("the %s start took %v", start, took)
		}
	}
}

// TestNoCoreDumps: a dump of the process's memory would hold every unwrapped key.
func TestNoCoreDumps(t *testing.T) {
	p, _, _ := startFor(t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Log("no /proc on this system")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max core file size")); ok {
			if got := strings.Join(strings.Fields(string(rest))[:2], " "); got != "0 0" {
				t.Errorf("core dumps are limited to %s", got)
			}
			return
		}
	}
	t.Error("the system tells no limit of core dumps")
}
