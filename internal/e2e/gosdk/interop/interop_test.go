// Package interop_test exchanges objects, data keys and locally encrypted data between all SDKs.
package interop_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/workos/workos-go/v6/pkg/workos_errors"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// sdk is what every SDK can do.
type sdk interface {
	encrypt(ctx context.Context, text, associated string) (blob string, err error)
	decrypt(ctx context.Context, blob, associated string) (text string, err error)
	createDataKey(context.Context) (dataKey, error)
	decryptDataKey(ctx context.Context, blob string) (dataKey, error)
	create(ctx context.Context, name, value string) error
	read(ctx context.Context, name string) (value string, err error)
}

type dataKey struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Blob string `json:"blob"`
}

func keyContext() map[string]string { return map[string]string{"organization_id": "org_interop"} }

func sdks(t *testing.T) map[string]sdk {
	s := sdktest.Ours(t)
	return map[string]sdk{"node 11": startNode(t), "go v9": newGoV9(s), "go v6": newGoV6(s)}
}

// pairs runs a subtest for each writer and reader.
func pairs(t *testing.T, test func(t *testing.T, writer, reader sdk)) {
	t.Helper()
	all := sdks(t)
	for w, writer := range all {
		for r, reader := range all {
			t.Run(w+" to "+r, func(t *testing.T) { test(t, writer, reader) })
		}
	}
}

// status is that of a refusal, whichever SDK reports it; 0 if err is none.
func status(err error) int {
	var (
		v9   *workos.APIError
		v6   workos_errors.HTTPError
		node *nodeError
	)
	switch {
	case errors.As(err, &v9):
		return v9.StatusCode
	case errors.As(err, &v6):
		return v6.Code
	case errors.As(err, &node):
		return node.Status
	}
	return 0
}

func TestObjects(t *testing.T) {
	pairs(t, func(t *testing.T, writer, reader sdk) {
		for _, ending := range sdktest.Names {
			name, value := sdktest.Unique(ending), sdktest.Secret(ending)
			if err := writer.create(t.Context(), name, value); err != nil {
				t.Fatalf("create %q: %v", name, err)
			}
			got, err := reader.read(t.Context(), name)
			if err != nil || got != value {
				t.Errorf("read %q: another value, or %v", name, err)
			}
		}
	})
}

func TestDataKeys(t *testing.T) {
	pairs(t, func(t *testing.T, writer, reader sdk) {
		k, err := writer.createDataKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := reader.decryptDataKey(t.Context(), k.Blob)
		if err != nil || got != k {
			t.Errorf("another data key, or %v", err)
		}
	})
}

// From version 7 on the Go SDK lays its blobs out differently from all others, so only equal layouts
// read each other. Between different ones the server may be asked to decrypt garbage.
func TestLocallyEncryptedData(t *testing.T) {
	layout := func(s sdk) string {
		if _, ok := s.(goV9); ok {
			return "B"
		}
		return "A"
	}
	pairs(t, func(t *testing.T, writer, reader sdk) {
		for _, associated := range []string{"", "user:1", "\U0001f510 + %"} {
			// Node's decoder drops a byte order mark, wherever the data comes from.
			for _, ending := range []string{"", "\x00\n", "é e\u0301 \U0001f510", sdktest.Values[len(sdktest.Values)-1]} {
				text := sdktest.Secret(ending)
				blob, err := writer.encrypt(t.Context(), text, associated)
				if err != nil {
					t.Fatal(err)
				}
				got, err := reader.decrypt(t.Context(), blob, associated)
				if layout(writer) != layout(reader) {
					clean(t, err)
					continue
				}
				if err != nil || got != text {
					t.Errorf("associated data %q: another text, or %v", associated, err)
				}
				if _, err := reader.decrypt(t.Context(), blob, associated+"x"); err == nil {
					t.Errorf("decrypted with other associated data than %q", associated)
				}
			}
		}
	})
}

// clean requires a failure in the SDK itself or a 400 by the server: never another status.
func clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("a blob of another layout was decrypted")
	} else if s := status(err); s != 0 && s != http.StatusBadRequest {
		t.Errorf("a blob of another layout: %v", err)
	}
}

func TestAnotherVault(t *testing.T) {
	elsewhere := newGoV9(sdktest.Other(t))
	name, value := sdktest.Unique(""), sdktest.Secret("")
	if err := elsewhere.create(t.Context(), name, value); err != nil {
		t.Fatal(err)
	}
	foreign, err := elsewhere.createDataKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	for which, s := range sdks(t) {
		t.Run(which, func(t *testing.T) {
			if _, err := s.decryptDataKey(t.Context(), foreign.Blob); status(err) != http.StatusBadRequest {
				t.Errorf("data key of another vault: %v, want a refusal with 400", err)
			}
			if _, err := s.read(t.Context(), name); status(err) != http.StatusNotFound {
				t.Errorf("object of another vault: %v, want a refusal with 404", err)
			}
		})
	}
	if got, err := elsewhere.decryptDataKey(t.Context(), foreign.Blob); err != nil || got != foreign {
		t.Errorf("at home: another data key, or %v", err)
	}
	if got, err := elsewhere.read(t.Context(), name); err != nil || got != value {
		t.Errorf("at home: another value, or %v", err)
	}
}
