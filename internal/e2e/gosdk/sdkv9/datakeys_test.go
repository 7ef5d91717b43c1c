package sdkv9_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

func mustCreateDataKey(t *testing.T, c *workos.Client, keyContext map[string]string) *workos.CreateDataKeyResponse {
	t.Helper()
	key, err := c.Vault().CreateDataKey(t.Context(), &workos.VaultCreateDataKeyParams{Context: keyContext})
	if err != nil {
		t.Fatalf("create data key: %v", err)
	}
	return key
}

func mustDecryptDataKey(t *testing.T, c *workos.Client, blob string) *workos.DecryptResponse {
	t.Helper()
	key, err := c.Vault().CreateDecrypt(t.Context(), &workos.VaultCreateDecryptParams{Keys: blob})
	if err != nil {
		t.Fatalf("decrypt data key: %v", err)
	}
	return key
}

// same compares keys without printing them.
func same(t *testing.T, what string, want, got workos.DecryptResponse) {
	t.Helper()
	if want.ID != got.ID {
		t.Errorf("%s: id %s, want %s", what, got.ID, want.ID)
	}
	if want.DataKey != got.DataKey {
		t.Errorf("%s: another data key", what)
	}
}

func TestDataKey(t *testing.T) {
	r := &recorder{}
	c := newClient(t, r.client())
	keyContext := map[string]string{"organization_id": "org_dk"}
	key := mustCreateDataKey(t, c, keyContext)

	if diff := cmp.Diff(key.Context, keyContext); diff != "" {
		t.Errorf("key context (-got +want):\n%s", diff)
	}
	sdktest.Match(t, "data key id", sdktest.UUID, key.ID)
	raw, blob := sdktest.Bytes(t, "data key", key.DataKey), sdktest.Bytes(t, "encrypted keys", key.EncryptedKeys)
	if len(raw) != 32 || bytes.Contains(blob, raw) {
		t.Errorf("a data key of %d bytes, or one that stands in its blob in clear", len(raw))
	}
	want := workos.DecryptResponse{ID: key.ID, DataKey: key.DataKey}
	same(t, "decrypted", want, *mustDecryptDataKey(t, c, key.EncryptedKeys))
	if diff := cmp.Diff(r.wire, []string{"POST 200", "POST 200"}); diff != "" {
		t.Errorf("wire (-got +want):\n%s", diff)
	}

	other := mustCreateDataKey(t, c, keyContext)
	if other.DataKey == key.DataKey || other.ID == key.ID {
		t.Error("two data keys of one context are the same")
	}
}

func TestDataKeyRekey(t *testing.T) {
	c := newClient(t)
	to := map[string]string{"team": "blue", "floor": "2"}
	key := mustCreateDataKey(t, c, map[string]string{"team": "red"})
	moved, err := c.Vault().CreateRekey(t.Context(), &workos.VaultCreateRekeyParams{
		Context: to, EncryptedKeys: key.EncryptedKeys,
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(moved.Context, to); diff != "" {
		t.Errorf("key context (-got +want):\n%s", diff)
	}
	if moved.EncryptedKeys == key.EncryptedKeys {
		t.Error("the blob is still the old one")
	}
	want := workos.DecryptResponse{ID: key.ID, DataKey: key.DataKey}
	same(t, "rekeyed", want, workos.DecryptResponse{ID: moved.ID, DataKey: moved.DataKey})
	same(t, "decrypted from the new blob", want, *mustDecryptDataKey(t, c, moved.EncryptedKeys))
	same(t, "decrypted from the old blob", want, *mustDecryptDataKey(t, c, key.EncryptedKeys))
}

func TestSpoiledBlobs(t *testing.T) {
	c := newClient(t)
	key := mustCreateDataKey(t, c, map[string]string{"spoiled": "yes"})
	for _, s := range sdktest.Spoil(t, key.EncryptedKeys) {
		_, err := c.Vault().CreateDecrypt(t.Context(), &workos.VaultCreateDecryptParams{Keys: s.Blob})
		if err == nil {
			t.Fatalf("%s: decrypted", s.What)
		}
		api := refused(t, err, http.StatusBadRequest)
		if len(s.Blob) > 20 && strings.Contains(api.RawBody, s.Blob) {
			t.Error("the refusal repeats what was sent")
		}
		_, err = c.Vault().CreateRekey(t.Context(), &workos.VaultCreateRekeyParams{
			Context: map[string]string{}, EncryptedKeys: s.Blob,
		})
		refused(t, err, http.StatusBadRequest)
	}
	same(t, "whole blob", workos.DecryptResponse{ID: key.ID, DataKey: key.DataKey}, *mustDecryptDataKey(t, c, key.EncryptedKeys))
}

func TestLocalEncryption(t *testing.T) {
	c := newClient(t)
	keyContext := map[string]string{"local": "yes"}
	for _, ending := range sdktest.Values {
		for _, associated := range []string{"", "user:1", "\U0001f510 + %"} {
			text := sdktest.Secret(ending)
			result, err := c.Vault().Encrypt(t.Context(), text, keyContext, associated)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(result.KeyContext, keyContext); diff != "" {
				t.Errorf("key context (-got +want):\n%s", diff)
			}
			got, err := c.Vault().Decrypt(t.Context(), result.EncryptedData, associated)
			if err != nil || got != text {
				t.Errorf("text ending in %.20q with associated data %q came back different (%v)", ending, associated, err)
			}
		}
	}
}

func TestLocalEncryptionIsBound(t *testing.T) {
	c := newClient(t)
	result, err := c.Vault().Encrypt(t.Context(), "bound", map[string]string{}, "user:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, associated := range []string{"", "user:2", "user:1 "} {
		if _, err := c.Vault().Decrypt(t.Context(), result.EncryptedData, associated); err == nil {
			t.Errorf("decrypted with associated data %q", associated)
		}
	}
	// A byte of the key part is flipped (behind its length, which is two bytes): the server refuses, and
	// says so cleanly.
	raw := sdktest.Bytes(t, "encrypted data", result.EncryptedData)
	raw[2+20] ^= 1
	_, err = c.Vault().Decrypt(t.Context(), base64.StdEncoding.EncodeToString(raw), "user:1")
	if api := (*workos.APIError)(nil); !errors.As(err, &api) || api.StatusCode != http.StatusBadRequest {
		t.Errorf("spoiled key part: %v, want a refusal with 400", err)
	}

	got, err := c.Vault().Decrypt(t.Context(), result.EncryptedData, "user:1")
	if err != nil || got != "bound" {
		t.Errorf("the whole blob does not decrypt: %v", err)
	}
}
