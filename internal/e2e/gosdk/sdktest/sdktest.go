// Package sdktest is what the suites of both SDK versions share: where the server is, and names and
// values that collide with nothing.
//
// The suites are started by "go test -tags e2e ./internal/e2e/..." in the main module, which builds and
// starts the server and says in the environment where it is.
package sdktest

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The forms of ids on the wire.
var (
	UUID        = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	Environment = regexp.MustCompile(`^environment_[0-9A-HJKMNP-TV-Z]{26}$`)
	Key         = regexp.MustCompile(`^key_[0-9A-HJKMNP-TV-Z]{26}$`)
	EventID     = regexp.MustCompile(`^event_[0-9A-HJKMNP-TV-Z]{26}$`)
	ETag        = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// Server is a vault and a credential for it.
type Server struct {
	BaseURL string
	APIKey  string
}

// Ours is the server under test.
func Ours(t testing.TB) Server {
	t.Helper()
	return server(t, "CULVERT_BASE_URL", "CULVERT_API_KEY_FILE")
}

// Other is a second server with a store and a root key of its own.
func Other(t testing.TB) Server {
	t.Helper()
	return server(t, "CULVERT_OTHER_BASE_URL", "CULVERT_OTHER_API_KEY_FILE")
}

// The key arrives as a file: an environment variable would show it to every child process.
func server(t testing.TB, baseURL, apiKeyFile string) Server {
	t.Helper()
	s := Server{BaseURL: os.Getenv(baseURL)}
	if s.BaseURL == "" || os.Getenv(apiKeyFile) == "" {
		t.Fatalf("%s or %s is not set: start this suite through go test -tags e2e ./internal/e2e/... in the main module", baseURL, apiKeyFile)
	}
	key, err := os.ReadFile(os.Getenv(apiKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	s.APIKey = strings.TrimSpace(string(key))
	return s
}

// Unique is a name that no other test has. It and [Secret] carry marks that the harness looks for in
// the data directory afterwards: it must find the name's, and must not find the value's.
func Unique(rest string) string { return "e2e-name-" + rand.Text() + rest }

// Secret is a value that no other test has.
func Secret(rest string) string { return "e2e-plaintext-" + rand.Text() + rest }

// Match requires that text has the form.
func Match(t testing.TB, what string, form *regexp.Regexp, text string) {
	t.Helper()
	if !form.MatchString(text) {
		t.Errorf("%s %q is not of the form %s", what, text, form)
	}
}

// Bytes decodes standard padded base64 and requires that it is the one form the bytes have: SDKs decode
// blobs, embed the bytes, and encode them again.
func Bytes(t testing.TB, what, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatalf("%s is not standard base64: %v", what, err)
	}
	if base64.StdEncoding.EncodeToString(b) != text {
		t.Errorf("%s is not canonical base64", what)
	}
	return b
}

// Spoiled is a blob that must be refused, and what is wrong with it.
type Spoiled struct{ What, Blob string }

// Spoil returns the ways to spoil a blob: each byte flipped, cut, lengthened, replaced.
func Spoil(t testing.TB, blob string) []Spoiled {
	t.Helper()
	good := Bytes(t, "blob", blob)
	random := make([]byte, len(good))
	_, _ = rand.Read(random)
	encode := base64.StdEncoding.EncodeToString
	spoiled := []Spoiled{
		{"cut to one byte", encode(good[:1])},
		{"cut to half", encode(good[:len(good)/2])},
		{"cut by one byte", encode(good[:len(good)-1])},
		{"one byte more", encode(append(good[:len(good):len(good)], 0))},
		{"random bytes", encode(random)},
		{"not base64", "not base64!"},
		{"nothing", ""},
	}
	for i := range good {
		good[i] ^= 1
		spoiled = append(spoiled, Spoiled{"flipped byte", encode(good)})
		good[i] ^= 1
	}
	return spoiled
}

// Names are endings that a router, a decoder or a normaliser could change on the way.
var Names = []string{
	"/", "//", "/a/b", "a//b", "/metadata", "/versions", "/../x", " ", " x", "%", "%2F", "%252F", "%zz",
	"100% +1", "+", "a+b c", "?search=x", "#x", "&a=b", ";x", "=x", `\`, `'"`, "<b>", ":", "@", "~", "*",
	"..", ".", "\u00e9", "e\u0301", "日本語", "\U0001f510", "\u00a0", "$&", "[0]",
}

// Values are endings that an encoder could change on the way.
var Values = []string{
	"", " ", "\n", "\x00", `A`, `{"json": 1}`, "\u2028\u2029", "\ufeff", "é", "e\u0301",
	"\U0001f510\U0010ffff", "<&>", "12345678901234567890.10", strings.Repeat("-", 64<<10),
}
