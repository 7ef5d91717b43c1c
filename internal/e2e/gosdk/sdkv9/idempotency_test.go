package sdkv9_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// The connection breaks behind the first answer: the SDK retries by itself under the key it has chosen.
func TestLostAnswer(t *testing.T) {
	r := &recorder{fail: func(n int) bool { return n == 1 }}
	lossy := newClient(t, r.client())
	o := mustCreate(t, lossy, sdktest.Unique(""), map[string]string{"lossy": "yes"})

	if diff := cmp.Diff(r.wire, []string{"POST 201", "POST 201"}); diff != "" {
		t.Fatalf("wire (-got +want):\n%s", diff)
	}
	if r.keys[0] == "" || r.keys[0] != r.keys[1] {
		t.Fatalf("idempotency keys %q", r.keys)
	}
	c := newClient(t)
	if diff := cmp.Diff(mustRead(t, c, o.ID), o.VaultObject); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if all := drain(t, c.Vault().ListKv(t.Context(), list(o.Name, workos.PaginationParams{}))); len(all) != 1 {
		t.Errorf("%d objects were made", len(all))
	}
}

func TestReplay(t *testing.T) {
	c := newClient(t)
	key := workos.WithIdempotencyKey(sdktest.Unique("-key"))
	params := workos.VaultCreateKvParams{
		Name: sdktest.Unique(""), Value: sdktest.Secret(""), KeyContext: map[string]string{},
	}
	first, err := c.Vault().CreateKv(t.Context(), &params, key)
	if err != nil {
		t.Fatal(err)
	}

	// Case: the same again is answered the same, also when the object has moved on.
	mustUpdate(t, c, first.ID, sdktest.Secret(""), nil)
	again, err := c.Vault().CreateKv(t.Context(), &params, key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again, first); diff != "" {
		t.Errorf("replay (-got +want):\n%s", diff)
	}

	// Case: another body under the key.
	other := params
	other.Value = sdktest.Secret("")
	_, err = c.Vault().CreateKv(t.Context(), &other, key)
	if api := refused(t, err, http.StatusConflict); api.Code != "idempotency_error" {
		t.Errorf("code %q", api.Code)
	}

	// Case: the same body under another key.
	_, err = c.Vault().CreateKv(t.Context(), &params, workos.WithIdempotencyKey(sdktest.Unique("-key")))
	if api := refused(t, err, http.StatusConflict); api.Code != "item_already_exists" {
		t.Errorf("code %q", api.Code)
	}
}

// An answer that holds a key in clear is not kept anywhere, so it cannot be given again.
func TestDataKeysAreNotReplayed(t *testing.T) {
	c := newClient(t)
	key := workos.WithIdempotencyKey(sdktest.Unique("-key"))
	params := &workos.VaultCreateDataKeyParams{Context: map[string]string{}}
	first, err := c.Vault().CreateDataKey(t.Context(), params, key)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Vault().CreateDataKey(t.Context(), params, key)
	if err != nil {
		t.Fatal(err)
	}
	if first.DataKey == second.DataKey || first.ID == second.ID {
		t.Error("a data key was given out twice")
	}
}
