package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
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

	"culvert/internal/etcd/etcdtest"
	"culvert/internal/logtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Process is a culvert in a process of its own.
type Process struct {
	Base string
	cmd  *exec.Cmd
	// logs is what the process printed.
	logs *logtest.Buffer
}

// MustStartDev starts `culvert dev` and waits until it is ready. It is killed after the test, at the latest.
func MustStartDev(t *testing.T, dir, addr string, flags ...string) *Process {
	t.Helper()
	p := mustStart(t, append([]string{"dev", "--addr", addr, "--data-dir", dir}, flags...)...)
	p.Base = "http://" + addr
	p.mustBeReady(t, nil)
	return p
}

// MustStartServer starts `culvert server` with TLS and waits until it is ready.
func MustStartServer(t *testing.T, ca *etcdtest.CA, file, addr string, flags ...string) *Process {
	t.Helper()
	p := mustStart(t, append([]string{"server", "--config", file}, flags...)...)
	p.Base = "https://" + addr
	p.mustBeReady(t, ca.Client(t))
	return p
}

// MustInit makes the store that a settings file describes.
func MustInit(t *testing.T, file string, flags ...string) {
	t.Helper()
	if out, err := exec.Command("culvert", append([]string{"init", "--config", file}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("culvert init: %v\n%s", err, out)
	}
}

// mustFail runs a command that must end with the code, and returns what it printed.
func mustFail(t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "culvert", args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("culvert %s: %v, want code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return string(out)
}

// mustStart starts the program. It is killed after the test, at the latest.
func mustStart(t *testing.T, args ...string) *Process {
	t.Helper()
	return mustStartProgram(t, "culvert", args...)
}

// mustStartProgram is mustStart for a program that becomes culvert.
func mustStartProgram(t *testing.T, name string, args ...string) *Process {
	t.Helper()
	p := &Process{logs: &logtest.Buffer{}}
	p.cmd = exec.Command(name, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *Process) mustBeReady(t *testing.T, config *tls.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	if err := awaitReadyOver(ctx, transport, p.Base); err != nil {
		t.Fatalf("%v\n%s", err, p.logs)
	}
}

// Kill is kill -9, and waits until the kernel has taken everything away.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// MustStop ends the process in order and checks that it did so with code 0.
func (p *Process) MustStop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("after SIGTERM: %v\n%s", err, p.logs)
	}
}

// API is a client with the root API key of a data directory.
type API struct {
	base, key string
	http      *http.Client
}

// MustAPI reads the key.
func MustAPI(t *testing.T, base, dir string) *API {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "root-api-key"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 128}
	t.Cleanup(transport.CloseIdleConnections)
	return &API{base: base, key: strings.TrimSpace(string(key)), http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// Call sends one request and decodes the answer. The error is that of the connection; an answer that is
// no JSON is one too, since it was cut off.
func (a *API) Call(method, path string, header map[string]string, in, out any) (status int, err error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, a.base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode >= 400 || resp.StatusCode == http.StatusNoContent {
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return resp.StatusCode, nil
}

// Read is a GET that has patience: a disk that stalls for seconds makes a 503, and what is asked for is
// none the worse for it.
func (a *API) Read(path string, out any) (status int, err error) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, err = a.Call(http.MethodGet, path, nil, nil, out)
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return status, err
		}
	}
}
