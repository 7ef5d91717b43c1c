package server

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// query is the parsed query string. Parameters that a route does not ask for are ignored; those it asks
// for may be there once.
type query struct{ values url.Values }

// query refuses what cannot be unescaped. Routes without parameters call it too: a malformed query is
// one everywhere.
func (x *exchange) query() (query, error) {
	if x.r.URL.RawQuery == "" {
		return query{}, nil
	}
	// The error repeats what could not be parsed.
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return query{}, malformed("invalid_query", "The query string is not percent-encoded correctly.")
	}
	return query{values}, nil
}

// text is a parameter's value, "" if it is absent.
func (q query) text(name string) (string, error) {
	values := q.values[name]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", malformedQuery(name, "occurs more than once")
	case !utf8.ValidString(values[0]):
		return "", malformedQuery(name, "must be UTF-8")
	}
	return values[0], nil
}

// oneOf reads a parameter that has two spellings. Both may be there if they say the same.
func (q query) oneOf(first, second string) (string, error) {
	a, err := q.text(first)
	if err != nil {
		return "", err
	}
	b, err := q.text(second)
	if err != nil {
		return "", err
	}
	// Two values would leave it to chance which of them counts.
	switch {
	case a == "":
		return b, nil
	case b == "" || a == b:
		return a, nil
	}
	return "", malformedQuery(first, "and "+second+" are the same parameter and differ")
}

// flag is a parameter that is true or false; false if it is absent.
func (q query) flag(name string) (bool, error) {
	text, err := q.text(name)
	if err != nil {
		return false, err
	}
	switch text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, malformedQuery(name, "must be true or false")
}

// unless is a parameter that is true or false; true if it is absent.
func (q query) unless(name string) (bool, error) {
	if _, given := q.values[name]; !given {
		return true, nil
	}
	return q.flag(name)
}

// paging is what every list in two directions is asked with. An empty cursor is none: some clients always
// send both.
type paging struct {
	limit         int
	order         string
	before, after string
}

// paging reads the order as one of those allowed, fallback if it is absent. What both cursors together mean
// is the route's to say.
func (q query) paging(fallback string, allowed ...string) (paging, error) {
	var p paging
	var err error
	if p.limit, err = q.limit(); err != nil {
		return p, err
	}
	if p.order, err = q.order(fallback, allowed...); err != nil {
		return p, err
	}
	if p.before, err = q.text("before"); err != nil {
		return p, err
	}
	p.after, err = q.text("after")
	return p, err
}

// pageAfter reads what a list in one direction is asked with: the size of a page, and the cursor it follows.
func pageAfter[ID ~string](q query) (limit int, after ID, err error) {
	if limit, err = q.limit(); err != nil {
		return 0, "", err
	}
	text, err := q.text("after")
	return limit, ID(text), err
}

// limit is the size of a page. The use cases take what is above the maximum for the maximum.
func (q query) limit() (int, error) {
	if _, given := q.values["limit"]; !given {
		return defaultPage, nil
	}
	text, err := q.text("limit")
	if err != nil {
		return 0, err
	}
	if n := digits(text); n >= 1 {
		return n, nil
	}
	return 0, malformedQuery("limit", "must be a number from 1 to 100")
}

// digits reads a decimal number without sign, and of any length: what exceeds maxPage stays just above
// it. -1 if the text is none.
func digits(text string) int {
	if text == "" {
		return -1
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return -1
		}
		n = min(n*10+int(c-'0'), maxPage+1)
	}
	return n
}

// order reads the order of a list; fallback if it is absent.
func (q query) order(fallback string, allowed ...string) (string, error) {
	if _, given := q.values["order"]; !given {
		return fallback, nil
	}
	text, err := q.text("order")
	if err != nil {
		return "", err
	}
	for _, a := range allowed {
		if text == a {
			return a, nil
		}
	}
	return "", malformedQuery("order", "must be "+strings.Join(allowed, " or "))
}

// moment parses a time of RFC 3339; the zero time if the text is empty.
func moment(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, malformedQuery(field, `must be a time as RFC 3339 writes it, with "+" as %2B`)
	}
	return at.UTC(), nil
}
