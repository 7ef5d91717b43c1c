package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/secret"
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
	if x.repeats != nil {
		x.repeats.Body = secret.New(b.Bytes()) // as sent is what a retry must repeat; the store keeps a keyed hash
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
	_, err := decodeNullable(raw, members...)
	return err
}

// decodeNullable is decodeObject for the few requests in which null is not absent: it tells which of the
// listed members were null, nested ones by their full name.
func decodeNullable(raw []byte, members ...member) (nulls []string, err error) {
	r := &jsonReader{dec: jsontext.NewDecoder(bytes.NewBuffer(raw))}
	if r.dec.PeekKind() != '{' {
		return nil, r.syntax(nil)
	}
	err = r.object(members)
	if err != nil && !isRefusal(err) {
		return nil, err
	}
	if _, end := r.dec.ReadToken(); !errors.Is(end, io.EOF) {
		return nil, malformed(codeInvalidJSON, "Something follows the JSON object.")
	}
	return r.nulls, err
}

// object reads one object from its opening brace to the closing one. It reads on behind a refused value
// and returns all of them as one, because a body that turns out not to be JSON is 400 whatever else it
// is, and because a caller with three mistakes would else need three tries.
func (r *jsonReader) object(members []member) error {
	seen := make([]bool, len(members))
	var wrong refusals
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
		if i >= 0 && isNull {
			r.nulls = append(r.nulls, r.prefix+members[i].name)
		}
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
			wrong.add(err)
		}
	}
	if _, err := r.token(); err != nil {
		return err
	}
	for i, m := range members {
		if m.required && !seen[i] {
			wrong.add(refused("required", r.prefix+m.name, "is required"))
		}
	}
	return wrong.err()
}

// refusals gathers what is wrong with a body, in order.
type refusals struct{ first *problem }

// add takes a refusal, with those that it brings along from a nested object.
func (r *refusals) add(err error) {
	var p *problem
	errors.As(err, &p)
	if r.first == nil {
		r.first = p
		return
	}
	r.first.others = append(append(r.first.others, p), p.others...)
}

// err is the first with all others, or nil.
func (r *refusals) err() error {
	if r.first == nil {
		return nil
	}
	return r.first
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
	// prefix is put before the names of members of a nested object where errors name them.
	prefix string
	// nulls are the listed members that were null.
	nulls []string
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
		return nil, refused("invalid_type", r.prefix+field, "must be a string")
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
