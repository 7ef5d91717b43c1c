package text_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/text"
)

// FuzzAppendJSON holds the short way to the library's: the same bytes, and an error for the same texts.
func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "12345678", strings.Repeat("v", 100), "\u00e9", "\u2028", "\xed\xa0\x80"} {
		f.Add(s)
	}
	// Every byte at every place of a group of eight, and in the rest behind it.
	for c := range 256 {
		for at := range 9 {
			b := bytes.Repeat([]byte("v"), 9)
			b[at] = byte(c)
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := text.AppendJSON([]byte("x"), s)
		want, wantErr := jsontext.AppendQuote([]byte("x"), s)
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%q: got %q, %v, want %q, %v", s, got, err, want, wantErr)
		}
		if got, _ = text.AppendJSON([]byte("x"), []byte(s)); !bytes.Equal(got, want) {
			t.Errorf("%q as bytes: got %q, want %q", s, got, want)
		}
	})
}
