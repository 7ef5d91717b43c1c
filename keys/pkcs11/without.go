//go:build !pkcs11

package pkcs11

import (
	"context"
	"errors"

	"culvert/keys"
)

// Built tells whether this program was built with support for PKCS#11.
const Built = false

// Open refuses: this program was built without support for PKCS#11.
func Open(context.Context, Config) (keys.RootKey, error) {
	return nil, errors.New("pkcs11: this binary was built without PKCS#11 support")
}
