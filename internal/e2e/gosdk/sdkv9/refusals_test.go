package sdkv9_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// everyCall adds to everyCallOn the operations that need no object.
func everyCall(c *workos.Client, o workos.VaultObject, blob string) map[string]func(*testing.T) error {
	v := c.Vault()
	calls := everyCallOn(c, o)
	maps.Copy(calls, map[string]func(*testing.T) error{
		"create": func(t *testing.T) error {
			_, err := v.CreateKv(t.Context(), &workos.VaultCreateKvParams{
				Name: sdktest.Unique(""), Value: sdktest.Secret(""), KeyContext: map[string]string{},
			})
			return err
		},
		"list": func(t *testing.T) error {
			it := v.ListKv(t.Context(), &workos.VaultListKvParams{})
			it.Next()
			return it.Err()
		},
		"data key": func(t *testing.T) error {
			_, err := v.CreateDataKey(t.Context(), &workos.VaultCreateDataKeyParams{Context: map[string]string{}})
			return err
		},
		"decrypt": func(t *testing.T) error {
			_, err := v.CreateDecrypt(t.Context(), &workos.VaultCreateDecryptParams{Keys: blob})
			return err
		},
		"rekey": func(t *testing.T) error {
			_, err := v.CreateRekey(t.Context(), &workos.VaultCreateRekeyParams{
				Context: map[string]string{}, EncryptedKeys: blob,
			})
			return err
		},
		"events": func(t *testing.T) error {
			it := c.Events().List(t.Context(), &workos.EventsListParams{Events: []string{"vault.data.created"}})
			it.Next()
			return it.Err()
		},
		"delete": func(t *testing.T) error {
			// A copy, so that the order of the calls does not matter.
			c := newClient(t)
			copied := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
			return v.DeleteKv(t.Context(), copied.ID, nil)
		},
	})
	return calls
}

func TestWrongAPIKey(t *testing.T) {
	ours, other := sdktest.Ours(t), sdktest.Other(t)
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	blob := mustCreateDataKey(t, c, map[string]string{}).EncryptedKeys

	for name, key := range map[string]string{
		"garbage":            "sk_test_wrong",
		"a letter more":      ours.APIKey + "0",
		"a letter less":      ours.APIKey[:len(ours.APIKey)-1],
		"in other case":      strings.ToUpper(ours.APIKey),
		"of another vault":   other.APIKey,
		"nothing":            "",
		"two":                ours.APIKey + " " + ours.APIKey,
		"with another magic": "pk" + ours.APIKey[2:],
	} {
		stranger := workos.NewClient(key, workos.WithBaseURL(ours.BaseURL))
		for what, call := range everyCall(stranger, o.VaultObject, blob) {
			t.Run(name+"/"+what, func(t *testing.T) {
				api := refused(t, call(t), http.StatusUnauthorized)
				if len(key) > 5 && strings.Contains(api.RawBody, key) {
					t.Error("the refusal repeats the key")
				}
			})
		}
	}
	for what, call := range everyCall(c, o.VaultObject, blob) {
		if err := call(t); err != nil {
			t.Errorf("%s with the right key: %v", what, err)
		}
	}
}

func TestNotFound(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	for _, id := range []string{"0190b5a4-0000-7000-8000-000000000000", "nope", "a/b", "%", "name"} {
		absent := workos.VaultObject{ID: id, Name: o.Name + id}
		for what, call := range everyCallOn(c, absent) {
			t.Run(what, func(t *testing.T) { refused(t, call(t), http.StatusNotFound) })
		}
		refused(t, c.Vault().DeleteKv(t.Context(), id, nil), http.StatusNotFound)
	}
	for what, call := range everyCallOn(c, o.VaultObject) {
		if err := call(t); err != nil {
			t.Errorf("%s of what is there: %v", what, err)
		}
	}
}

func TestDuplicateName(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	_, err := c.Vault().CreateKv(t.Context(), &workos.VaultCreateKvParams{
		Name: o.Name, Value: sdktest.Secret(""), KeyContext: map[string]string{},
	})
	api := refused(t, err, http.StatusConflict)
	if api.ErrorCode != "Item already exists" || api.Message != "Item already exists" || api.Code != "item_already_exists" {
		t.Errorf("error %q, message %q, code %q", api.ErrorCode, api.Message, api.Code)
	}
	if got := mustRead(t, c, o.ID); got.Value != o.Value || *got.Metadata.VersionID != o.version {
		t.Error("the object that was there has changed")
	}
}

func TestRefusedValues(t *testing.T) {
	c := newClient(t)
	long := sdktest.Unique("")
	long += strings.Repeat("é", 200-len(long))
	item := func(name, value string) map[string]string { return map[string]string{name: value} }
	good := workos.VaultCreateKvParams{Value: sdktest.Secret(""), KeyContext: item(strings.Repeat("é", 120), strings.Repeat("é", 500))}

	for name, change := range map[string]func(*workos.VaultCreateKvParams){
		"name of 201 letters":         func(p *workos.VaultCreateKvParams) { p.Name = long + "é" },
		"no name":                     func(p *workos.VaultCreateKvParams) { p.Name = "" },
		"name with a control letter":  func(p *workos.VaultCreateKvParams) { p.Name += "\x7f" },
		"name with a bidi control":    func(p *workos.VaultCreateKvParams) { p.Name += "\u202e" },
		"value above 1 MiB":           func(p *workos.VaultCreateKvParams) { p.Value = strings.Repeat("v", 1<<20+1) },
		"no key context":              func(p *workos.VaultCreateKvParams) { p.KeyContext = nil },
		"item name of 121 letters":    func(p *workos.VaultCreateKvParams) { p.KeyContext = item(strings.Repeat("é", 121), "") },
		"item value of 501 letters":   func(p *workos.VaultCreateKvParams) { p.KeyContext = item("a", strings.Repeat("é", 501)) },
		"item name that is reserved":  func(p *workos.VaultCreateKvParams) { p.KeyContext = item("culvert:env", "x") },
		"item value with a line feed": func(p *workos.VaultCreateKvParams) { p.KeyContext = item("a", "\n") },
	} {
		t.Run(name, func(t *testing.T) {
			params := good
			params.Name = sdktest.Unique("")
			change(&params)
			_, err := c.Vault().CreateKv(t.Context(), &params)
			api := refused(t, err, http.StatusUnprocessableEntity)
			if strings.Contains(api.RawBody, params.Value) {
				t.Error("the refusal repeats the value")
			}
		})
	}
	good.Name = long
	if _, err := c.Vault().CreateKv(t.Context(), &good); err != nil {
		t.Errorf("at every limit: %v", err)
	}
}
