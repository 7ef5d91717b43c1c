package access

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"strings"
	"time"

	"culvert/internal/base62"
	"culvert/internal/id"
	"culvert/internal/secret"
)

// The text form of an API key, 107 characters:
//
//	sk_<environment ULID>_<key ULID>_<32 random bytes in base 62>_<CRC-32 in base 62>
//
// All parts are of fixed width, so that scanners find keys with one regular expression and prove them
// by the checksum (IEEE, over everything before its underscore). The checksum is no secret and no
// protection: it lets a typing error or a truncated paste be refused without a look-up.
const (
	keyPrefix     = "sk_"
	ulidChars     = 26
	checksumChars = 6

	keyIDAt    = len(keyPrefix) + ulidChars + 1
	secretAt   = keyIDAt + ulidChars + 1
	checksumAt = secretAt + base62.SecretChars + 1
	keyChars   = checksumAt + checksumChars
)

// ErrMalformedKey means that a text is no API key. It says no more: the text may be a key with one
// wrong character.
var ErrMalformedKey = errors.New("access: malformed API key")

// APIKey is a well-formed API key: nobody has compared it with anything yet. [Gate.Authenticate] does.
type APIKey struct {
	// Environment and ID are what the key claims to be; ID is a bare ULID. Both may be shown.
	Environment EnvironmentID
	ID          string
	text        secret.Bytes
	fingerprint fingerprint
}

// Text is the whole key as clients send it.
func (k APIKey) Text() secret.Bytes { return k.text }

// ParseAPIKey reads the text form. It costs the same few hundred nanoseconds for every text of the
// right length and looks nothing up. The error is [ErrMalformedKey] and repeats nothing of the text.
func ParseAPIKey(text string) (APIKey, error) {
	if len(text) != keyChars || !strings.HasPrefix(text, keyPrefix) ||
		text[keyIDAt-1] != '_' || text[secretAt-1] != '_' || text[checksumAt-1] != '_' {
		return APIKey{}, ErrMalformedKey
	}
	env, keyID := text[len(keyPrefix):keyIDAt-1], text[keyIDAt:secretAt-1]
	whole := []byte(text)
	if !id.IsULID(env) || !id.IsULID(keyID) || !base62.IsSecret(text[secretAt:checksumAt-1]) ||
		!bytes.Equal(checksum(whole[:checksumAt-1]), whole[checksumAt:]) {
		return APIKey{}, ErrMalformedKey
	}
	return newAPIKey(EnvironmentID(env), keyID, whole), nil
}

// GenerateAPIKey makes a new key for an environment, with 256 bits from crypto/rand. The time goes
// into its id. It fails only if env is no ULID.
func GenerateAPIKey(env EnvironmentID, at time.Time) (APIKey, error) {
	if !id.IsULID(string(env)) {
		return APIKey{}, errors.New("access: environment id is no ULID")
	}
	keyID := id.ULID(at)
	text := make([]byte, 0, keyChars)
	text = append(text, keyPrefix...)
	text = append(text, env...)
	text = append(text, '_')
	text = append(text, keyID...)
	text = append(text, '_')
	text = base62.AppendSecret(text)
	sum := checksum(text)
	text = append(text, '_')
	text = append(text, sum...)
	return newAPIKey(env, keyID, text), nil
}

// newAPIKey takes the text over.
func newAPIKey(env EnvironmentID, keyID string, text []byte) APIKey {
	return APIKey{Environment: env, ID: keyID, text: secret.New(text), fingerprint: sha256.Sum256(text)}
}

func checksum(text []byte) []byte {
	sum := crc32.ChecksumIEEE(text)
	big := []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
	return base62.Append(make([]byte, 0, checksumChars), big, checksumChars)
}
