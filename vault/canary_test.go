package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

const canary = "CANARY-7b1c9d3e-value"

// What is stored stands nowhere on the disk in clear, write-ahead log and audit log included.
func TestCanaryIsNowhereOnDisk(t *testing.T) {
	s := vaulttest.New(t)
	create := request(t, "k", "visible-name", canary)
	m, err := s.Vault.Create(t.Context(), s.Call(), create)
	must(t, err)
	s.MustUpdate(t, m.ID, canary+" again")
	must(t, errOf(s.Vault.Create(t.Context(), s.Call(), create)))
	if err := errOf(s.Vault.Create(t.Context(), s.Call(), request(t, "k", "visible-name", canary+"!"))); !errors.Is(err, vault.ErrIdempotency) {
		t.Fatal(err)
	}
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != canary+" again" {
		t.Fatal("the value did not come back")
	}
	key, err := s.Vault.CreateDataKey(t.Context(), s.Call(), m.Context)
	must(t, err)
	must(t, s.Audit.Close())

	var disk []byte
	for _, dir := range []string{s.DataDir, s.AuditDir} {
		must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			disk = append(disk, content...)
			return err
		}))
	}
	if !bytes.Contains(disk, []byte("visible-name")) {
		t.Fatal("the search does not even find the name: it would find nothing")
	}
	for what, plain := range map[string][]byte{
		"value": []byte(canary), "data key": key.Key.Reveal(), "API key": s.APIKey.Text().Reveal(),
	} {
		for form, text := range map[string]string{
			"as it is": string(plain), "in hex": hex.EncodeToString(plain), "in base64": base64.StdEncoding.EncodeToString(plain),
		} {
			if bytes.Contains(disk, []byte(text)) {
				t.Errorf("the %s stands on the disk %s", what, form)
			}
		}
	}
}

// No exported type of the package prints a secret it holds, however it is rendered.
func TestCanaryIsNotRendered(t *testing.T) {
	s := secret.New([]byte(canary))
	for _, v := range []any{
		vault.Object{Name: "n", Value: s},
		&vault.Object{Value: s},
		vault.CreateRequest{Value: s, Idempotency: &vault.Idempotency{Key: "k", Body: s}},
		vault.Idempotency{Body: s},
		vault.UpdateRequest{Value: s},
		vault.DataKey{Key: s, Context: keys.Context{}},
		[]vault.Object{{Value: s}},
		map[string]vault.DataKey{"k": {Key: s}},
		struct{ hidden vault.Object }{vault.Object{Value: s}},
	} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb, v)
		}
		encoded, err := json.Marshal(v)
		must(t, err)
		out.Write(encoded)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		for _, form := range []string{
			canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
			base64.StdEncoding.EncodeToString([]byte(canary)), strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		} {
			if strings.Contains(out.String(), form) {
				t.Errorf("%T renders its secret", v)
			}
		}
	}
}
