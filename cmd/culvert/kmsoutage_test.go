package main_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/keys/keystest"
)

// say sends a request and returns status and body, whatever they are.
func (a *API) say(t *testing.T, method, path, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// await asks until the answer is as it should be.
func (a *API) await(t *testing.T, method, path, body string, status int, want string) {
	t.Helper()
	var got int
	var text string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got, text = a.say(t, method, path, body); got == status && strings.Contains(text, want) {
			return
		}
	}
	t.Fatalf("%s %s: %d %s, want %d with %s", method, path, got, text, status, want)
}

// TestKMSOutage: while the KMS does not answer, what was in use is read on, what was not fails and names the
// root key, and readiness is degraded and not red. When it is back, so is everything.
func TestKMSOutage(t *testing.T) {
	kms := keystest.NewAWS(t)
	keystest.SetAWSCredentials(t)
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	p := MustStartDev(t, dir, addrs[0], "--set", "root_key.provider=awskms",
		"--set", "root_key.key="+kms.NewKey(t, keystest.AWSAccount), "--set", "root_key.endpoint="+kms.Endpoint())
	api := MustAPI(t, p.Base, dir)
	const cold = `{"name":"cold","value":"v","key_context":{"organization_id":"org_2"}}`
	api.await(t, "POST", "/vault/v1/kv", `{"name":"warm","value":"v","key_context":{"organization_id":"org_1"}}`, 201, `"id":`)
	api.await(t, "GET", "/vault/v1/kv/name/warm", "", 200, `"value":"v"`)

	kms.Fail("", keystest.Fault{Code: "KMSInternalException", Status: http.StatusInternalServerError})
	api.await(t, "POST", "/vault/v1/kv", cold, 503, `"code":"root_key_unavailable"`)
	api.await(t, "GET", "/readyz", "", 200, `{"name":"root_key","status":"degraded","reason":"the root key does not answer`)
	api.await(t, "GET", "/vault/v1/kv/name/warm", "", 200, `"value":"v"`)

	kms.Fail("", keystest.Fault{})
	api.await(t, "POST", "/vault/v1/kv", cold, 201, `"id":`)
	api.await(t, "GET", "/readyz", "", 200, `{"name":"root_key","status":"ready"`)
}
