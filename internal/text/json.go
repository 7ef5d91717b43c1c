package text

import "github.com/go-json-experiment/json/jsontext"

// AppendJSON appends s as a JSON string. Text that is not UTF-8 is an error that repeats it; what was
// appended then has U+FFFD in its places. Most texts are plain, for which looking at eight bytes at a time is
// a tenth of the work.
func AppendJSON[T ~[]byte | ~string](dst []byte, s T) ([]byte, error) {
	if !plain(s) {
		return jsontext.AppendQuote(dst, s)
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), nil
}

// plain reports whether JSON writes these bytes as they are: ASCII without controls, quotes and
// backslashes. Each test sets the high bit of the bytes it finds; below 0x80 none of them errs.
func plain[T ~[]byte | ~string](s T) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := s
	for len(b) >= 8 {
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		quotes, slashes := w^(ones*'"'), w^(ones*'\\')
		if (w|(w-ones*' ')|(quotes-ones)|(slashes-ones))&high != 0 {
			return false
		}
		b = b[8:]
	}
	for i := range len(b) {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}
