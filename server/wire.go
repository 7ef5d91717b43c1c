package server

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"culvert/internal/secret"
	"culvert/internal/text"
	"culvert/keys"
)

// This file is the only one of the server in which plaintext becomes bytes of an answer: the import
// rules allow Reveal here and nowhere else in the package.

// setFlowCookie hands the browser the secret that is its own, behind the time at which it was made.
func (x *exchange) setFlowCookie(at time.Time, binding secret.Bytes) {
	x.addCookie(flowCookie, strconv.FormatInt(at.Unix(), 10)+"."+string(binding.Reveal()), flowCookieAge)
}

// Times on the wire: vault has microseconds, everything else milliseconds, always all digits, because
// some SDKs refuse other widths (contract section 0, rule 3).
const (
	vaultTime   = 6
	generalTime = 3
)

// jsonWriter appends JSON by hand: an answer is a handful of known members, and reflection would cost
// more than the decryption. The first failure sticks; callers check err once, at the end.
type jsonWriter struct {
	b   []byte
	err error
}

// raw appends what is JSON already: punctuation and member names of ours.
func (w *jsonWriter) raw(s string) { w.b = append(w.b, s...) }

// text appends a string. It fails on invalid UTF-8, which nothing that was let in contains.
func (w *jsonWriter) text(s string) { quote(w, s) }

// quote appends a string byte for byte as it was stored.
func quote[T ~[]byte | ~string](w *jsonWriter, s T) {
	b, err := text.AppendJSON(w.b, s)
	if err != nil {
		// Its text repeats the input.
		w.err = errors.New("server: text to be encoded is not UTF-8")
		return
	}
	w.b = b
}

// textOrNull appends null for the empty string.
func (w *jsonWriter) textOrNull(s string) {
	if s == "" {
		w.raw("null")
		return
	}
	w.text(s)
}

// value appends a secret value as a string, byte for byte what was stored.
func (w *jsonWriter) value(s secret.Bytes) { quote(w, s.Reveal()) }

// key appends a data key in standard base64.
func (w *jsonWriter) key(s secret.Bytes) { w.base64(s.Reveal()) }

// base64 appends bytes in standard padded base64, the one form SDKs accept.
func (w *jsonWriter) base64(b []byte) {
	w.raw(`"`)
	w.b = base64.StdEncoding.AppendEncode(w.b, b)
	w.raw(`"`)
}

func (w *jsonWriter) number(n int) { w.b = strconv.AppendInt(w.b, int64(n), 10) }

// time appends a time in UTC with that many digits behind the second. The library has a short way for this
// one layout, and none for fractions of fixed width.
func (w *jsonWriter) time(t time.Time, digits int) {
	t = t.UTC()
	w.raw(`"`)
	w.b = t.AppendFormat(w.b, time.RFC3339)
	w.b[len(w.b)-1] = '.' // in place of the Z
	fraction := t.Nanosecond()
	for unit := 100_000_000; digits > 0; digits-- {
		w.b = append(w.b, byte('0'+fraction/unit))
		fraction, unit = fraction%unit, unit/10
	}
	w.raw(`Z"`)
}

// timeOrNull appends null for the zero time.
func (w *jsonWriter) timeOrNull(t time.Time) {
	if t.IsZero() {
		w.raw("null")
		return
	}
	w.time(t, generalTime)
}

func (w *jsonWriter) bool(v bool) { w.b = strconv.AppendBool(w.b, v) }

// texts appends a list of strings; a function, because methods have no type parameters.
func texts[T ~string](w *jsonWriter, list []T) {
	w.raw(`[`)
	for i, s := range list {
		if i > 0 {
			w.raw(`,`)
		}
		w.text(string(s))
	}
	w.raw(`]`)
}

// context appends a key context in the order of its canonical form, so that equal contexts look equal.
func (w *jsonWriter) context(c keys.Context) {
	separator := `{`
	for name, value := range c.All() {
		w.raw(separator)
		w.text(name)
		w.raw(`:`)
		w.text(value)
		separator = `,`
	}
	if separator == `{` {
		w.raw(separator)
	}
	w.raw(`}`)
}

// items appends an object of strings, sorted by name.
func (w *jsonWriter) items(items map[string]string) {
	separator := `{`
	if len(items) == 0 {
		w.raw(separator)
	}
	for _, name := range slices.Sorted(maps.Keys(items)) {
		w.raw(separator)
		w.text(name)
		w.raw(`:`)
		w.text(items[name])
		separator = `,`
	}
	w.raw(`}`)
}

// list appends the envelope of every list around its entries.
func list[T any](w *jsonWriter, data []T, before, after string, entry func(T)) {
	w.raw(`{"object":"list","data":`)
	entries(w, data, entry)
	w.raw(`,"list_metadata":{"before":`)
	w.textOrNull(before)
	w.raw(`,"after":`)
	w.textOrNull(after)
	w.raw(`}}`)
}

// entries appends a list of what entry appends.
func entries[T any](w *jsonWriter, data []T, entry func(T)) {
	w.raw(`[`)
	for i, d := range data {
		if i > 0 {
			w.raw(`,`)
		}
		entry(d)
	}
	w.raw(`]`)
}

// done is what encoders return.
func (w *jsonWriter) done() ([]byte, error) { return w.b, w.err }

// writeProblem answers with an error.
func (x *exchange) writeProblem(p *problem) {
	x.retryAfter(p)
	x.write(p.status, appendProblem(make([]byte, 0, 256), p, x.id, x.vaultShaped()))
}

// retryAfter says when to come back, in whole seconds, rounded up.
func (x *exchange) retryAfter(p *problem) {
	if p.retry > 0 {
		seconds := int((p.retry + time.Second - 1) / time.Second)
		x.set("Retry-After", strconv.Itoa(seconds))
	}
}

// refusal appends one refused value.
func (w *jsonWriter) refusal(p *problem) {
	w.raw(`{"code":`)
	w.text(p.code)
	w.raw(`,"field":`)
	w.text(p.field)
	w.raw(`,"message":`)
	w.text(p.text)
	w.raw(`}`)
}

// appendProblem appends an error body. Vault routes say everything twice, in "error" and "message": SDKs
// read one or the other (contract section 4). The array of errors is for refused values elsewhere. It
// cannot fail: every text is ours.
func appendProblem(b []byte, p *problem, requestID string, vault bool) []byte {
	w := &jsonWriter{b: b}
	code, text := p.code, p.text
	validation := !vault && p.status == http.StatusUnprocessableEntity && p.field != ""
	if validation {
		code, text = "invalid_request_parameters", "Validation failed."
	}
	w.raw(`{`)
	if vault {
		w.raw(`"error":`)
		w.text(text)
		w.raw(`,`)
	}
	w.raw(`"message":`)
	w.text(text)
	w.raw(`,"code":`)
	w.text(code)
	w.raw(`,"request_id":`)
	w.text(requestID)
	if validation {
		w.raw(`,"errors":`)
		entries(w, append([]*problem{p}, p.others...), w.refusal)
	}
	w.raw(`}`)
	return w.b
}
