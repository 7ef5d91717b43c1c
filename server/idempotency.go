package server

import (
	"net/http"

	"culvert/internal/idempotency"
)

// readIdempotencyKey reads the header on the routes that honour it, before the body, which costs more. What stands in
// place of the path's parameters, and the query, are part of the request: the same key for another account is another
// request.
func (x *exchange) readIdempotencyKey() error {
	if !x.route.Once {
		return nil
	}
	key, err := idempotencyKey(x.r.Header)
	if err != nil || key == "" {
		return err
	}
	path := x.route.Path
	for _, p := range x.params {
		path += " " + p.Value // escaped, so without a space
	}
	if x.r.URL.RawQuery != "" {
		path += " ?" + x.r.URL.RawQuery
	}
	x.repeats = &idempotency.Request{Method: x.route.Method, Path: path, Key: key}
	return nil
}

// idempotencyKey reads the header; "" if there is none. It is no secret, but what goes into keys of
// the store and into logs of SDKs has to be harmless text.
func idempotencyKey(h http.Header) (string, error) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	refusal := malformed("invalid_idempotency_key",
		"Idempotency-Key must be given once, with 1 to 255 printable ASCII characters.")
	if len(values) > 1 || values[0] == "" || len(values[0]) > maxIdempotencyKey {
		return "", refusal
	}
	for _, c := range []byte(values[0]) {
		if c < ' ' || c > '~' {
			return "", refusal
		}
	}
	return values[0], nil
}
