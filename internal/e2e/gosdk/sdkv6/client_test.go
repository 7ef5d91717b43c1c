// Package sdkv6_test drives the server with github.com/workos/workos-go/v6, the last version whose
// locally encrypted data other languages can read. It knows nothing of rekey, search, idempotency keys,
// or version checks on delete.
package sdkv6_test

import (
	"errors"
	"testing"

	"github.com/workos/workos-go/v6/pkg/vault"
	"github.com/workos/workos-go/v6/pkg/workos_errors"

	"culvert/internal/e2e/gosdk/sdktest"
)

func newClient(t *testing.T) *vault.Client {
	t.Helper()
	s := sdktest.Ours(t)
	return &vault.Client{APIKey: s.APIKey, Endpoint: s.BaseURL}
}

func mustCreate(t *testing.T, c *vault.Client, name string, keyContext vault.KeyContext) vault.Object {
	t.Helper()
	value := sdktest.Secret("")
	metadata, err := c.CreateObject(t.Context(), vault.CreateObjectOpts{Name: name, Value: value, KeyContext: keyContext})
	if err != nil {
		t.Fatalf("create %q: %v", name, err)
	}
	return vault.Object{Id: metadata.Id, Name: name, Value: value, Metadata: metadata}
}

func mustRead(t *testing.T, c *vault.Client, id string) vault.Object {
	t.Helper()
	o, err := c.ReadObject(t.Context(), vault.ReadObjectOpts{Id: id})
	if err != nil {
		t.Fatalf("read %s: %v", id, err)
	}
	return o
}

func mustUpdate(t *testing.T, c *vault.Client, opts vault.UpdateObjectOpts) vault.Object {
	t.Helper()
	o, err := c.UpdateObject(t.Context(), opts)
	if err != nil {
		t.Fatalf("update %s: %v", opts.Id, err)
	}
	return o
}

func refused(t *testing.T, err error, status int, message string) {
	t.Helper()
	var refusal workos_errors.HTTPError
	if !errors.As(err, &refusal) {
		t.Fatalf("want a refusal with %d, got error %v", status, err)
	}
	if refusal.Code != status || refusal.RequestID == "" || refusal.Message == "" {
		t.Fatalf("want a refusal with %d, a message and a request id, got %v", status, err)
	}
	if message != "" && refusal.Message != message {
		t.Errorf("message %q, want %q", refusal.Message, message)
	}
}
