package server

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/secret"
	"culvert/keys"
)

// body reads the request's body whole, as far as the limit: more is refused when it arrives, not when
// it is announced. The result holds plaintext.
func (x *exchange) body() ([]byte, error) {
	if err := checkMediaType(x.r.Header); err != nil {
		return nil, err
	}
	// The announced length saves reading what will be refused; the reader below is what holds the limit.
	limit := x.server.limits.BodyBytes
	if x.r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	var b bytes.Buffer
	if n := x.r.ContentLength; n > 0 {
		// One spare byte lets the read that finds the end happen without growing.
		b.Grow(int(min(n, firstRead)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(x.w, x.r.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, bodyTooLarge(limit)
	}
	if err != nil {
		// The client's fault or going away; what exactly net/http saw is not worth an echo.
		return nil, malformed("incomplete_body", "The body ended before it was complete.")
	}
	return b.Bytes(), nil
}

// checkMediaType accepts JSON in UTF-8, also where nothing is said, and no encoding: what would have to
// be decompressed first could be any size.
func checkMediaType(h http.Header) error {
	for _, encoding := range h["Content-Encoding"] {
		if !strings.EqualFold(encoding, "identity") {
			return wrongMediaType("Content-Encoding is not supported; send the body as it is.")
		}
	}
	types := h["Content-Type"]
	if len(types) == 0 || len(types) == 1 && types[0] == "application/json" {
		return nil
	}
	refusal := wrongMediaType("The body must be of type application/json in UTF-8.")
	if len(types) > 1 {
		return refusal
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || kind != "application/json" {
		return refusal
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refusal
	}
	return nil
}

// member is a field of a body: its name on the wire and what takes its value. null is as good as absent.
type member struct {
	name     string
	required bool
	// read takes exactly one JSON value; it is never called for null. The error is a *problem.
	read func(*jsonReader) error
}

// decodeObject reads a JSON object and nothing behind it (RFC 8259, restricted as RFC 7493 asks: UTF-8,
// no lone surrogates, no duplicate names). Members that are not in the list are ignored, unless they
// are one of the list in another case: "Value" next to "value" is a mistake or an attempt to be read
// differently by two parsers. A body that is not JSON is that, whatever else is wrong with it.
func decodeObject(raw []byte, members ...member) error {
	r := &jsonReader{dec: jsontext.NewDecoder(bytes.NewBuffer(raw))}
	seen := make([]bool, len(members))
	// first is the first refused value. Reading goes on behind it, because a body that turns out not to be
	// JSON is 400 whatever else it is.
	var first error
	if r.dec.PeekKind() != '{' {
		return r.syntax(nil)
	}
	if _, err := r.token(); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		token, err := r.token()
		if err != nil {
			return err
		}
		i, err := lookup(members, token.String())
		if err != nil {
			return err
		}
		isNull := r.dec.PeekKind() == 'n'
		// What nobody reads is still checked, for duplicates and UTF-8, and bounded.
		if i < 0 || isNull {
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		seen[i] = true
		if err := members[i].read(r); err != nil {
			if !isRefusal(err) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	for i, m := range members {
		if m.required && !seen[i] && first == nil {
			first = refused("required", m.name, "is required")
		}
	}
	return first
}

// lookup finds a member by its exact name; -1 if there is none.
func lookup(members []member, name string) (int, error) {
	for i, m := range members {
		if m.name == name {
			return i, nil
		}
		if strings.EqualFold(m.name, name) {
			return 0, malformed(codeInvalidJSON, "A member has the name "+m.name+" in another case.")
		}
	}
	return -1, nil
}

const codeInvalidJSON = "invalid_json"

// isRefusal tells a refused value, after which reading goes on, from a body that is not JSON.
func isRefusal(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.code != codeInvalidJSON
}

// jsonReader reads tokens within the limits of depth and number. Every error is ours: the library's
// repeat the input.
type jsonReader struct {
	dec    *jsontext.Decoder
	tokens int
}

func (r *jsonReader) token() (jsontext.Token, error) {
	t, err := r.dec.ReadToken()
	if err != nil {
		return t, r.syntax(err)
	}
	if r.dec.StackDepth() > maxDepth {
		return t, malformed(codeInvalidJSON, fmt.Sprintf("The body is nested deeper than %d levels.", maxDepth))
	}
	if r.tokens++; r.tokens > maxTokens {
		return t, malformed(codeInvalidJSON, fmt.Sprintf("The body has more than %d names and values.", maxTokens))
	}
	return t, nil
}

// skip reads one value without keeping it, token by token: the library's own skip goes 10,000 deep.
func (r *jsonReader) skip() error {
	depth := r.dec.StackDepth()
	for {
		if _, err := r.token(); err != nil {
			return err
		}
		if r.dec.StackDepth() <= depth {
			return nil
		}
	}
}

// end reads the closing brace and makes sure that nothing but white space follows.
func (r *jsonReader) end() error {
	if _, err := r.token(); err != nil {
		return err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed(codeInvalidJSON, "Something follows the JSON object.")
	}
	return nil
}

// syntax is the library's error in our words, which say as much as a person needs to find the mistake.
func (r *jsonReader) syntax(err error) *problem {
	switch {
	case err == nil:
		return malformed(codeInvalidJSON, "The body must be a JSON object.")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return malformed(codeInvalidJSON, "A name occurs twice in a JSON object.")
	}
	return malformed(codeInvalidJSON, "The body is not valid JSON in UTF-8.")
}

// text reads a string as it was meant: unescaped, byte for byte.
func (r *jsonReader) text(field string) ([]byte, error) {
	if r.dec.PeekKind() != '"' {
		if err := r.skip(); err != nil {
			return nil, err
		}
		return nil, refused("invalid_type", field, "must be a string")
	}
	quoted, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.syntax(err)
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return nil, r.syntax(err)
	}
	return text, nil
}

// textInto takes a string member. Its rules (length, characters) are those of the use case.
func textInto(field string, to *string) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		*to = string(text)
		return err
	}
}

// secretInto takes a string member that must not be printed: it is in clear nowhere but in the body
// and here.
func secretInto(field string, to *secret.Bytes) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		*to = secret.New(text)
		return err
	}
}

// contextInto takes a key context: an object of strings, whose names are compared as bytes.
func contextInto(field string, to *keys.Context) func(*jsonReader) error {
	return func(r *jsonReader) error {
		items, err := r.items(field)
		if err != nil {
			return err
		}
		*to, err = keys.ParseContext(items)
		var invalid *keys.ContextError
		if errors.As(err, &invalid) {
			return refused("invalid_value", field, "is not allowed: "+invalid.Rule)
		}
		return err
	}
}

// items reads an object of strings. It reads on behind the first wrong value, so that the rest is
// still checked for being JSON.
func (r *jsonReader) items(field string) (map[string]string, error) {
	wrong := refused("invalid_type", field, "must be an object of strings")
	if r.dec.PeekKind() != '{' {
		if err := r.skip(); err != nil {
			return nil, err
		}
		return nil, wrong
	}
	if _, err := r.token(); err != nil {
		return nil, err
	}
	items := make(map[string]string)
	var first error
	for r.dec.PeekKind() != '}' {
		name, err := r.token()
		if err != nil {
			return nil, err
		}
		// The token is gone with the next read.
		key := name.String()
		value, err := r.text(field)
		if err != nil && !isRefusal(err) {
			return nil, err
		}
		if err != nil && first == nil {
			first = wrong
		}
		items[key] = string(value)
	}
	if _, err := r.token(); err != nil {
		return nil, err
	}
	return items, first
}

// blobInto takes a data key blob in standard padded base64. Only the one text that encoding the bytes
// gives is accepted: SDKs decode and encode again, and Go's decoder alone would let line breaks and
// stray bits pass.
func blobInto(field string, to *[]byte) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		if err != nil {
			return err
		}
		blob, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil || base64.StdEncoding.EncodeToString(blob) != string(text) {
			return malformed("invalid_encrypted_keys", field+" must be standard base64 with padding.")
		}
		*to = blob
		return nil
	}
}
