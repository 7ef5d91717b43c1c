// Package base62 writes secrets as digits and letters alone, so that a double click selects them and no
// URL, header or shell changes them: API keys, tickets, flow states, cookies.
package base62

import "crypto/rand"

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// SecretChars is the length of a secret in digits: 43 hold 256 bits.
const SecretChars = 43

// AppendSecret appends 256 bits from crypto/rand as exactly [SecretChars] digits.
func AppendSecret(dst []byte) []byte {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	return Append(dst, random[:], SecretChars)
}

// IsSecret reports whether s has the form that [AppendSecret] writes. It costs the same for every text
// of that form, whatever secret it is.
func IsSecret(s string) bool {
	if len(s) != SecretChars {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return true
}

// Append appends number (big endian) as exactly width digits. It destroys number. 43 digits hold 256
// bits and 6 digits hold 32; what a narrower width cannot hold is cut off at the front.
func Append(dst, number []byte, width int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, width)...)
	for i := width - 1; i >= 0; i-- {
		rest := 0
		for j, b := range number {
			rest = rest<<8 | int(b)
			number[j] = byte(rest / len(alphabet))
			rest %= len(alphabet)
		}
		dst[start+i] = alphabet[rest]
	}
	return dst
}
