package stream_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/audit"
	"culvert/internal/stream"
)

// MustCollector serves until the test ends.
func MustCollector(t testing.TB, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return s
}

// TestHTTPSendsUntilAccepted: a receiver refuses, hangs, hangs up after it has read, redirects, and wants less; it gets
// every record in order, and again what it did not accept, under the same id.
func TestHTTPSendsUntilAccepted(t *testing.T) {
	var got, accepted received
	var redirected, n atomic.Int64
	ids := map[string]string{}
	elsewhere := MustCollector(t, func(http.ResponseWriter, *http.Request) { redirected.Add(1) })
	collector := MustCollector(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		entries := MustEntries(t, body)
		got.add(indices(entries)...)
		if id := r.Header.Get("Culvert-Batch"); id == "" || ids[id] != "" && ids[id] != string(body) {
			t.Errorf("batch %q came with different records", id)
		} else {
			ids[id] = string(body)
		}
		if first := indices(entries); r.Header.Get("Culvert-First-Index") != fmt.Sprint(first[0]) ||
			r.Header.Get("Culvert-Last-Index") != fmt.Sprint(first[len(first)-1]) || r.Header.Get("Culvert-Node") != "node-a" {
			t.Errorf("headers %v", r.Header)
		}
		switch i := n.Add(1); {
		case i == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case i == 2:
			<-r.Context().Done() // hangs until the client gives up
		case i == 3:
			panic(http.ErrAbortHandler) // read, and hung up
		case i == 4:
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case len(entries) > 10:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		default:
			accepted.add(indices(entries)...)
			w.WriteHeader(http.StatusAccepted)
		}
	})
	l := MustLog(t)
	MustAppend(t, l, 100)
	s, err := stream.Start(stream.Config{Log: l, Dir: t.TempDir(), Streams: []stream.Spec{
		{Name: "web", Kind: stream.HTTP, URL: collector.URL, Batch: 40},
	}, Timing: stream.Timing{Poll: time.Millisecond, Timeout: 300 * time.Millisecond, First: time.Millisecond, Longest: time.Millisecond, Checkpoint: time.Hour}})
	must(t, err)
	caughtUp(t, s, l)
	must(t, s.Close())
	wantAll(t, got.all(), l.Size())
	wantAll(t, accepted.all(), l.Size())
	if redirected.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestHTTPCredentials: token and signature are what the files hold at the moment, over TLS whose certificate is
// checked; a file that everybody may read is used for nothing.
func TestHTTPCredentials(t *testing.T) {
	ca := MustAuthority(t)
	pair, _, _ := ca.MustIssue(t, "server")
	dir := t.TempDir()
	token, secret := filepath.Join(dir, "token"), filepath.Join(dir, "secret")
	must(t, os.WriteFile(token, []byte("one\n"), 0o600))
	must(t, os.WriteFile(secret, []byte("shared\n"), 0o604))
	var seen atomic.Value
	collector := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var array []entry
		if err := json.Unmarshal(body, &array); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("not an array: %v", err)
		}
		at, mac, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Culvert-Signature"), "t="), ", v1=")
		want := hmac.New(sha256.New, []byte("shared"))
		want.Write([]byte(at + "." + string(body)))
		if mac != hex.EncodeToString(want.Sum(nil)) {
			t.Errorf("signature %q", r.Header.Get("Culvert-Signature"))
		}
		seen.Store(r.Header.Get("Authorization"))
	}))
	collector.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	collector.StartTLS()
	defer collector.Close()
	l := MustLog(t)
	s := MustStart(t, l, filepath.Join(dir, "streams"), stream.Spec{
		Name: "web", Kind: stream.HTTP, URL: collector.URL, CAFile: ca.file, TokenFile: token, SecretFile: secret, Format: stream.Array,
	})
	eventually(t, "refused", func() bool { return s.Statuses(time.Now())[0].Reason == stream.ReasonCredentials })
	if seen.Load() != nil {
		t.Error("something was sent")
	}
	must(t, os.Chmod(secret, 0o600))
	caughtUp(t, s, l)
	must(t, os.WriteFile(token, []byte("two\n"), 0o600))
	MustAppend(t, l, 1)
	caughtUp(t, s, l)
	if got := seen.Load(); got != "Bearer two" {
		t.Errorf("authorization %v", got)
	}
}

// TestHTTPIsLeftAlone: a receiver that asks for time gets it.
func TestHTTPIsLeftAlone(t *testing.T) {
	var n atomic.Int64
	collector := MustCollector(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	l := MustLog(t)
	s := MustStart(t, l, t.TempDir(), stream.Spec{Name: "web", Kind: stream.HTTP, URL: collector.URL},
		stream.Spec{Name: "disk", Kind: stream.File, Path: filepath.Join(t.TempDir(), "a")})
	eventually(t, "refused", func() bool { return s.Statuses(time.Now())[0].Reason == stream.ReasonTooMany })
	// The other stream goes through many times the pause of a receiver that does not ask.
	for range 20 {
		MustAppend(t, l, 1)
		eventually(t, "the other stream", func() bool { return s.Statuses(time.Now())[1].Next == l.Size() })
	}
	if got := n.Load(); got != 1 {
		t.Errorf("asked %d times within the hour", got)
	}
}

// TestDeadReceiversDelayNothing: receivers that take a connection and nothing else hold up no record and no other
// stream.
func TestDeadReceiversDelayNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }() // connections wait in its backlog, for ever
	address := listener.Addr().String()
	l := MustLog(t)
	s, err := stream.Start(stream.Config{Log: l, Dir: t.TempDir(), Timing: stream.Timing{Poll: time.Millisecond}, Streams: []stream.Spec{
		{Name: "web", Kind: stream.HTTP, URL: "http://" + address}, {Name: "siem", Kind: stream.Syslog, Address: address},
		{Name: "disk", Kind: stream.File, Path: filepath.Join(t.TempDir(), "a")},
	}})
	must(t, err)
	for range 50 {
		// An append that waited for a stream would wait for its 30 seconds, which is an outage of the log.
		_, err := l.Append(t.Context(), audit.Record{Action: "vault.data.read", Phase: audit.Access, Result: audit.Allowed})
		must(t, err)
	}
	eventually(t, "the file", func() bool { return s.Statuses(time.Now())[2].Next == l.Size() })
	if next, _ := s.Needed(); next != 0 {
		t.Errorf("something was delivered, up to %d", next)
	}
	must(t, s.Close())
}
