package sdkv6_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v6/pkg/vault"

	"culvert/internal/e2e/gosdk/sdktest"
)

func TestDataKey(t *testing.T) {
	c := newClient(t)
	keyContext := vault.KeyContext{"organization_id": "org_dk"}
	pair, err := c.CreateDataKey(t.Context(), vault.CreateDataKeyOpts{KeyContext: keyContext})
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Match(t, "data key id", sdktest.UUID, pair.Id)
	if diff := cmp.Diff(pair.KeyContext, keyContext); diff != "" {
		t.Errorf("key context (-got +want):\n%s", diff)
	}
	if n := len(sdktest.Bytes(t, "data key", pair.DataKey)); n != 32 {
		t.Errorf("a data key of %d bytes", n)
	}
	for _, s := range sdktest.Spoil(t, pair.EncryptedKeys) {
		_, err := c.DecryptDataKey(t.Context(), vault.DecryptDataKeyOpts{Keys: s.Blob})
		if err == nil {
			t.Fatalf("%s: decrypted", s.What)
		}
		refused(t, err, http.StatusBadRequest, "")
	}
	key, err := c.DecryptDataKey(t.Context(), vault.DecryptDataKeyOpts{Keys: pair.EncryptedKeys})
	if err != nil {
		t.Fatal(err)
	}
	if key.Id != pair.Id || key.Key != pair.DataKey {
		t.Error("the blob decrypts to another data key")
	}
}

// Encrypt and Decrypt of this SDK exist only for its default client.
func TestLocalEncryption(t *testing.T) {
	s := sdktest.Ours(t)
	vault.SetAPIKey(s.APIKey)
	vault.DefaultClient.Endpoint = s.BaseURL

	for _, ending := range sdktest.Values {
		for _, associated := range []string{"", "user:1", "\U0001f510 + %"} {
			text := sdktest.Secret(ending)
			blob, err := vault.Encrypt(t.Context(), vault.EncryptOpts{
				Data: text, KeyContext: vault.KeyContext{"local": "yes"}, AssociatedData: associated,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := vault.Decrypt(t.Context(), vault.DecryptOpts{Data: blob, AssociatedData: associated})
			if err != nil || got != text {
				t.Errorf("text ending in %.20q with associated data %q came back different (%v)", ending, associated, err)
			}
			if _, err := vault.Decrypt(t.Context(), vault.DecryptOpts{Data: blob, AssociatedData: associated + "x"}); err == nil {
				t.Errorf("decrypted with other associated data than %q", associated)
			}
		}
	}
}
