package sdkv9_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// TestAPIKeys: the SDK makes an organization's key, which validates until it ends or is deleted, and may what its
// permissions are and no more.
func TestAPIKeys(t *testing.T) {
	c := newClient(t)
	keys, organization := c.APIKeys(), "org_"+sdktest.Unique("")
	made, err := keys.CreateOrganizationAPIKey(t.Context(), organization, &workos.APIKeysCreateOrganizationAPIKeyParams{
		Name: sdktest.Unique(""), Permissions: []string{"posts:read", "posts:write"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Object != "api_key" || made.Owner.Type != "organization" || made.Owner.ID != organization || !slices.Equal(made.Permissions, []string{"posts:read", "posts:write"}) {
		t.Errorf("made: %+v", made)
	}
	if made.Value == "" || made.ObfuscatedValue == made.Value || !strings.HasSuffix(made.Value, made.ObfuscatedValue[len(made.ObfuscatedValue)-4:]) {
		t.Errorf("obfuscated value %q", made.ObfuscatedValue)
	}
	valid := func() *workos.APIKey {
		t.Helper()
		validation, err := keys.CreateValidation(t.Context(), &workos.APIKeysCreateValidationParams{Value: made.Value})
		if err != nil {
			t.Fatal(err)
		}
		return validation.APIKey
	}
	if got := valid(); got == nil || got.ID != made.ID || !slices.Equal(got.Permissions, made.Permissions) {
		t.Errorf("validated: %+v", got)
	}
	if got := listedKeys(t, c, organization); !slices.Equal(got, []string{made.ID}) {
		t.Errorf("listed: %v", got)
	}
	// Its permissions are the application's: none of the server's own routes takes it.
	s := sdktest.Ours(t)
	_, err = workos.NewClient(made.Value, workos.WithBaseURL(s.BaseURL), workos.WithMaxRetries(0)).APIKeys().
		CreateValidation(t.Context(), &workos.APIKeysCreateValidationParams{Value: made.Value})
	if refused(t, err, http.StatusForbidden); strings.Contains(err.Error(), made.Value) {
		t.Error("the refusal repeats the key")
	}

	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ended, err := keys.CreateExpire(t.Context(), made.ID, &workos.APIKeysCreateExpireParams{ExpiresAt: &later})
	if err != nil || ended.ExpiresAt == nil {
		t.Fatalf("expire: %+v, %v", ended, err)
	}
	if valid() == nil {
		t.Error("a key that has not ended yet is not valid")
	}
	if err := keys.Delete(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if got := valid(); got != nil {
		t.Errorf("validated behind its deletion: %+v", got)
	}
	if got := listedKeys(t, c, organization); len(got) != 0 {
		t.Errorf("listed behind its deletion: %v", got)
	}
	refused(t, keys.Delete(t.Context(), made.ID), http.StatusNotFound)
}

func listedKeys(t *testing.T, c *workos.Client, organization string) (ids []string) {
	t.Helper()
	pager := c.APIKeys().ListOrganizationAPIKeys(t.Context(), organization, &workos.APIKeysListOrganizationAPIKeysParams{})
	for pager.Next() {
		ids = append(ids, pager.Current().ID)
	}
	if err := pager.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}
