package pkcs11

import (
	"errors"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"culvert/internal/secret"
)

// maxTokenLabel is what CK_TOKEN_INFO has room for, in bytes; the rest is filled with blanks.
const maxTokenLabel = 32

// Config says which key it is. All fields are required.
type Config struct {
	// Module is the path of the HSM's library. See [CheckModule].
	Module string
	// Token is the label of the token. See [CheckTokenLabel].
	Token string
	// Key is the label of the key in it. See [CheckKeyLabel].
	Key string
	// PIN is that of the user of the token, who may use the key.
	PIN secret.Bytes
}

// CheckModule tells whether path names one file wherever the process runs. Any other would be looked for
// in the directories of libraries.
func CheckModule(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("it has to be the absolute path of a PKCS#11 module")
	}
	return nil
}

// CheckTokenLabel tells whether a token can have that label.
func CheckTokenLabel(label string) error {
	if len(label) > maxTokenLabel {
		return errors.New("the label of a token has at most 32 bytes")
	}
	return CheckKeyLabel(label)
}

// CheckKeyLabel tells whether a key can be found by that label.
func CheckKeyLabel(label string) error {
	if label == "" || strings.TrimSpace(label) != label || !utf8.ValidString(label) || strings.ContainsRune(label, 0) {
		return errors.New("a label is text that neither begins nor ends with a blank")
	}
	return nil
}
