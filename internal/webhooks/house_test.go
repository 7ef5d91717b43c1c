package webhooks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/logtest"
	"culvert/internal/webhooks"
	"culvert/vault/vaulttest"
)

// patience is what a test waits for a condition on a busy machine.
const patience = 30 * time.Second

// received is one delivery as it arrived.
type received struct {
	ID, Event string
	Data      struct {
		Name string `json:"kv_name"`
	}
	header http.Header
	body   string
}

// receiver is an endpoint on loopback. answer decides on each delivery, and may be changed.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	all    []received
	answer func(http.ResponseWriter, *http.Request, received)
}

func newReceiver(t testing.TB, answer func(http.ResponseWriter, *http.Request, received)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		d := received{header: q.Header, body: string(body)}
		if err := json.Unmarshal(body, &d); err != nil {
			t.Errorf("a delivery is no JSON: %v", err)
		}
		r.mu.Lock()
		r.all = append(r.all, d)
		answer := r.answer
		r.mu.Unlock()
		answer(w, q, d)
	}))
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func ok(http.ResponseWriter, *http.Request, received) {}

func status(code int) func(http.ResponseWriter, *http.Request, received) {
	return func(w http.ResponseWriter, _ *http.Request, _ received) { w.WriteHeader(code) }
}

// answers changes what the receiver answers from now on.
func (r *receiver) answers(answer func(http.ResponseWriter, *http.Request, received)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) deliveries() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.all...)
}

// names are the objects that arrived, each once, in the order in which they came first.
func (r *receiver) names() []string {
	var names []string
	seen := map[string]bool{}
	for _, d := range r.deliveries() {
		if !seen[d.ID] {
			seen[d.ID] = true
			names = append(names, d.Data.Name)
		}
	}
	return names
}

// mustReceive waits for these objects in this order, and that each came at least once.
func (r *receiver) mustReceive(t testing.TB, want ...string) {
	t.Helper()
	eventually(t, func() error {
		if got := r.names(); strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("received %q, want %q", got, want)
		}
		return nil
	})
}

func eventually(t testing.TB, condition func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = condition(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// replica is one process: its stack, the use cases, and who delivers.
type replica struct {
	*vaulttest.Stack
	hooks     *webhooks.Webhooks
	deliverer *webhooks.Deliverer
	log       *logtest.Buffer
}

// timing is that of tests: an attempt has time on a busy machine, and the next one comes soon.
func timing() webhooks.Timing {
	return webhooks.Timing{Timeout: 10 * time.Second, First: 10 * time.Millisecond, Longest: 50 * time.Millisecond, For: time.Hour}
}

// newReplica stands on a stack. change edits how it delivers; nil for one that does not.
func newReplica(t testing.TB, s *vaulttest.Stack, change func(*webhooks.DelivererConfig)) *replica {
	t.Helper()
	r := &replica{Stack: s, log: &logtest.Buffer{}}
	egress := mustEgress(t, true)
	var err error
	r.hooks, err = webhooks.New(webhooks.Config{Store: s.Store, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit, Egress: egress})
	must(t, err)
	if change == nil {
		return r
	}
	c := webhooks.DelivererConfig{
		Store: s.Store, Environments: s.Environments, Egress: egress, Timing: timing(), Poll: 20 * time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	change(&c)
	r.deliverer, err = webhooks.NewDeliverer(c)
	must(t, err)
	t.Cleanup(r.deliverer.Close)
	return r
}

func asIs(*webhooks.DelivererConfig) {}

func mustEgress(t testing.TB, loopback bool) *connectors.Egress {
	t.Helper()
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: loopback})
	must(t, err)
	return egress
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustEndpoint makes an endpoint for the objects that are made.
func (r *replica) mustEndpoint(t testing.TB, url string) webhooks.Revealed {
	t.Helper()
	made, err := r.hooks.Create(t.Context(), r.Call(), webhooks.CreateRequest{URL: url, Events: []string{"vault.data.created"}})
	must(t, err)
	return made
}

// mustObjects makes objects of these names.
func (r *replica) mustObjects(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		r.MustCreate(t, name, "value of "+name)
	}
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%02d", prefix, i)
	}
	return names
}

// view shows an endpoint.
func (r *replica) view(t testing.TB, id webhooks.EndpointID) webhooks.View {
	t.Helper()
	v, err := r.hooks.Endpoint(t.Context(), r.Call(), id)
	must(t, err)
	return v
}

// attempts are the latest attempts, the newest first.
func (r *replica) attempts(t testing.TB, id webhooks.EndpointID) []webhooks.Delivery {
	t.Helper()
	page, err := r.hooks.Deliveries(t.Context(), r.Call(), webhooks.AttemptQuery{ID: id, Limit: 100})
	must(t, err)
	return page.Data
}

// signedBy reports whether the signature that SDKs verify is of a secret.
func (d received) signedBy(secret string) bool {
	at, signature, found := strings.Cut(strings.TrimPrefix(d.header.Get("WorkOS-Signature"), "t="), ", v1=")
	return found && signature == signature256(secret, at, d.body)
}

// alsoSignedBy reports whether a secret is among those of our own header.
func (d received) alsoSignedBy(secret string) bool {
	at, signatures, _ := strings.Cut(strings.TrimPrefix(d.header.Get("Culvert-Signature"), "t="), ", v1=")
	return strings.Contains(signatures, signature256(secret, at, d.body))
}

func signature256(secret, at, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(at + "." + body))
	return hex.EncodeToString(mac.Sum(nil))
}

// anarchy is a store in which everybody has every lock: what locks save is work, and nothing else may depend on
// them.
type anarchy struct{ webhooks.Store }

func (anarchy) LockEndpoint(context.Context, access.EnvironmentID, webhooks.EndpointID, string) (bool, error) {
	return true, nil
}
