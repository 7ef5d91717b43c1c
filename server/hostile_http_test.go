package server_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/audit"
)

// TestHostileMethods: methods that a path does not have, spelt in every way.
func TestHostileMethods(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	const code = "method_not_allowed"
	for _, h := range []hostile{
		{"TRACE", request{method: "TRACE", path: kv}, 405, code, get(kv), 200},
		{"OPTIONS", request{method: "OPTIONS", path: kv}, 405, code, get(kv), 200},
		{"PATCH", request{method: "PATCH", path: kv + "/" + id, body: `{"value":"x"}`}, 405, code, get(kv + "/" + id), 200},
		{"DELETE of the list", request{method: "DELETE", path: kv}, 405, code, get(kv), 200},
		{"POST by name", request{method: "POST", path: kv + "/name/thing", body: "{}"}, 405, code, get(kv + "/name/thing"), 200},
		{"PUT on events", request{method: "PUT", path: "/events", body: "{}"}, 405, code, get(allEvents), 200},
		{"lower case", request{method: "get", path: kv}, 405, code, get(kv), 200},
		{"made up", request{method: marker, path: kv}, 405, code, get(kv), 200},
		{"made up, elsewhere", request{method: marker, path: "/nowhere"}, 404, "route_not_found", get("/healthz"), 200},
		{"POST on health", request{method: "POST", path: "/healthz", body: "{}"}, 405, code, get("/healthz"), 200},
	} {
		h.run(t, d)
	}
	a := d.do(t, request{method: "PATCH", path: kv + "/" + id})
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if !strings.Contains(a.header.Get("Allow"), method) {
			t.Errorf("Allow %q has no %s", a.header.Get("Allow"), method)
		}
	}
	// An override is a header like any other that nobody knows.
	for _, header := range []string{"X-Http-Method-Override", "X-Method-Override", "X-Http-Method"} {
		d.do(t, get(kv+"/"+id).with(header, "DELETE")).want(t, 200)
	}
	d.do(t, get(kv+"/"+id+"?_method=DELETE")).want(t, 200)
}

// TestSpoofedHosts: neither Host nor what proxies add changes an answer, and none of it is kept.
func TestSpoofedHosts(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	want := d.do(t, get(kv+"/"+id)).want(t, 200).body
	for _, lines := range []string{
		"Host: " + marker + ".example\r\n",
		"Host: x\r\nX-Forwarded-For: " + marker + "\r\nX-Forwarded-Host: " + marker + "\r\nForwarded: for=" + marker + "\r\n",
		"Host: x\r\nX-Original-URL: /events\r\nX-Rewrite-URL: /events\r\nX-Forwarded-Prefix: /" + marker + "\r\n",
	} {
		a := d.raw(t, "GET "+kv+"/"+id+" HTTP/1.1\r\nAuthorization: Bearer "+d.key()+"\r\nConnection: close\r\n"+lines+"\r\n")
		if a.want(t, 200).body != want || strings.Contains(headerText(a), marker) {
			t.Errorf("%s: %v %s", lines, a.header, a.body)
		}
	}
	// The absolute form is the same request, whatever host it names.
	a := d.raw(t, "GET http://"+marker+".example"+kv+"/"+id+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+d.key()+"\r\nConnection: close\r\n\r\n")
	if a.want(t, 200).body != want || strings.Contains(headerText(a), marker) {
		t.Errorf("absolute form: %v %s", a.header, a.body)
	}
	if strings.Contains(d.log.String(), marker) || strings.Contains(auditText(t, d), marker) {
		t.Error("a spoofed header is in the log")
	}
}

// TestMalformedHTTP: what net/http cannot read is refused as JSON too, never with a 5xx.
func TestMalformedHTTP(t *testing.T) {
	d := newDoor(t)
	before := d.dump(t)
	auth := "Authorization: Bearer " + d.key() + "\r\n"
	json := auth + "Content-Type: application/json\r\n"
	text := createBody("x", marker)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(text))
	for name, tc := range map[string]struct {
		text   string
		status int
	}{
		"no HTTP":             {marker + "\r\n\r\n", 400},
		"no version":          {"GET " + kv + "\r\n\r\n", 400},
		"version of another":  {"GET " + kv + " HTTP/3.9\r\nHost: x\r\n\r\n", 400},
		"no host":             {"GET " + kv + " HTTP/1.1\r\n\r\n", 400},
		"two hosts":           {"GET " + kv + " HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		"NUL in the path":     {"GET " + kv + "/\x00" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"space in the path":   {"GET " + kv + "/a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"folded header":       {"GET " + kv + " HTTP/1.1\r\nHost: x\r\n" + marker + "\r\n\r\n", 400},
		"space before colon":  {"GET " + kv + " HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer x\r\n\r\n", 400},
		"two lengths":         {"POST " + kv + " HTTP/1.1\r\nHost: x\r\n" + json + length + "Content-Length: 1\r\n\r\n" + text, 400},
		"negative length":     {"POST " + kv + " HTTP/1.1\r\nHost: x\r\n" + json + "Content-Length: -1\r\n\r\n" + text, 400},
		"unknown coding":      {"POST " + kv + " HTTP/1.1\r\nHost: x\r\n" + json + "Transfer-Encoding: " + marker + "\r\n\r\n" + text, 400},
		"gzip as a coding":    {"POST " + kv + " HTTP/1.1\r\nHost: x\r\n" + json + "Transfer-Encoding: gzip, chunked\r\n\r\n" + text, 400},
		"headers of 1 MiB":    {"GET " + kv + " HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431},
		"unknown expectation": {"POST " + kv + " HTTP/1.1\r\nHost: x\r\n" + json + "Expect: " + marker + "\r\n" + length + "\r\n" + text, 417},
	} {
		t.Run(name, func(t *testing.T) { d.raw(t, tc.text).mustRefuse(t, tc.status, "malformed_request") })
	}
	if after := d.dump(t); after != before {
		t.Error("the store changed")
	}
	// The twin, written by hand as well.
	good := createBody("good", "value")
	d.raw(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", kv, json, len(good), good)).want(t, 201)
	if strings.Contains(d.log.String(), marker) {
		t.Error("the input is in the log")
	}
}

// TestChunkedGarbage: a body that breaks off or lies about its chunks is the client's fault.
func TestChunkedGarbage(t *testing.T) {
	d := newDoor(t)
	before := d.dump(t)
	head := "POST " + kv + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer " + d.key() + "\r\n\r\n"
	for _, chunks := range []string{"zz\r\n" + marker + "\r\n0\r\n\r\n", "-1\r\n\r\n", "ffffffffffffffff0\r\n" + marker, "5\r\nabc\r\n0\r\n\r\n"} {
		a := d.raw(t, head+chunks)
		a.mustRefuse(t, 400, "incomplete_body")
		d.mustRecord(t, a)
	}
	if after := d.dump(t); after != before {
		t.Error("the store changed")
	}
	text := createBody("good", "value")
	d.raw(t, fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", head, len(text), text)).want(t, 201)
}

// TestExpectContinue: the body is asked for only from somebody who may send one.
func TestExpectContinue(t *testing.T) {
	d := newDoor(t)
	text := createBody("thing", "value")
	head := func(key string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n", kv, len(text), key)
	}
	if a := d.raw(t, head("nobody")); a.status != 401 {
		t.Errorf("a stranger got %d", a.status)
	}
	conn, err := net.Dial("tcp", d.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, head(d.key()))
	must(t, err)
	const proceed = "HTTP/1.1 100 Continue\r\n\r\n"
	interim := make([]byte, len(proceed))
	_, err = io.ReadFull(conn, interim)
	must(t, err)
	if string(interim) != proceed {
		t.Fatalf("got %q", interim)
	}
	_, err = io.WriteString(conn, text)
	must(t, err)
	readAnswer(t, conn).want(t, 201)
}

// TestClientGone: a client that hangs up in the middle of a create leaves either an object or none, and
// the audit trail says which.
func TestClientGone(t *testing.T) {
	d := newDoor(t)
	const attempts = 60
	var wg sync.WaitGroup
	for i := range attempts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(100*time.Millisecond))
			defer cancel()
			_, _ = d.try(ctx, create(createBody(fmt.Sprintf("gone-%d", i), "value")))
		})
	}
	wg.Wait()
	// Half a body, then nothing: no intent may follow from that.
	conn, err := net.Dial("tcp", d.addr)
	must(t, err)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: Bearer %s\r\n\r\n{\"name\":\"half", kv, d.key())
	must(t, err)
	must(t, conn.Close())

	said := settledOutcomes(t, d)
	stored := 0
	for i := range attempts {
		name := fmt.Sprintf("gone-%d", i)
		a := d.do(t, get(kv+"/name/"+name))
		if there := a.status == 200; there != (said[name] == audit.Allowed) {
			t.Errorf("%s: status %d, audit trail says %q", name, a.status, said[name])
		} else if there {
			stored++
		}
	}
	t.Logf("%d of %d were stored", stored, attempts)
	d.do(t, get(kv+"/name/half")).want(t, 404)
	d.alive(t)
}

// settledOutcomes waits until every intent has its outcome, and returns the result by object name.
func settledOutcomes(t testing.TB, d *door) map[string]audit.Result {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		open, results := map[uint64]bool{}, map[string]audit.Result{}
		for _, r := range d.stack.MustAuditRecords(t) {
			switch r.Phase {
			case audit.Intent:
				open[r.Index] = true
			case audit.Outcome:
				delete(open, r.Intent)
				results[r.ObjectName] = r.Result
			}
		}
		if len(open) == 0 {
			return results
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d intents without an outcome", len(open))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
