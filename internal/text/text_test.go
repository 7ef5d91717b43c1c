package text_test

import (
	"testing"
	"unicode/utf8"

	"culvert/internal/text"
)

func TestUnprintable(t *testing.T) {
	for name, refused := range map[string]string{
		"NUL": "a\x00b", "newline": "a\nb", "carriage return": "a\rb", "tab": "\t", "escape": "\x1b[31m", "DEL": "\x7f",
		"C1 control": "a\u0085b", "last C1": "\u009f",
		"right-to-left override": "invoice\u202egpj.exe", "left-to-right mark": "\u200e", "isolate": "\u2066a\u2069",
		"Arabic letter mark": "\u061c", "pop": "\u202c",
		"lone byte": "a\xff", "overlong slash": "\xc0\xaf", "surrogate": "\xed\xa0\x80", "cut short": "\xe2\x82",
	} {
		if !text.Unprintable(refused) {
			t.Errorf("%s: let through", name)
		}
	}
	// Everything else is kept as it is: names are compared as bytes, never normalised.
	for name, kept := range map[string]string{
		"empty": "", "space": " a ", "slash": "a/b", "percent": "%2F", "NFC": "\u00e9", "NFD": "e\u0301", "emoji": "\U0001f512",
		"zero-width joiner": "a\u200db", "no-break space": "\u00a0", "line separator": "\u2028", "Arabic": "\u0633\u0631",
		"replacement character": "\ufffd", "byte order mark": "\ufeff", "quote": `"\`,
	} {
		if text.Unprintable(kept) {
			t.Errorf("%s: refused", name)
		}
	}
}

func FuzzUnprintable(f *testing.F) {
	f.Add("a\u202eb")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if !text.Unprintable(s) && !utf8.ValidString(s) {
			t.Errorf("let through: %q", s)
		}
		if !text.Unprintable(s) && text.Unprintable(s+s) {
			t.Errorf("twice is worse than once: %q", s)
		}
	})
}
