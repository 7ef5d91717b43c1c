package base62_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"culvert/internal/base62"
)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// slow is the definition.
func slow(number []byte, width int) string {
	n, base, digit := new(big.Int).SetBytes(number), big.NewInt(62), new(big.Int)
	text := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = digits[digit.Int64()]
	}
	return string(text)
}

func TestAppend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "number")
		got, want := string(base62.Append([]byte("x"), bytes.Clone(number), base62.SecretChars)), "x"+slow(number, base62.SecretChars)
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
	// Nothing is cut off at the largest numbers.
	for size, width := range map[int]int{32: base62.SecretChars, 4: 6} {
		number := bytes.Repeat([]byte{0xff}, size)
		if got, want := string(base62.Append(nil, bytes.Clone(number), width)), slow(number, width); got != want || got[0] == '0' {
			t.Errorf("%d bytes: got %s, want %s", size, got, want)
		}
	}
}

func TestSecret(t *testing.T) {
	one, other := string(base62.AppendSecret([]byte("sk_"))), string(base62.AppendSecret(nil))
	if !strings.HasPrefix(one, "sk_") || one[3:] == other {
		t.Error("two secrets are the same")
	}
	for _, s := range []string{one[3:], other, digits[:base62.SecretChars]} {
		if !base62.IsSecret(s) {
			t.Error("a secret is none")
		}
	}
	good := digits[:base62.SecretChars]
	for _, s := range []string{
		"", good[1:], good + "0", "-" + good[1:], good[1:] + "_", good[1:] + "\x00", good[2:] + "é", "/" + good[1:], ":" + good[1:],
		"@" + good[1:], "[" + good[1:], "`" + good[1:], "{" + good[1:],
	} {
		if base62.IsSecret(s) {
			t.Errorf("%q is a secret", s)
		}
	}
}
