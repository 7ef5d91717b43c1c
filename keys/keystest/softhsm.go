//go:build pkcs11

package keystest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ThalesGroup/crypto11"
)

// SoftHSM is a directory with tokens of SoftHSM 2, an HSM in software that others find by its environment
// variable. The module reads that when it is loaded, so a process can use one at a time.
type SoftHSM struct {
	// Module is the path of the library.
	Module string
	// Conf is the value of SOFTHSM2_CONF.
	Conf string
}

// SoftHSMPIN is the user PIN of every token.
const SoftHSMPIN = "correct-horse"

// NewSoftHSM makes an empty directory, and sets the environment of this process to it.
func NewSoftHSM(t testing.TB) *SoftHSM {
	t.Helper()
	dir := t.TempDir()
	h := &SoftHSM{Module: softHSMModule(t), Conf: filepath.Join(dir, "softhsm2.conf")}
	conf := "directories.tokendir = " + dir + "\nlog.level = ERROR\n"
	if err := os.WriteFile(h.Conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", h.Conf) // with cgo this is the C library's environment, too
	return h
}

// softHSMModule finds the library where distributions put it.
func softHSMModule(t testing.TB) string {
	t.Helper()
	for _, path := range []string{
		os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	t.Fatal("SoftHSM 2 is not here: install softhsm2, or name its library in SOFTHSM2_MODULE")
	return ""
}

// NewToken makes a token. A process that has the module loaded does not see it before the next time.
func (h *SoftHSM) NewToken(t testing.TB, label string) {
	t.Helper()
	h.util(t, "--init-token", "--free", "--label", label, "--pin", SoftHSMPIN, "--so-pin", "battery-staple")
}

// ImportKey puts a key that is known outside into a token; it is sensitive and not extractable from there.
func (h *SoftHSM) ImportKey(t testing.TB, token, label string, key []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	h.util(t, "--import", file, "--aes", "--token", token, "--label", label, "--id", "01", "--pin", SoftHSMPIN)
}

func (h *SoftHSM) util(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command("softhsm2-util", append(args, "--module", h.Module)...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+h.Conf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, bytes.TrimSpace(out))
	}
}

// NewKey makes an AES-256 key such as a root key has to be. What is given differs from that.
func (h *SoftHSM) NewKey(t testing.TB, token, label string, differs map[crypto11.AttributeType]any) {
	t.Helper()
	h.use(t, token, func(c *crypto11.Context) error {
		a, err := crypto11.NewAttributeSetWithIDAndLabel([]byte(label), []byte(label))
		if err != nil {
			return err
		}
		bits := 256
		for attribute, value := range differs {
			if attribute == crypto11.CkaValueLen {
				bits = value.(int) * 8
			} else if err := a.Set(attribute, value); err != nil {
				return err
			}
		}
		// It is sensitive and not extractable unless the set says otherwise.
		_, err = c.GenerateSecretKeyWithAttributes(a, bits, crypto11.CipherAES)
		return err
	})
}

// DeleteKeys destroys the keys of a label.
func (h *SoftHSM) DeleteKeys(t testing.TB, token, label string) {
	t.Helper()
	h.use(t, token, func(c *crypto11.Context) error {
		found, err := c.FindKeys(nil, []byte(label))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is no key %s", label)
		}
		for _, key := range found {
			if err := key.Delete(); err != nil {
				return err
			}
		}
		return err
	})
}

func (h *SoftHSM) use(t testing.TB, token string, do func(*crypto11.Context) error) {
	t.Helper()
	c, err := crypto11.Configure(&crypto11.Config{Path: h.Module, TokenLabel: token, Pin: SoftHSMPIN})
	if err != nil {
		t.Fatal(err)
	}
	err = do(c)
	_ = c.Close() // never fails
	if err != nil {
		t.Fatal(err)
	}
}
