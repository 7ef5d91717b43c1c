// Package secret holds bytes that must not be printed: values, keys, tokens, API keys.
//
// A [Bytes] can be passed around, measured and compared, but fmt, slog, encoding/json and
// go-json-experiment/json render it as "[redacted]" under every verb, and as an address where fmt calls
// no methods: in an unexported field of another struct. Only code named in internal/arch may call Reveal.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Bytes is an immutable secret. The zero value is an empty secret.
//
// The plaintext lives behind a closure because fmt prints the unexported fields of a struct without
// calling their Format methods: a slice there would leak, a func prints as an address.
type Bytes struct{ reveal func() []byte }

// New takes ownership of b: the caller must neither change nor keep it.
func New(b []byte) Bytes { return Bytes{reveal: func() []byte { return b }} }

// Reveal returns the plaintext itself, not a copy; it must not be changed but by [Bytes.Wipe]. Every call site is listed
// in internal/arch.
func (b Bytes) Reveal() []byte {
	if b.reveal == nil {
		return nil
	}
	return b.reveal()
}

// Wipe overwrites the plaintext with zeros, for everybody who holds this secret: only its last user may.
func (b Bytes) Wipe() { clear(b.Reveal()) }

// Len is the length in bytes.
func (b Bytes) Len() int { return len(b.Reveal()) }

// Equal compares in constant time; not even the lengths are told apart by timing.
func (b Bytes) Equal(other Bytes) bool {
	x, y := sha256.Sum256(b.Reveal()), sha256.Sum256(other.Reveal())
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Last4 is the part of a credential that may be shown again (contract section 2.1, the last_4 fields).
// Secrets of fewer than eight bytes show nothing: four of five characters would be most of it.
func (b Bytes) Last4() string {
	p := b.Reveal()
	if len(p) < 8 {
		return ""
	}
	return string(p[len(p)-4:])
}

// Format implements [fmt.Formatter] for every verb and flag.
func (b Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements [fmt.Stringer] for callers that bypass fmt's Formatter.
func (b Bytes) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (b Bytes) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (b Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the plaintext out of every encoder that honours encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }
