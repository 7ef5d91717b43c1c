package server_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRequestLimits: what is too large is refused by what announces it, before it is read and as every refusal is;
// each twin is as large as may be.
func TestRequestLimits(t *testing.T) {
	d := newDoor(t)
	auth := "Authorization: Bearer " + d.key() + "\r\n"
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %s\r\n", i, marker)
		}
		return b.String()
	}
	head := func(line, rest string) string { return line + " HTTP/1.1\r\nHost: x\r\n" + rest + "\r\n" }
	list, post := "GET "+kv, "POST "+kv
	for name, tc := range map[string]struct {
		bad, good string
		status    int
		code      string
	}{
		"header fields":    {head(list, auth+fields(300)), head(list, auth+fields(150)), 431, "too_many_headers"},
		"fields, no key":   {head(list, fields(300)), head("GET /healthz", fields(150)), 431, "too_many_headers"},
		"header bytes":     {head(list, auth+"X-Big: "+strings.Repeat("x", 256<<10)+"\r\n"), head(list, auth+"X-Big: "+strings.Repeat("x", 100<<10)+"\r\n"), 431, "malformed_request"},
		"path":             {head(list+"/"+strings.Repeat("n", 9<<10), auth), head(list, auth), 414, "path_too_long"},
		"query bytes":      {head(list+"?search="+strings.Repeat("n", 256<<10), auth), head(list+"?search="+strings.Repeat("n", 50<<10), auth), 431, "malformed_request"},
		"Authorization":    {head(list, "Authorization: Bearer "+strings.Repeat("x", 100<<10)+"\r\n"), head(list, auth), 401, "unauthorized"},
		"announced body":   {head(post, auth+"Content-Length: 9000000\r\n"), head(list, auth), 413, "body_too_large"},
		"expected body":    {head(post, auth+"Expect: 100-continue\r\nContent-Length: 9000000\r\n"), head(list, auth), 413, "body_too_large"},
		"body of a number": {head(post, auth+"Content-Length: 99999999999999999999\r\n"), head(list, auth), 400, "malformed_request"},
		// More than the limit in one chunk, whose end never comes.
		"chunked body": {
			head(post, auth+"Transfer-Encoding: chunked\r\n") + "900000\r\n" + strings.Repeat(" ", 8<<20+1), head(list, auth), 413, "body_too_large",
		},
		"Idempotency-Key": {
			head(post, auth+"Idempotency-Key: "+strings.Repeat("k", 256)+"\r\nContent-Length: 2\r\n") + "{}", head(list, auth), 400, "invalid_idempotency_key",
		},
		// Nobody waits for the body of a request that has no use for one.
		"stranger's body": {head(post, "Content-Length: 9000000\r\n"), head(list, auth+"Content-Length: 9000000\r\n"), 401, "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			d.raw(t, tc.bad).mustRefuse(t, tc.status, tc.code)
			d.raw(t, tc.good).want(t, 200)
		})
	}
	if strings.Contains(d.log.String(), marker) {
		t.Error("the input is in the log")
	}
}

// TestSlowRequest: who sends nothing more gets the time that its limits say, and no more; whoever is prompt is served.
func TestSlowRequest(t *testing.T) {
	d := newDoor(t)
	h := d.server.HTTPServer()
	if h.ReadHeaderTimeout > 10*time.Second || h.ReadTimeout > time.Minute || h.IdleTimeout > 2*time.Minute || h.WriteTimeout > 90*time.Second {
		t.Errorf("limits %s %s %s %s", h.ReadHeaderTimeout, h.ReadTimeout, h.IdleTimeout, h.WriteTimeout)
	}
	const soon, late = 200 * time.Millisecond, 20 * time.Second
	if got := d.all(t, d.serve(t, soon, late), "GET "+kv+" HTTP/1.1\r\nHost: x\r\n"); got != "" && !strings.Contains(got, "malformed_request") {
		t.Errorf("half a header got %q", got)
	}
	auth := "Authorization: Bearer " + d.key() + "\r\n"
	got := d.all(t, d.serve(t, late, soon), "POST "+kv+" HTTP/1.1\r\nHost: x\r\n"+auth+"Content-Length: 100\r\n\r\n{")
	if !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "incomplete_body") || !strings.Contains(got, "request_id") {
		t.Errorf("half a body got %q", got)
	}
	if got := d.all(t, d.addr, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("a whole request got %q", got)
	}
}

// serve opens the door at another address, with other limits of time for a header and for a whole request.
func (d *door) serve(t *testing.T, header, whole time.Duration) (addr string) {
	t.Helper()
	h := d.server.HTTPServer()
	h.ReadHeaderTimeout, h.ReadTimeout = header, whole
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- h.Serve(d.server.Listener(l)) }()
	t.Cleanup(func() { must(t, h.Close()); <-served })
	return l.Addr().String()
}

// all sends bytes and reads until the server ends the connection.
func (d *door) all(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, text)
	must(t, err)
	got, err := io.ReadAll(conn)
	must(t, err)
	return string(got)
}
