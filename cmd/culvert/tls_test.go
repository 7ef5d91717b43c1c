package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// MustServe makes a store and starts `culvert server` with TLS on it, and waits until it is ready.
func MustServe(t *testing.T, ca *etcdtest.CA, pair etcdtest.Pair, settings ...string) (*Process, string) {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	file := MustWrite(t, fmt.Sprintf("addr: %s\npublic_url: https://%s\ndata_dir: %s\ntls: {cert_file: %s, key_file: %s}\n%s\n",
		addrs[0], addrs[0], dir, pair.CertFile, pair.KeyFile, strings.Join(settings, "\n")))
	MustInit(t, file)
	return MustStartServer(t, ca, file, addrs[0]), dir
}

// TestTLS: the API speaks HTTPS with the certificate that is in the files, at least 1.2, and HTTP/1.1; a
// client in clear is told so, and led nowhere.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewCA(t)
	p, dir := MustServe(t, ca, ca.Issue(t, "api"))
	addr := strings.TrimPrefix(p.Base, "https://")
	api := MustAPI(t, p.Base, dir)
	api.http.Transport.(*http.Transport).TLSClientConfig = ca.Client(t)
	var list struct{ Data []struct{} }
	if status, err := api.Read("/vault/v1/kv", &list); status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}

	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		config := ca.Client(t)
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, version
		config.NextProtos = []string{"h2", "http/1.1"}
		conn, err := tls.Dial("tcp", addr, config)
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
				t.Errorf("it speaks %s", got)
			}
			_ = conn.Close()
		}
	}

	resp, body := mustSend(t, addr, "GET /vault/v1/kv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+api.key+"\r\n\r\n")
	var problem struct{ Code string }
	if err := json.Unmarshal(body, &problem); err != nil || resp.StatusCode != 400 || problem.Code != "https_required" {
		t.Errorf("in clear: status %d, %s", resp.StatusCode, body)
	}
	if resp.Header.Get("Location") != "" || bytes.Contains(body, []byte("sk_")) {
		t.Errorf("in clear: %v, %s", resp.Header, body)
	}
	p.MustStop(t)
}

// TestTLSMalformed: what net/http refuses by itself is JSON inside TLS too.
func TestTLSMalformed(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewCA(t)
	p, _ := MustServe(t, ca, ca.Issue(t, "api"))
	for request, want := range map[string]string{
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n": "",
		"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n":     "malformed_request",
		"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n": "malformed_request",
		"what is this\r\n\r\n":                     "malformed_request",
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(p.Base, "https://"), ca.Client(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		var problem struct{ Code string }
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Code != want || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%q: %v, code %q, want %q", request, err, problem.Code, want)
		}
		_ = resp.Body.Close()
	}
}

// TestCertificateReload: a new pair in the files is what the next connection gets, after SIGHUP at once; one
// that is none changes nothing but the log. Connections that are open stay.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewCA(t)
	pair := ca.Issue(t, "api")
	p, _ := MustServe(t, ca, pair)
	old, err := tls.Dial("tcp", strings.TrimPrefix(p.Base, "https://"), ca.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	first := MustSerial(t, p, ca)

	if err := os.WriteFile(pair.KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSignal(t, p, syscall.SIGHUP)
	await(t, "the refusal to be logged", func() bool { return strings.Contains(p.logs.String(), "the last certificate stays in use") })
	if got := MustSerial(t, p, ca); got != first {
		t.Errorf("a broken pair was taken: certificate %s, before %s", got, first)
	}
	if strings.Contains(p.logs.String(), "no key") {
		t.Error("the log quotes the key's file")
	}

	ca.Issue(t, "api")
	mustSignal(t, p, syscall.SIGHUP)
	await(t, "the new certificate", func() bool { return MustSerial(t, p, ca) != first })
	second := MustSerial(t, p, ca)

	if _, err := io.WriteString(old, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(old), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the connection of before: %v", err)
	}

	// Without a signal it takes longer.
	ca.Issue(t, "api")
	await(t, "the certificate after that", func() bool { return MustSerial(t, p, ca) != second })

	p.MustStop(t)
}

// TestCertificateRefused lists what a start refuses. TestTLS is the twin.
func TestCertificateRefused(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewCA(t)
	pair, other, seen := ca.Issue(t, "api"), ca.Issue(t, "other"), ca.Issue(t, "seen")
	if err := os.Chmod(seen.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, pair := range map[string]etcdtest.Pair{
		"error: tls.cert_file and tls.key_file: ":            {CertFile: pair.CertFile, KeyFile: other.KeyFile},
		"error: tls.cert_file: open /nowhere: no such file":  {CertFile: "/nowhere", KeyFile: pair.KeyFile},
		"error: tls.key_file: " + seen.KeyFile + " has mode": seen,
		"error: tls.key_file: /dev/null is not a regular":    {CertFile: pair.CertFile, KeyFile: "/dev/null"},
	} {
		out := mustFail(t, 1, "dev", "--addr", "127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data"),
			"--set", "tls.cert_file="+pair.CertFile, "--set", "tls.key_file="+pair.KeyFile)
		if !strings.HasPrefix(out, want) {
			t.Errorf("got %s\nwant %s", out, want)
		}
	}
}

// MustSerial is the serial number of the certificate that a new connection gets.
func MustSerial(t *testing.T, p *Process, ca *etcdtest.CA) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.Base, "https://"), ca.Client(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.logs)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func mustSignal(t *testing.T, p *Process, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// await waits for a condition with a generous bound.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

// TestLoopbackTrust: what a developer's machine is trusted with, production is not: pages, ends of flows, and
// providers on loopback addresses.
func TestLoopbackTrust(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewCA(t)
	p, dir := MustServe(t, ca, ca.Issue(t, "api"))
	served := MustAPI(t, p.Base, dir)
	served.http.Transport.(*http.Transport).TLSClientConfig = ca.Client(t)
	q, _, devDir := startFor(t)
	for _, tc := range []struct {
		api     *API
		trusted bool
	}{{MustAPI(t, q.Base, devDir), true}, {served, false}} {
		req, err := http.NewRequest(http.MethodGet, tc.api.base+"/vault/v1/kv", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "http://localhost:3000")
		resp, err := tc.api.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin") != ""; got != tc.trusted {
			t.Errorf("%s: a page on loopback may call: %v, want %v", tc.api.base, got, tc.trusted)
		}
		made, refused := http.StatusCreated, http.StatusUnprocessableEntity
		local := integration()
		local["provider"] = "local"
		local["custom_provider"] = object{"name": "P", "authorization_url": "https://p.example/a", "token_url": "http://127.0.0.1:1/t"}
		authorized := http.StatusOK
		if !tc.trusted {
			authorized = refused
			tc.api.MustSay(t, refused, "POST", "/data-integrations", local, nil)
		} else {
			tc.api.MustSay(t, made, "POST", "/data-integrations", local, nil)
		}
		tc.api.MustSay(t, made, "POST", "/data-integrations", integration(), nil)
		tc.api.MustSay(t, authorized, "POST", "/data-integrations/github/authorize", object{"user_id": "user_1", "return_to": "http://localhost:1/done"}, nil)
	}
}
