package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/internal/export"
	"culvert/internal/id"
	"culvert/internal/logtest"
	"culvert/internal/proof"
	"culvert/internal/stream"
	"culvert/internal/webhooks"
	"culvert/pipes"
	"culvert/pipes/pipestest"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// door is a server on a loopback listener over the real stack.
type door struct {
	stack *vaulttest.Stack
	// pipes is the stack with a provider; nil for doors of tests that need none.
	pipes  *pipestest.Stack
	server *server.Server
	// other is the API key that requests have instead of the administrator's; empty for that one.
	other string
	// addr is host:port, for tests that write HTTP by hand.
	addr string
	// log is everything the server wrote to its logger.
	log *logtest.Buffer
}

func newDoor(t *testing.T) *door {
	t.Helper()
	return newDoorWith(t, vaulttest.Config{}, nil)
}

// newDoorWith builds a door over a special stack; change, if any, edits the server's configuration.
func newDoorWith(t *testing.T, stack vaulttest.Config, change func(*server.Config)) *door {
	t.Helper()
	d := &door{stack: vaulttest.WithConfig(t, stack), log: &logtest.Buffer{}}
	d.open(t, change)
	return d
}

// newPipesDoor builds a door over a stack with a provider, for an application whose pages are at popupOrigin.
func newPipesDoor(t *testing.T, c pipestest.Config) *door {
	t.Helper()
	d := &door{pipes: pipestest.WithConfig(t, c), log: &logtest.Buffer{}}
	d.stack = d.pipes.Stack
	d.open(t, func(c *server.Config) { c.CORSOrigins = []string{popupOrigin} })
	return d
}

// open serves the door over its stack.
func (d *door) open(t *testing.T, change func(*server.Config)) {
	t.Helper()
	config := d.config(t)
	if change != nil {
		change(&config)
	}
	var err error
	d.server, err = server.New(config)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d.addr = listener.Addr().String()
	h, limited := d.server.HTTPServer(), d.server.Listener(listener)
	served := make(chan error, 1)
	go func() { served <- h.Serve(limited) }()
	t.Cleanup(func() {
		must(t, h.Close())
		<-served
	})
}

// config is a complete one over the door's stack.
func (d *door) config(t testing.TB) server.Config {
	t.Helper()
	log, err := events.New(events.Config{Store: d.stack.Store, Gate: d.stack.Gate, Audit: d.stack.Audit})
	must(t, err)
	now := time.Now
	if d.pipes != nil {
		now = d.pipes.Clock.Now
	}
	return server.Config{
		Now: now, Admission: d.stack.Register, Environments: d.stack.Others,
		Vault: d.stack.Vault, Pipes: d.broker(t), Keys: d.stack.Operations, PublicURL: pipestest.PublicURL, Events: log, Webhooks: d.webhooks(t), Auditor: d.auditor(t), Streams: d.streams(t), Exports: d.exports(t), Gate: d.stack.Gate, Audit: d.stack.Audit,
		Health: func(context.Context) []server.Check {
			return []server.Check{{Name: "etcd", State: server.Ready}}
		},
		Logger: slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// auditor asks the audit log of the door's stack. What is signed is up to the test.
func (d *door) auditor(t testing.TB) *proof.Auditor {
	t.Helper()
	auditor, err := proof.New(proof.Config{
		Log: d.stack.Audit, Gate: d.stack.Gate, Fence: d.stack.Store.Fence, Checkpoints: d.stack.Store.Checkpoints(d.stack.Environment.ID()),
		Key:  func() string { return d.stack.Environment.Signer().VerifierKey() },
		Home: d.stack.Environment.ID(), Rotate: func(context.Context) (string, error) { return "another key", nil },
	})
	must(t, err)
	return auditor
}

// exports are of the stack's audit log.
func (d *door) exports(t testing.TB) *export.Exports {
	t.Helper()
	clock := id.NewClock(time.Now)
	exports, err := export.Open(export.Config{
		Log: d.stack.Audit, Gate: d.stack.Gate, Fence: d.stack.Store.Fence, Nodes: d.stack.Store.Checkpoints(d.stack.Environment.ID()).Nodes,
		Dir: filepath.Join(t.TempDir(), "exports"), NewID: func() string { return id.ULID(clock.Now()) }, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() { must(t, exports.Close()) })
	return exports
}

// streams are of the stack's audit log: one, into a file.
func (d *door) streams(t testing.TB) *stream.Desk {
	t.Helper()
	streams, err := stream.Start(stream.Config{
		Log: d.stack.Audit, Dir: filepath.Join(t.TempDir(), "streams"), Timing: stream.Timing{Poll: 100 * time.Millisecond},
		Streams: []stream.Spec{{Name: "disk", Kind: stream.File, Path: filepath.Join(filepath.Dir(d.stack.AuditDir), "streamed.jsonl")}},
	})
	must(t, err)
	t.Cleanup(func() { must(t, streams.Close()) })
	desk, err := stream.NewDesk(stream.DeskConfig{
		Streams: streams, Gate: d.stack.Gate, Audit: d.stack.Audit, Fence: d.stack.Store.Fence, Now: time.Now,
	})
	must(t, err)
	return desk
}

// webhooks are the use cases around endpoints, which may be on loopback. Nothing delivers.
func (d *door) webhooks(t testing.TB) *webhooks.Webhooks {
	t.Helper()
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	must(t, err)
	hooks, err := webhooks.New(webhooks.Config{
		Store: d.stack.Store, Environments: d.stack.Environments, Gate: d.stack.Gate, Audit: d.stack.Audit, Egress: egress,
	})
	must(t, err)
	return hooks
}

// broker is the stack's, or one without a provider.
func (d *door) broker(t testing.TB) *pipes.Broker {
	t.Helper()
	if d.pipes != nil {
		return d.pipes.Broker
	}
	return pipestest.MustBare(t, d.stack)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key is the administrator's API key as clients send it.
func (d *door) key() string {
	if d.other != "" {
		return d.other
	}
	return string(d.stack.APIKey.Text().Reveal())
}

// request is what a test sends. Its zero fields are those of a well-behaved client.
type request struct {
	method, path string
	// body is sent as it is.
	body string
	// header replaces the default headers of the same name; a nil value leaves one out.
	header map[string][]string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with the administrator's key.
func (d *door) do(t testing.TB, q request) answer {
	t.Helper()
	a, err := d.try(t.Context(), q)
	must(t, err)
	return a
}

func (d *door) try(ctx context.Context, q request) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, "http://"+d.addr, strings.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	// Opaque goes onto the wire as it is: net/url would tidy up what the test wants to send. Only a path
	// that begins with two slashes has to take the absolute form.
	path, query, _ := strings.Cut(q.path, "?")
	if strings.HasPrefix(path, "//") {
		path = "//" + d.addr + path
	}
	r.URL.Opaque, r.URL.RawQuery = path, query
	r.Header["Authorization"] = []string{"Bearer " + d.key()}
	if q.body != "" {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	for name, values := range q.header {
		r.Header[name] = values
		if values == nil {
			delete(r.Header, name)
		}
	}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

// client neither follows redirects nor waits for ever.
var client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// raw sends bytes and reads one answer, for what net/http's client refuses to send.
func (d *door) raw(t testing.TB, text string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	must(t, err)
	return readAnswer(t, conn)
}

// object is the JSON object in a body.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		t.Fatalf("status %d, body is no JSON object: %v\n%.300s", a.status, err, a.body)
	}
	return o
}

// code is the error code of a body.
func (a answer) code(t testing.TB) string {
	t.Helper()
	code, _ := a.object(t)["code"].(string)
	return code
}

// want fails unless the answer has this status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d\n%.500s", a.status, status, a.body)
	}
	return a
}

// createBody is the body of a create.
func createBody(name, value string, pairs ...string) string {
	items := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		items[pairs[i]] = pairs[i+1]
	}
	b, err := json.Marshal(map[string]any{"name": name, "value": value, "key_context": items})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// mustCreate stores a value over HTTP and returns the metadata.
func (d *door) mustCreate(t testing.TB, name, value string) map[string]any {
	t.Helper()
	return d.do(t, request{method: "POST", path: "/vault/v1/kv", body: createBody(name, value, "org", "o1")}).
		want(t, 201).object(t)
}

// dump is everything a caller can see of the store: names, ids, versions and values, and the events.
func (d *door) dump(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for after := ""; ; {
		path := "/vault/v1/kv?limit=100&order=asc"
		if after != "" {
			path += "&after=" + after
		}
		page := d.do(t, request{method: "GET", path: path}).want(t, 200)
		b.WriteString(page.body)
		o := page.object(t)
		for _, entry := range o["data"].([]any) {
			id := entry.(map[string]any)["id"].(string)
			b.WriteString(d.do(t, request{method: "GET", path: "/vault/v1/kv/" + id}).want(t, 200).body)
			b.WriteString(d.do(t, request{method: "GET", path: "/vault/v1/kv/" + id + "/versions"}).want(t, 200).body)
		}
		var more bool
		if after, more = o["list_metadata"].(map[string]any)["after"].(string); !more {
			break
		}
	}
	b.WriteString(d.do(t, request{method: "GET", path: allEvents + "&limit=100&order=desc"}).want(t, 200).body)
	return b.String()
}

const allEvents = "/events?events=vault.data.created,vault.data.updated,vault.data.deleted,vault.kek.created"

// unique gives every case a name of its own.
func unique(prefix string) string { return fmt.Sprintf("%s-%d", prefix, time.Now().UnixNano()) }

// auditText is the audit log as it stands on disk.
func auditText(t testing.TB, d *door) string {
	t.Helper()
	return filesUnder(t, d.stack.AuditDir)
}

// filesUnder is the content of every file below a directory.
func filesUnder(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		b.WriteString("\n" + path + "\n")
		b.Write(bytes.TrimRight(content, "\x00")) // etcd's files are made longer than they are
		return err
	}))
	return b.String()
}
