//go:build pkcs11

package pkcs11_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/keys/pkcs11"

	"github.com/ThalesGroup/crypto11"
)

const token = "culvert"

// start makes a SoftHSM with one token.
func start(t *testing.T) *keystest.SoftHSM {
	t.Helper()
	hsm := keystest.NewSoftHSM(t)
	hsm.NewToken(t, token)
	return hsm
}

// config is for a key of the token that start makes.
func config(hsm *keystest.SoftHSM, key string) pkcs11.Config {
	return pkcs11.Config{Module: hsm.Module, Token: token, Key: key, PIN: secret.New([]byte(keystest.SoftHSMPIN))}
}

// mustOpen opens a key until the end of the test: a process unloads SoftHSM before it takes another one.
func mustOpen(t *testing.T, c pkcs11.Config) *pkcs11.Key {
	t.Helper()
	key, err := pkcs11.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Close)
	return key
}

func isOutage(err error) bool {
	o := outage.Of(err)
	return o != nil && o.Dependency == outage.RootKey
}

func isRefused(err error) bool { return errors.Is(err, keys.ErrRefused) && outage.Of(err) == nil }

// isMistake tells an error that is none of a RootKey's, so that a start says what is wrong in the settings.
func isMistake(err error) bool {
	return err != nil && !errors.Is(err, keys.ErrRefused) && !errors.Is(err, keys.ErrTampered) && outage.Of(err) == nil
}

func TestRootKey(t *testing.T) {
	hsm, made := start(t), 0
	keystest.RunRootKeyTests(t, func(t *testing.T) keys.RootKey {
		made++
		label := fmt.Sprintf("root key %d/ü;=", made)
		hsm.NewKey(t, token, label, nil)
		return mustOpen(t, config(hsm, label))
	})
}

func TestURI(t *testing.T) {
	hsm := start(t)
	hsm.NewKey(t, token, "a/b;c", nil)
	key := mustOpen(t, config(hsm, "a/b;c"))
	if got, want := key.URI(), "pkcs11:token=culvert;object=a%2Fb%3Bc"; got != want {
		t.Errorf("URI %s, want %s", got, want)
	}
}

// What one process wraps another unwraps, at the same time: both have the token open.
func TestAnotherProcess(t *testing.T) {
	hsm := start(t)
	hsm.NewKey(t, token, "root", nil)
	key, b, share := mustOpen(t, config(hsm, "root")), keystest.TestBinding(), keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "wrapped")
	if err := os.WriteFile(file, wrapped, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessOfAnother$")
	cmd.Env = append(os.Environ(), "CULVERT_TEST_WRAPPED="+file, "CULVERT_TEST_MODULE="+hsm.Module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	answer, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(answer, wrapped) {
		t.Fatal("the other process has not answered")
	}
	if got, err := key.Unwrap(t.Context(), answer, b); err != nil || !got.Equal(share) {
		t.Errorf("what another process wrapped: %v", err)
	}
}

// TestProcessOfAnother is the other process: it moves the share to a fresh wrapping.
func TestProcessOfAnother(t *testing.T) {
	file := os.Getenv("CULVERT_TEST_WRAPPED")
	if file == "" {
		return // it is the test binary itself
	}
	wrapped, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key := mustOpen(t, config(&keystest.SoftHSM{Module: os.Getenv("CULVERT_TEST_MODULE")}, "root"))
	again, err := keys.Rewrap(t.Context(), key, key, wrapped, keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, again, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	hsm := start(t)
	hsm.NewKey(t, token, "root", nil)
	hsm.NewKey(t, token, "twice", nil)
	hsm.NewKey(t, token, "twice", nil)
	hsm.NewKey(t, token, "extractable", map[crypto11.AttributeType]any{crypto11.CkaExtractable: true})
	hsm.NewKey(t, token, "readable", map[crypto11.AttributeType]any{crypto11.CkaSensitive: false})
	hsm.NewKey(t, token, "short", map[crypto11.AttributeType]any{crypto11.CkaValueLen: 16})
	hsm.NewKey(t, token, "only encrypts", map[crypto11.AttributeType]any{crypto11.CkaDecrypt: false})
	hsm.NewKey(t, token, "only decrypts", map[crypto11.AttributeType]any{crypto11.CkaEncrypt: false})
	library := filepath.Join(t.TempDir(), "library.so")
	if out, err := exec.Command("cc", "-shared", "-o", library, "-x", "c", "/dev/null").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tc := range []struct {
		name string
		edit func(*pkcs11.Config)
		is   func(error) bool
		want string
	}{
		{"no module", func(c *pkcs11.Config) { c.Module = "/no/such.so" }, isMistake, "there is no module /no/such.so"},
		{"no library", func(c *pkcs11.Config) { c.Module = hsm.Conf }, isMistake, "is not a PKCS#11 module that can be loaded"},
		{"another library", func(c *pkcs11.Config) { c.Module = library }, isMistake, "is not a PKCS#11 module that can be loaded"},
		{"relative", func(c *pkcs11.Config) { c.Module = "libsofthsm2.so" }, isMistake, "absolute path"},
		{"no PIN", func(c *pkcs11.Config) { c.PIN = secret.Bytes{} }, isMistake, "there is no PIN"},
		{"no label", func(c *pkcs11.Config) { c.Key = "" }, isMistake, "a label is text"},
		{"absent token", func(c *pkcs11.Config) { c.Token = "elsewhere" }, isOutage, "the module has no token elsewhere"},
		{"wrong PIN", func(c *pkcs11.Config) { c.PIN = secret.New([]byte("wrong-pin")) }, isRefused, "CKR_PIN_INCORRECT"},
		{"wrong label", func(c *pkcs11.Config) { c.Key = "other" }, isRefused, "token culvert has no AES key of that label"},
		{"two keys", func(c *pkcs11.Config) { c.Key = "twice" }, isRefused, "token culvert has 2 AES keys of that label"},
		{"extractable", func(c *pkcs11.Config) { c.Key = "extractable" }, isRefused, "it is extractable"},
		{"readable", func(c *pkcs11.Config) { c.Key = "readable" }, isRefused, "it is not sensitive"},
		{"short", func(c *pkcs11.Config) { c.Key = "short" }, isRefused, "it is not of 256 bits"},
		{"only encrypts", func(c *pkcs11.Config) { c.Key = "only encrypts" }, isRefused, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
		{"only decrypts", func(c *pkcs11.Config) { c.Key = "only decrypts" }, isRefused, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
	} {
		c := config(hsm, "root")
		tc.edit(&c)
		key, err := pkcs11.Open(t.Context(), c)
		if err == nil {
			key.Close()
		}
		if !tc.is(err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v (%T), want %q", tc.name, err, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), keystest.SoftHSMPIN) || strings.Contains(err.Error(), "wrong-pin")) {
			t.Errorf("%s: the error repeats the PIN", tc.name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pkcs11.Open(ended, config(hsm, "root")); !isOutage(err) {
		t.Errorf("an ended context: %v, want an outage", err)
	}
	mustOpen(t, config(hsm, "root")) // the twin of all of them
}

// golden is the share of 32 sevens under the key of 32 times 0x42, bound by keystest.TestBinding, as the
// first format wraps it. It has to open for ever. It was made by crypto/cipher, not by a token.
const golden = "017477656c76652062797465731439d7e845a263b369e20f0f81c6d377026a007643f5982fe998ca917de406c395a9dcdd064b72a06f24de99163acc35"

func TestGoldenVector(t *testing.T) {
	hsm := start(t)
	hsm.ImportKey(t, token, "golden", bytes.Repeat([]byte{0x42}, 32))
	key := mustOpen(t, config(hsm, "golden"))
	wrapped, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	share, err := key.Unwrap(t.Context(), wrapped, keystest.TestBinding())
	if err != nil || !share.Equal(secret.New(bytes.Repeat([]byte{7}, keys.ShareSize))) {
		t.Errorf("the golden vector does not open: %v", err)
	}
}
