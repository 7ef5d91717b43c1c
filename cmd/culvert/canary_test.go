package main_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// canaryValue stands for every secret that clients bring.
const canaryValue = "c4naryB1n4ry7e1d0b2a"

// aviary is a process, what receives of it, and the secrets that must be nowhere.
type aviary struct {
	*API
	dir, admin string
	process    *Process
	// secrets are those that were brought and those that were given out, by where they came from.
	secrets map[string]string

	mu sync.Mutex
	// received is everything that the webhook receivers were sent. Guarded by mu.
	received strings.Builder
}

func mustAviary(t *testing.T) *aviary {
	t.Helper()
	addrs, err := freeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	p := MustStartDev(t, dir, addrs[0], "--set", "admin_addr="+addrs[1], "--set", "audit.streams.disk.type=file", "--set", "audit.streams.disk.path="+filepath.Join(t.TempDir(), "stream"),
		"--set", "webhooks.retry_first=100ms", "--set", "webhooks.retry_longest=200ms", "--set", "webhooks.retry_for=1s")
	a := &aviary{API: MustAPI(t, p.Base, dir), dir: dir, admin: "http://" + addrs[1], process: p, secrets: map[string]string{"canary": canaryValue}}
	a.secrets["root key"] = a.key
	return a
}

// receiver notes what it is sent, and answers with it.
func (a *aviary) receiver(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = r.Header.Write(&a.received)
		a.received.Write(body)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// do sends a request that has to succeed and keeps the secrets of its answer.
func (a *aviary) do(t *testing.T, method, path, body string) (answer map[string]any) {
	t.Helper()
	status, text := a.say(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, member := range []string{"value", "secret", "data_key"} {
		if secret, ok := answer[member].(string); ok && secret != canaryValue {
			a.secrets[method+" "+path+" "+member] = secret
		}
	}
	return answer
}

// live does what makes records, events, deliveries and log lines of every kind, with success and without.
func (a *aviary) live(t *testing.T) (endpoints []string) {
	t.Helper()
	for _, url := range []string{a.receiver(t, 200), a.receiver(t, 500)} {
		made := a.do(t, "POST", "/webhook_endpoints", fmt.Sprintf(`{"endpoint_url":%q,"events":["vault.data.created","vault.data.updated","vault.data.deleted","pipes.connected_account.connected"]}`, url))
		endpoints = append(endpoints, made["id"].(string))
		a.do(t, "POST", "/culvert/v1/webhooks/"+made["id"].(string)+"/rotate-secret", `{"overlap":"1h"}`)
	}
	id := a.do(t, "POST", "/vault/v1/kv", `{"name":"seen","value":"`+canaryValue+`","key_context":{"organization_id":"org_1"}}`)["id"].(string)
	a.do(t, "GET", "/vault/v1/kv/"+id, "")
	a.do(t, "PUT", "/vault/v1/kv/"+id, `{"value":"`+canaryValue+`"}`)
	blob := a.do(t, "POST", "/vault/v1/keys/data-key", `{"context":{"organization_id":"org_1"}}`)["encrypted_keys"].(string)
	a.do(t, "POST", "/vault/v1/keys/decrypt", `{"keys":"`+blob+`"}`)
	made := a.do(t, "POST", "/culvert/v1/api-keys", `{"name":"reader","role":"reader"}`)
	a.do(t, "POST", "/culvert/v1/api-keys/"+made["id"].(string)+"/rotate", `{"overlap":"1h"}`)
	owned := a.do(t, "POST", "/organizations/org_1/api_keys", `{"name":"owned"}`)
	a.do(t, "POST", "/api_keys/validations", `{"value":"`+owned["value"].(string)+`"}`)
	a.do(t, "POST", "/data-integrations", `{"provider":"github","enabled":true,"credentials":{"type":"custom","client_id":"id","client_secret":"`+canaryValue+`"}}`)
	a.do(t, "POST", "/user_management/users/user_1/connected_accounts/github",
		`{"access_token":"`+canaryValue+`","refresh_token":"`+canaryValue+`","expires_at":"2100-01-01T00:00:00Z","scopes":["read:user"]}`)
	a.do(t, "POST", "/data-integrations/github/token", `{"user_id":"user_1"}`)
	a.do(t, "DELETE", "/vault/v1/kv/"+id, "")

	for source, secret := range a.secrets {
		stranger := a.with(secret)
		if source == "root key" {
			stranger = a.with(secret + "x")
		}
		for _, call := range [][3]string{
			{"POST", "/vault/v1/kv", `{"name":["` + secret + `"],"value":"` + secret},
			{"GET", "/vault/v1/kv/" + secret, ""}, {"GET", "/" + secret, ""}, {"GET", "/events?events=" + secret, ""},
			{"POST", "/api_keys/validations", `{"value":["` + secret + `"]}`}, {"DELETE", "/culvert/v1/api-keys/" + secret, ""},
			{"POST", "/data-integrations/" + secret + "/token", `{"user_id":"user_1"}`},
			{"GET", "/culvert/v1/audit/records?outcome=" + secret, ""},
		} {
			for _, client := range []*API{a.API, stranger} {
				if status, text := client.say(t, call[0], call[1], call[2]); status < 400 || strings.Contains(text, secret) {
					t.Errorf("%s %s with the %s: %d %s", call[0], call[1], source, status, text)
				}
			}
		}
	}
	return endpoints
}

// left is everything that the process says of what it did, to whoever may ask, and all it left behind.
func (a *aviary) left(t *testing.T, endpoints []string) map[string]string {
	t.Helper()
	places := map[string]string{}
	page := func(path string) {
		status, text := a.say(t, "GET", path, "")
		if status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
		places[path] = text
	}
	// The one whose receiver refuses has a dead letter in the end.
	a.await(t, "GET", "/culvert/v1/webhooks/"+endpoints[1]+"/dead-letters", "", 200, "webhook_dead_letter")
	for _, id := range endpoints {
		page("/culvert/v1/webhooks/" + id)
		page("/culvert/v1/webhooks/" + id + "/deliveries")
		page("/culvert/v1/webhooks/" + id + "/dead-letters")
	}
	for _, path := range []string{
		"/webhook_endpoints", "/events?events=vault.data.created,vault.data.read,vault.data.updated,vault.data.deleted,pipes.connected_account.connected,api_key.created",
		"/culvert/v1/audit/records?action=vault.data.read", "/culvert/v1/audit/records?last=100", "/culvert/v1/audit/checkpoints", "/culvert/v1/audit/streams", "/culvert/v1/api-keys", "/organizations/org_1/api_keys",
		"/culvert/v1/keks", "/user_management/users/user_1/data_providers",
	} {
		page(path)
	}
	metrics, err := http.Get(a.admin + "/metrics")
	must(t, err)
	defer func() { _ = metrics.Body.Close() }()
	text, err := io.ReadAll(metrics.Body)
	must(t, err)
	places["metrics"] = string(text)
	for _, format := range []string{"json", "csv"} {
		out, err := exec.Command("culvert", "audit", "export", "--dir", a.dir, "--format", format).Output()
		must(t, err)
		places["audit export as "+format] = string(out)
	}
	a.process.MustStop(t)
	places["log"] = a.process.logs.String()
	a.mu.Lock()
	defer a.mu.Unlock()
	places["webhooks"] = a.received.String()
	return places
}

// files are the contents of everything below a directory but for the root API key's own file.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "root-api-key" {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	must(t, err)
	return all.String()
}

// TestCanaryEverywhere: no secret that was brought to the built binary, or that it gave out, stands in anything that
// it tells of itself: webhooks, their logs and dead letters, events, audit records and what is made of them, metrics,
// the log, and its files.
func TestCanaryEverywhere(t *testing.T) {
	t.Parallel()
	a := mustAviary(t)
	endpoints := a.live(t)
	places := a.left(t, endpoints)
	places["files"] = files(t, filepath.Dir(filepath.Dir(a.dir)))
	for place, text := range places {
		for source, secret := range a.secrets {
			for form, needle := range written(secret) {
				if at := strings.Index(text, needle); at >= 0 {
					t.Errorf("%s holds the %s as %s: …%q…", place, source, form, text[max(0, at-100):at])
				}
			}
		}
	}
	// The search can find something: what is no secret stands in each of these.
	for place, known := range map[string]string{
		"webhooks": `"kv_name":"seen"`, "audit export as json": `"object_name":"seen"`, "audit export as csv": "seen", "metrics": "culvert_", "log": "/vault/v1/kv/:id",
		"files": "seen", "/culvert/v1/webhooks/" + endpoints[1] + "/deliveries": "webhook_delivery", "/culvert/v1/audit/records?action=vault.data.read": "vault.data.read",
	} {
		if !strings.Contains(places[place], known) {
			t.Errorf("%s has no %q: %.2000s", place, known, places[place])
		}
	}
	if len(a.secrets) < 10 {
		t.Errorf("only %d secrets were looked for", len(a.secrets))
	}
}

// written are the ways in which a secret may have been written down; of base 64 there are three, by where in a group
// of three bytes it begins.
func written(secret string) map[string]string {
	forms := map[string]string{"itself": secret, "hex": hex.EncodeToString([]byte(secret))}
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		forms[fmt.Sprint("base 64, shifted by ", shift)] = encoded[4 : len(encoded)-3]
	}
	return forms
}
