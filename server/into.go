package server

import (
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"culvert/internal/secret"
	"culvert/keys"
)

// What follows takes the value of one member, each for one type. Errors name the member and say what is
// allowed; they never repeat what was sent.

// optional is a member that may be missing.
func optional[T any](name string, into func(string, *T) func(*jsonReader) error, to *T) member {
	return member{name, false, into(name, to)}
}

// required is a member that may not be missing.
func required[T any](name string, into func(string, *T) func(*jsonReader) error, to *T) member {
	return member{name, true, into(name, to)}
}

// changed is a member of an update: to stays nil where the member is missing.
func changed[T any](name string, into func(string, *T) func(*jsonReader) error, to **T) member {
	return member{name, false, func(r *jsonReader) error {
		value := new(T)
		err := into(name, value)(r)
		*to = value
		return err
	}}
}

// textInto takes a string member. Its rules (length, characters) are those of the use case.
func textInto[T ~string](field string, to *T) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		*to = T(text)
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
	wrong := refused("invalid_type", r.prefix+field, "must be an object of strings")
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

// itemsInto takes an object of strings whose names mean nothing here.
func itemsInto(field string, to *map[string]string) func(*jsonReader) error {
	return func(r *jsonReader) error {
		items, err := r.items(field)
		*to = items
		return err
	}
}

// flagInto takes true or false, and nothing that merely looks like it.
func flagInto(field string, to *bool) func(*jsonReader) error {
	return func(r *jsonReader) error {
		kind := r.dec.PeekKind()
		if err := r.skip(); err != nil {
			return err
		}
		if kind != 't' && kind != 'f' {
			return refused("invalid_type", r.prefix+field, "must be true or false")
		}
		*to = kind == 't'
		return nil
	}
}

// countInto takes a whole number that is not negative.
func countInto(field string, to *int) func(*jsonReader) error {
	return func(r *jsonReader) error {
		wrong := refused("invalid_type", r.prefix+field, "must be a whole number that is not negative")
		if r.dec.PeekKind() != '0' {
			if err := r.skip(); err != nil {
				return err
			}
			return wrong
		}
		number, err := r.dec.ReadValue()
		if err != nil {
			return r.syntax(err)
		}
		n, err := strconv.ParseUint(string(number), 10, 31)
		if err != nil {
			return wrong
		}
		*to = int(n)
		return nil
	}
}

// listInto takes a list of strings. An empty list is nil: it asks for nothing, as a missing one does.
func listInto[T ~string](field string, to *[]T) func(*jsonReader) error {
	return func(r *jsonReader) error {
		wrong := refused("invalid_type", r.prefix+field, "must be a list of strings")
		if r.dec.PeekKind() != '[' {
			if err := r.skip(); err != nil {
				return err
			}
			return wrong
		}
		if _, err := r.token(); err != nil {
			return err
		}
		var list []T
		var first error
		for r.dec.PeekKind() != ']' {
			value, err := r.text(field)
			if err != nil && !isRefusal(err) {
				return err
			}
			if err != nil {
				first = wrong
			}
			list = append(list, T(value))
		}
		if _, err := r.token(); err != nil {
			return err
		}
		*to = list
		return first
	}
}

// momentInto takes a time of RFC 3339. Years before 1970 are mistakes, and one of them is Go's own way
// to say that there is no time.
func momentInto(field string, to *time.Time) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		if err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339, string(text))
		if err != nil || at.Unix() <= 0 {
			return refused("invalid_value", r.prefix+field, "must be a time as RFC 3339 writes it")
		}
		*to = at.UTC()
		return nil
	}
}

// nested is a member that is an object with members of its own. present tells that it was there.
func nested(name string, present *bool, members ...member) member {
	return member{name, false, func(r *jsonReader) error {
		*present = true
		if r.dec.PeekKind() != '{' {
			if err := r.skip(); err != nil {
				return err
			}
			return refused("invalid_type", r.prefix+name, "must be an object")
		}
		outer := r.prefix
		r.prefix += name + "."
		err := r.object(members)
		r.prefix = outer
		return err
	}}
}

// unsupported is a member of the contract that this version cannot carry out: to ignore it would be to
// do something else than was asked for.
func unsupported(name string) member {
	return member{name, false, func(r *jsonReader) error {
		if err := r.skip(); err != nil {
			return err
		}
		return refused("not_supported", r.prefix+name, "is not supported yet")
	}}
}
