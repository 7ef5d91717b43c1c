package access_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/id"
)

// keyForm is what a secret scanner is given; the checksum proves a find.
var keyForm = regexp.MustCompile(`\bsk_[0-7][0-9A-HJKMNP-TV-Z]{25}_[0-7][0-9A-HJKMNP-TV-Z]{25}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\b`)

// golden is a key of the settled form. It was never valid anywhere.
const golden = "sk_01JD8Z6Q5RN5T4M0A1B2C3D4E5_01JD8Z6Q5RN5T4M0A1B2C3D4E6_" +
	"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg_4R268l"

const env = access.EnvironmentID("01JD8Z6Q5RN5T4M0A1B2C3D4E5")

func MustGenerate(t testing.TB) (access.APIKey, string) {
	t.Helper()
	key, err := access.GenerateAPIKey(env, time.Now())
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	return key, string(key.Text().Reveal())
}

// base62 is the encoding written another way: big.Int has the lower case letters first.
func base62(number []byte, width int) string {
	swap := func(r rune) rune {
		if r >= 'A' {
			return r ^ 0x20
		}
		return r
	}
	return strings.Map(swap, fmt.Sprintf("%0*s", width, new(big.Int).SetBytes(number).Text(62)))
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	return base62([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, 6)
}

func TestGoldenKey(t *testing.T) {
	body := golden[:len(golden)-7]
	if want := body + "_" + checksum(body); want != golden {
		t.Errorf("the golden key should be %s", want)
	}
	key, err := access.ParseAPIKey(golden)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	if key.Environment != env || key.ID != "01JD8Z6Q5RN5T4M0A1B2C3D4E6" || string(key.Text().Reveal()) != golden {
		t.Errorf("got %s, %s", key.Environment, key.ID)
	}
}

func TestGeneratedKeys(t *testing.T) {
	key, text := MustGenerate(t)
	if found := keyForm.FindString("Authorization: Bearer " + text + "\n"); found != text {
		t.Error("a scanner does not find a generated key")
	}
	parsed, err := access.ParseAPIKey(text)
	if err != nil || parsed.ID != key.ID || parsed.Environment != env || !parsed.Text().Equal(key.Text()) {
		t.Errorf("parsed: got %s of %s, %v; want %s of %s", parsed.ID, parsed.Environment, err, key.ID, env)
	}
	if _, other := MustGenerate(t); other == text || other[57:100] == text[57:100] {
		t.Error("two keys with one secret")
	}
	for _, bad := range []access.EnvironmentID{"", "default", env + "0", access.EnvironmentID(env.OnWire())} {
		if _, err := access.GenerateAPIKey(bad, time.Now()); err == nil {
			t.Errorf("generated a key of environment %q", bad)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	_, text := MustGenerate(t)
	bad := map[string]string{
		"empty": "", "prefix alone": "sk_", "short": text[:len(text)-1], "long": text + "0", "space": text[:106] + " ",
		"newline": text + "\n", "other prefix": "pk" + text[2:], "upper prefix": "SK" + text[2:],
		"no checksum": text[:100], "environment on wire": "sk_environment_" + text[3:],
		"huge": strings.Repeat(text, 1000),
	}
	// Any one character changed, also to another legal one.
	for i := range len(text) {
		for _, c := range []byte{'0', 'Z', 'z', '_', 0, 0xff} {
			if text[i] != c {
				bad[fmt.Sprintf("%q at %d", c, i)] = text[:i] + string([]byte{c}) + text[i+1:]
			}
		}
	}
	// A right checksum does not make up for a wrong form.
	for name, body := range map[string]string{
		"lower case environment": "sk_" + strings.ToLower(string(env)) + text[29:100],
		"overflowing key id":     text[:30] + "8" + text[31:100],
		"secret with a dash":     text[:99] + "-",
		"secret with underscore": text[:99] + "_",
	} {
		bad[name] = body + "_" + checksum(body)
	}
	for name, spoiled := range bad {
		key, err := access.ParseAPIKey(spoiled)
		if !errors.Is(err, access.ErrMalformedKey) || key.ID != "" || key.Text().Len() != 0 {
			t.Errorf("%s: got %v and key id %q", name, err, key.ID)
		}
		if err != nil && len(spoiled) > 50 && strings.Contains(err.Error(), spoiled[40:50]) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
	if _, err := access.ParseAPIKey(text); err != nil {
		t.Errorf("the key itself: %v", err)
	}
}

func FuzzParseAPIKey(f *testing.F) {
	f.Add(golden)
	f.Add("")
	f.Add("sk_")
	f.Add(strings.Repeat("_", 107))
	f.Add("sk_" + strings.Repeat("0", 26) + "_" + strings.Repeat("0", 26) + "_" + strings.Repeat("0", 43) + "_000000")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := access.ParseAPIKey(text)
		if err != nil {
			if err != access.ErrMalformedKey {
				t.Fatalf("error: %v", err)
			}
			return
		}
		// What is accepted is exactly one spelling of exactly these parts.
		if string(key.Text().Reveal()) != text || !keyForm.MatchString(text) || !id.IsULID(key.ID) ||
			!strings.HasPrefix(text, "sk_"+string(key.Environment)+"_"+key.ID+"_") {
			t.Fatalf("accepted as %s of %s", key.ID, key.Environment)
		}
	})
}

func TestKeysDoNotPrint(t *testing.T) {
	key, text := MustGenerate(t)
	canary := text[57:]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb+" "+verb, key, &key); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s prints the key", verb)
		}
	}
}

func BenchmarkParseAPIKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := access.ParseAPIKey(golden); err != nil {
			b.Fatal(err)
		}
	}
}
