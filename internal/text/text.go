// Package text says which characters names and context items may not hold, and writes text as JSON.
// Everything else is kept as the caller's bytes: no normalisation, no trimming, no case folding.
package text

import (
	"unicode"
	"unicode/utf8"
)

// Unprintable reports invalid UTF-8, control characters (C0, DEL, C1) and the bidirectional
// formatting characters, with which a name can be made to look like another one in a console or log.
func Unprintable(s string) bool {
	if !utf8.ValidString(s) {
		return true
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return true
		}
	}
	return false
}
