package server_test

import (
	"encoding/base64"
	"testing"
)

// TestDataKeyLife walks one data key through the three operations.
func TestDataKeyLife(t *testing.T) {
	d := newDoor(t)

	// Case 1: a new key is 32 bytes, and its blob is canonical base64.
	created := d.do(t, request{
		method: "POST", path: "/vault/v1/keys/data-key", body: `{"context":{"organization_id":"org_1"}}`,
	}).want(t, 200)
	o := created.object(t)
	shape(t, o, map[string]any{
		"id": uuidShape, "data_key": o["data_key"], "encrypted_keys": o["encrypted_keys"],
		"context": map[string]any{"organization_id": "org_1"},
	})
	key, blob := o["data_key"].(string), o["encrypted_keys"].(string)
	if raw, err := base64.StdEncoding.Strict().DecodeString(key); err != nil || len(raw) != 32 {
		t.Errorf("data_key has %d bytes, %v", len(raw), err)
	}
	if raw, err := base64.StdEncoding.Strict().DecodeString(blob); err != nil || base64.StdEncoding.EncodeToString(raw) != blob {
		t.Errorf("encrypted_keys is not canonical: %v", err)
	}

	// Case 2: decrypt gives the same key under the same id, and nothing else.
	decrypted := d.do(t, request{
		method: "POST", path: "/vault/v1/keys/decrypt", body: `{"keys":"` + blob + `"}`,
	}).want(t, 200)
	shape(t, decrypted.object(t), map[string]any{"id": o["id"], "data_key": key})

	// Case 3: rekey gives the same key in another blob under another context.
	rekeyed := d.do(t, request{
		method: "POST", path: "/vault/v1/keys/rekey",
		body: `{"context":{"organization_id":"org_2"},"encrypted_keys":"` + blob + `"}`,
	}).want(t, 200)
	moved := rekeyed.object(t)
	shape(t, moved, map[string]any{
		"id": o["id"], "data_key": key, "encrypted_keys": moved["encrypted_keys"],
		"context": map[string]any{"organization_id": "org_2"},
	})
	if moved["encrypted_keys"] == blob {
		t.Error("the blob stayed the same")
	}

	for _, a := range []answer{created, decrypted, rekeyed} {
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
	}
}
