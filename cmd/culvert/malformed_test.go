package main_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMalformedRequests speaks to the program over bare connections: what the HTTP library refuses before
// any handler runs is answered in the API's words too, and so is its well-formed twin.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	_, addr, _ := startFor(t)
	const host = "\r\nHost: x\r\n"
	for _, tc := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"twin", "GET /vault/v1/kv HTTP/1.1" + host + "\r\n", 401, "unauthorized"},
		{"escape", "GET /%zz HTTP/1.1" + host + "\r\n", 400, "malformed_request"},
		{"garbage", "what is this\r\n\r\n", 400, "malformed_request"},
		{"no host", "GET /vault/v1/kv HTTP/1.1\r\n\r\n", 400, "malformed_request"},
		{"headers", "GET /vault/v1/kv HTTP/1.1" + host + "X: " + strings.Repeat("x", 256<<10) + "\r\n\r\n", 431, "malformed_request"},
		{"coding", "POST /vault/v1/kv HTTP/1.1" + host + "Transfer-Encoding: gzip\r\n\r\n", 400, "malformed_request"},
		{"version", "GET /vault/v1/kv HTTP/2.0" + host + "\r\n", 400, "malformed_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, body := mustSend(t, addr, tc.request)
			var problem struct {
				Code      string `json:"code"`
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal(body, &problem); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if resp.StatusCode != tc.status || problem.Code != tc.code {
				t.Errorf("status %d, code %s; want %d, %s", resp.StatusCode, problem.Code, tc.status, tc.code)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: %s", got)
			}
			if !regexp.MustCompile(`^req_[0-9A-Z]{26}$`).MatchString(problem.RequestID) ||
				resp.Header.Get("X-Request-Id") != problem.RequestID {
				t.Errorf("request id %q in the body, %q in the header", problem.RequestID, resp.Header.Get("X-Request-Id"))
			}
		})
	}
}

// mustSend writes bytes to a connection of its own and reads one answer.
func mustSend(t *testing.T, addr, request string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may hang up before it has read everything.
	_, _ = io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
