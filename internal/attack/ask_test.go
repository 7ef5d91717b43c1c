package attack_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
)

// What an answer comes to.
const (
	ok        = "ok"
	integrity = "integrity_failure"
	rejected  = "unauthorized"
	// noStart is a process that does not start on the store.
	noStart = "no start"
)

// bound is how long any answer may take: the five seconds that a request waits for etcd, which none of
// these has to, and a few for a busy machine.
const bound = 9 * time.Second

// request is one call of the API.
type request struct {
	key          access.APIKey
	method, path string
	body         string
	idempotency  string
}

// do sends a request and returns its verdict (ok, or the code of a clean refusal) and its body.
func (h *house) do(t testing.TB, q request) (verdict string, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), q.method, h.base+q.path, strings.NewReader(q.body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+string(q.key.Text().Reveal()))
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.idempotency != "" {
		r.Header.Set("Idempotency-Key", q.idempotency)
	}
	began := time.Now()
	resp, err := h.client.Do(r)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	must(t, err)
	if took := time.Since(began); took > bound {
		t.Errorf("%s %s took %v", q.method, q.path, took)
	}
	if resp.StatusCode < 300 {
		return ok, body
	}
	return h.refusal(t, q, resp, body), body
}

// refusal holds an error to its form: one JSON object of known members, which names the request.
func (h *house) refusal(t testing.TB, q request, resp *http.Response, body []byte) string {
	t.Helper()
	var p map[string]string
	must(t, json.Unmarshal(body, &p))
	want := []string{"code", "message", "request_id"}
	if strings.HasPrefix(q.path, "/vault/") {
		want = []string{"code", "error", "message", "request_id"}
	}
	if got := slices.Sorted(maps.Keys(p)); !slices.Equal(got, want) {
		t.Errorf("%s %s: the refusal has the members %v", q.method, q.path, got)
	}
	if p["request_id"] == "" || p["request_id"] != resp.Header.Get("X-Request-Id") {
		t.Errorf("%s %s: request id %q, header %q", q.method, q.path, p["request_id"], resp.Header.Get("X-Request-Id"))
	}
	statuses := map[string]int{integrity: 500, rejected: 401}
	if status, known := statuses[p["code"]]; known && resp.StatusCode != status {
		t.Errorf("%s %s: %s with status %d", q.method, q.path, p["code"], resp.StatusCode)
	}
	if p["code"] == integrity {
		h.mu.Lock()
		h.refusals = append(h.refusals, p["request_id"])
		h.mu.Unlock()
	}
	return p["code"]
}

// mustDo is do for what has to work.
func (h *house) mustDo(t testing.TB, q request) []byte {
	t.Helper()
	verdict, body := h.do(t, q)
	if verdict != ok {
		t.Fatalf("%s %s: %s", q.method, q.path, verdict)
	}
	return body
}

// checkTrail compares what clients were told with what an operator is told: each integrity failure has
// its one audit record, each broken API key record one at least and no more than it was met, the metric counts both,
// and nothing panicked.
func (h *house) checkTrail(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	told := map[string]int{}
	keysTold := map[string]int{}
	for _, r := range h.stack.MustAuditRecords(t) {
		if r.Code != integrity {
			continue
		}
		if r.Result != audit.Failed || r.Phase == audit.Intent {
			t.Errorf("audit record %d: %s %s with code %s", r.Index, r.Phase, r.Result, r.Code)
		}
		if r.Phase == audit.Internal {
			keysTold[r.KeyID]++
			continue
		}
		told[r.RequestID]++
	}
	for _, id := range h.refusals {
		if told[id] != 1 {
			t.Errorf("request %s was refused and has %d audit records that say so", id, told[id])
		}
		delete(told, id)
	}
	for id := range told {
		t.Errorf("the audit log has an integrity failure of request %s, which was told of none", id)
	}
	reported := map[string]int{}
	for _, id := range h.reported {
		reported[id]++
	}
	for _, id := range slices.Concat(slices.Collect(maps.Keys(reported)), slices.Collect(maps.Keys(keysTold))) {
		if n := keysTold[id]; n > reported[id] || n == 0 {
			t.Errorf("API key %s: %d audit records of its broken record, which was met %d times", id, n, reported[id])
		}
	}
	if got, want := h.integrityMetric(t), len(h.refusals)+len(h.reported); got != want {
		t.Errorf("the metric counts %d integrity failures, there were %d", got, want)
	}
	if i := strings.Index(h.log.String(), `"msg":"panic"`); i >= 0 {
		t.Errorf("panic: %s", h.log.String()[i:min(len(h.log.String()), i+2000)])
	}
	t.Logf("%d refusals, %d broken API key records", len(h.refusals), len(h.reported))
}

func (h *house) integrityMetric(t testing.TB) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	const name = "\nculvert_integrity_failures_total "
	_, rest, found := strings.Cut(w.Body.String(), name)
	value, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(value, 64)
	if !found || err != nil {
		t.Fatalf("metric %q: %v", value, err)
	}
	return int(n)
}

// object is what the tests remember of an object that they made.
type object struct {
	env               access.EnvironmentID
	id, name          string
	keyID             string
	context           map[string]string
	contextJSON, path string
}

// mustCreate makes an object. Its value is its name.
func (h *house) mustCreate(t testing.TB, env access.EnvironmentID, name string, context map[string]string) object {
	t.Helper()
	o := object{env: env, name: name, context: context}
	encoded, err := json.Marshal(context)
	must(t, err)
	o.contextJSON = string(encoded)
	var m struct {
		ID    string `json:"id"`
		KeyID string `json:"key_id"`
	}
	must(t, json.Unmarshal(h.mustDo(t, h.createRequest(o, "")), &m))
	o.id, o.keyID, o.path = m.ID, m.KeyID, "/vault/v1/kv/"+m.ID
	return o
}

func (h *house) createRequest(o object, idempotency string) request {
	return request{
		key: h.keyOf(o.env), method: http.MethodPost, path: "/vault/v1/kv", idempotency: idempotency,
		body: fmt.Sprintf(`{"name":%q,"value":%q,"key_context":%s}`, o.name, o.name, o.contextJSON),
	}
}

// get reads an object by its id.
func (h *house) get(o object) request {
	return request{key: h.keyOf(o.env), method: http.MethodGet, path: o.path}
}

// getByName reads it by its name, which the tests choose to be a plain word.
func (h *house) getByName(o object) request {
	return request{key: h.keyOf(o.env), method: http.MethodGet, path: "/vault/v1/kv/name/" + o.name}
}

// update stores another value.
func (h *house) update(o object, value string) request {
	return request{
		key: h.keyOf(o.env), method: http.MethodPut, path: o.path, body: fmt.Sprintf(`{"value":%q}`, value),
	}
}

// mustValue reads an object's value.
func (h *house) mustValue(t testing.TB, o object) string {
	t.Helper()
	var got struct {
		Value string `json:"value"`
	}
	must(t, json.Unmarshal(h.mustDo(t, h.get(o)), &got))
	return got.Value
}
