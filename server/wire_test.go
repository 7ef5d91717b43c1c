package server_test

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/server"
)

// FuzzPlain compares the short cut with the library: what it calls plain must come out of the library
// as it went in.
func FuzzPlain(f *testing.F) {
	for c := range 256 {
		for at := range 9 {
			b := bytes.Repeat([]byte("v"), 9)
			b[at] = byte(c)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		quoted, err := jsontext.AppendQuote(nil, b)
		same := err == nil && bytes.Equal(quoted, append(append([]byte(`"`), b...), '"'))
		if server.Plain(b) && !same {
			t.Errorf("%q is called plain, and is written %q, %v", b, quoted, err)
		}
		if same && isASCII(b) && !server.Plain(b) {
			t.Errorf("%q is not called plain", b)
		}
	})
}

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 })
}
