//go:build !pkcs11

package main_test

import (
	"testing"

	main "culvert/cmd/culvert"
)

// A binary without cgo has no PKCS#11, and says so before it opens anything.
func TestPKCS11IsNotBuilt(t *testing.T) {
	cfg, err := main.LoadConfig(MustWrite(t, "root_key: {provider: pkcs11, path: /x, token: t, key: k, pin_file: /p}"), nil)
	if err == nil {
		err = cfg.Validate()
	}
	const want = "setting root_key.provider: this binary was built without PKCS#11 support\n" +
		"hint: build one where it will run, with a C compiler: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/culvert"
	mustReport(t, err, want)
}
