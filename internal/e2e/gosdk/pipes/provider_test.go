//go:build pipes

package pipes_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

// provider is an authorization server under test and its side door; package pipes of internal/e2e has
// it, and says there what may be asked.
type provider struct {
	name, origin, control string
}

func mustProvider(t *testing.T, name string) provider {
	t.Helper()
	var running struct {
		Control   string            `json:"control"`
		Providers map[string]string `json:"providers"`
	}
	if err := json.Unmarshal([]byte(os.Getenv("CULVERT_PROVIDERS")), &running); err != nil {
		t.Fatalf("CULVERT_PROVIDERS: %v: start this suite through go test -tags e2e ./internal/e2e/... in the main module", err)
	}
	return provider{name, running.Providers[name], running.Control}
}

// ask puts a request to the side door and requires that it succeeds.
func (p provider) ask(t *testing.T, verb string, body any) {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(p.control+"/"+p.name+"/"+verb, "application/json", bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %s: %s", p.name, verb, res.Status)
	}
}

// whoami asks an API of the provider whose token this is; "" if it does not take the token.
func (p provider) whoami(t *testing.T, path, member, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return ""
	}
	var said map[string]any
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	who, _ := said[member].(string)
	return who
}
