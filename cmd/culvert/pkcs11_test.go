//go:build pkcs11

package main_test

import (
	"testing"

	main "culvert/cmd/culvert"
	"culvert/keys/keystest"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestHSMScripts runs the command line on a SoftHSM: $MODULE is its library, "culvert" its token, with the
// keys "root" and "other", and "empty" another token.
func TestHSMScripts(t *testing.T) {
	hsm := keystest.NewSoftHSM(t)
	hsm.NewToken(t, "culvert")
	hsm.NewToken(t, "empty")
	hsm.NewKey(t, "culvert", "root", nil)
	hsm.NewKey(t, "culvert", "other", nil)
	params := scriptsIn(t, "testdata/hsm")
	setup := params.Setup
	params.Setup = func(e *testscript.Env) error {
		e.Setenv("SOFTHSM2_CONF", hsm.Conf)
		e.Setenv("MODULE", hsm.Module)
		return setup(e)
	}
	testscript.Run(t, params)
}

func TestConfigOfPKCS11(t *testing.T) {
	for text, want := range map[string]string{
		"path: /m.so, token: t, key: k, pin_file: pin":                                      "",
		"path: m.so, token: t, key: k, pin_file: pin":                                       "setting root_key.path: it has to be the absolute path of a PKCS#11 module\nhint: for SoftHSM",
		"token: t, key: k, pin_file: pin":                                                   "setting root_key.path: it has to be the absolute path",
		"path: /m.so, key: k, pin_file: pin":                                                "setting root_key.token: a label is text",
		"path: /m.so, token: t, pin_file: pin":                                              "setting root_key.key: a label is text",
		"path: /m.so, token: ' t', key: k, pin_file: pin":                                   "setting root_key.token: a label is text",
		"path: /m.so, token: ttttttttttttttttttttttttttttttttt, key: k, pin_file: pin":      "setting root_key.token: the label of a token has at most 32 bytes",
		"path: /m.so, token: t, key: k":                                                     "setting root_key.pin_file: provider pkcs11 needs it\nhint: name a file of mode 0600",
		"path: /m.so, token: t, key: k, pin_file: pin, endpoint: 'https://kms.example.com'": "setting root_key.endpoint: provider pkcs11 has no use for it",
	} {
		cfg, err := main.LoadConfig(MustWrite(t, "root_key: {provider: pkcs11, "+text+"}"), nil)
		if err == nil {
			err = cfg.Validate()
		}
		mustReport(t, err, want)
	}
}
