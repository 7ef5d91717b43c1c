package connectors

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/secret"
)

// Reply is a token endpoint's answer, or an object inside it, taken apart but not yet understood.
// Members are read by name; one that is absent, null or of another type reads as nothing.
type Reply struct {
	*answer
	// member is a closure for the reason that secret.Bytes is one: what it holds cannot be printed.
	member func(name string) jsontext.Value
}

type members map[string]jsontext.Value

func (m members) reply(a *answer) Reply {
	return Reply{answer: a, member: func(name string) jsontext.Value { return m[name] }}
}

// answer is what an HTTP response says besides its body, and what was asked.
type answer struct {
	conn *Connector
	// status is the HTTP status.
	status int
	html   bool
	// sent is our clock when the request left, date the provider's when it answered; zero if it did not say.
	sent, received, date time.Time
	retryAfter           time.Duration
	// secrets went out with the request: a provider may send them back, in an error code too.
	secrets []secret.Bytes
}

// maxCodeBytes is the longest error code that is passed on. Known ones have at most half of it.
const maxCodeBytes = 64

// read takes a body apart and reads the tokens in it.
func (a *answer) read(body []byte) (Tokens, error) {
	r, err := a.parse(body)
	if err != nil {
		return Tokens{}, err
	}
	read := Reply.Tokens
	if a.conn.Reply != nil {
		read = a.conn.Reply
	}
	t, err := read(r)
	if err != nil {
		return Tokens{}, err
	}
	t.Account, t.Metadata = r.accountOf(t), r.metadata()
	return r.bounded(t)
}

// parse reads JSON or a form, whichever the body is: content types are wrong too often (forms and JSON
// come as text/plain, JSON as text/html), and neither form nor HTML begins with a brace.
func (a *answer) parse(body []byte) (Reply, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	var m members
	r := m.reply(a)
	switch {
	case len(body) == 0:
		return r, r.Unreadable("is empty")
	case body[0] == '{':
		// Duplicate names are refused by default: which one counts would be the parser's choice. Text that
		// is not UTF-8 is let be, as it is in names of people, not in tokens.
		if err := json.Unmarshal(body, &m, jsontext.AllowInvalidUTF8(true)); err != nil {
			return r, r.Unreadable("is malformed JSON") // the error quotes the body
		}
		return m.reply(a), nil
	case body[0] == '<':
		a.html = true
		return r, r.Unreadable("is HTML")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("access_token") && !form.Has("error") {
		return r, r.Unreadable("is neither JSON nor a form")
	}
	m = make(members, len(form))
	for name, values := range form {
		if len(values) > 1 {
			return r, r.Unreadable("has a parameter twice")
		}
		quoted, err := jsontext.AppendQuote(nil, values[0])
		if err != nil {
			return r, r.Unreadable("is not UTF-8")
		}
		m[name] = quoted
	}
	return m.reply(a), nil
}

// Status is the HTTP status.
func (r Reply) Status() int { return r.status }

// Text is a member that is a string or a number, as text.
func (r Reply) Text(name string) string { return textOf(r.member(name)) }

func textOf(v jsontext.Value) string {
	switch v.Kind() {
	case '0':
		return string(v)
	case '"':
		// Invalid UTF-8 is reported as an error, and replaced: such a value is not what was sent.
		if text, err := jsontext.AppendUnquote(nil, v); err == nil {
			return string(text)
		}
	}
	return ""
}

// False tells a member that is there and false.
func (r Reply) False(name string) bool { return r.member(name).Kind() == 'f' }

// Object is a member that is an object; one that is not has no members.
func (r Reply) Object(name string) Reply {
	var inner members
	if v := r.member(name); v.Kind() == '{' {
		// It cannot fail on what has been parsed already; if it did, the object would be empty.
		_ = json.Unmarshal(v, &inner, jsontext.AllowInvalidUTF8(true))
	}
	return inner.reply(r.answer)
}

// First is the first object of a member that is a list of them, and whether there is one.
func (r Reply) First(name string) (Reply, bool) {
	var list []jsontext.Value
	v := r.member(name)
	if v.Kind() != '[' || json.Unmarshal(v, &list, jsontext.AllowInvalidUTF8(true)) != nil || len(list) == 0 || list[0].Kind() != '{' {
		return Reply{}, false
	}
	var inner members
	// It cannot fail on what has been parsed already; if it did, the object would be empty.
	_ = json.Unmarshal(list[0], &inner, jsontext.AllowInvalidUTF8(true))
	return inner.reply(r.answer), true
}

// list is a member that is a list of strings, or a string that holds one. said is false if there is no
// such member.
func (r Reply) list(name string) (items []string, said bool) {
	v := r.member(name)
	switch v.Kind() {
	case '"':
		return splitScopes(r.Text(name)), true
	case '[':
		items = []string{}
		err := json.Unmarshal(v, &items, jsontext.AllowInvalidUTF8(true))
		return items, err == nil
	}
	return nil, false
}

// failure is the error code of a reply that has one. Providers send a string (RFC 6749 section 5.2), an
// object with a code inside, or true with the code elsewhere.
func (r Reply) failure() (code string, failed bool) {
	switch v := r.member("error"); v.Kind() {
	case '"', '0':
		code = r.Text("error")
		return code, code != "" && code != "0"
	case '{':
		inner := r.Object("error")
		return firstOf(inner.Text("code"), inner.Text("type"), inner.Text("status")), true
	case 't', '[':
		return firstOf(r.Text("error_code"), r.Text("code")), true
	}
	return "", false
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Fail makes the error of a reply that says no, of the class that its code has at this connector. The
// code may be empty.
func (r Reply) Fail(code string) error {
	return r.FailAs(r.classify(code), code)
}

// FailAs is [Reply.Fail] with a class that the caller knows better.
func (r Reply) FailAs(class Class, code string) error {
	e := &Error{Class: class, Code: r.publicCode(code), Status: r.status, RetryAfter: r.retryAfter}
	if class == DeadGrant {
		e.Ending = r.ending(code)
	}
	if e.Code == "" {
		e.Cause = errors.New("refused without a known error code, status " + strconv.Itoa(r.status))
	}
	return e
}

// Unreadable makes the error of a reply that could not be understood: what it "is", without quoting it.
// What follows depends on the status alone.
func (r Reply) Unreadable(what string) error {
	return &Error{
		Class:      r.unreadableClass(),
		Status:     r.status,
		RetryAfter: r.retryAfter,
		Cause:      errors.New("the reply " + what + ", status " + strconv.Itoa(r.status)),
	}
}

// publicCode lets codes through that are made like codes, and no secret of ours that came back as one.
func (r Reply) publicCode(code string) string {
	if code == "" || len(code) > maxCodeBytes || strings.ContainsFunc(code, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-'
	}) {
		return ""
	}
	for _, s := range r.secrets {
		// Short ones are parts of anything; the known codes that are in a token by chance are no loss.
		p := s.Reveal()
		if len(p) >= 8 && bytes.Contains([]byte(code), p) || len(code) >= 8 && bytes.Contains(p, []byte(code)) {
			return ""
		}
	}
	return code
}

// classify is what a code means at this connector, whatever status it came with: providers send
// invalid_grant as 403 and errors as 200. The status decides where the code says nothing, and alone
// where the provider failed: an outage must never look like the end of a grant.
func (r Reply) classify(code string) Class {
	c := r.conn
	switch {
	case code == "temporarily_unavailable" || code == "slow_down" || slices.Contains(c.TransientCodes, code):
		return Transient
	case r.status >= 500 || r.status == http.StatusTooManyRequests:
		return r.unreadableClass()
	case code == "server_error":
		return Ambiguous
	case code == "invalid_grant" || slices.Contains(c.DeadGrantCodes, code):
		return DeadGrant
	case code == "invalid_client" || code == "unauthorized_client" || slices.Contains(c.DeadClientCodes, code):
		return ClientRejected
	case r.busy():
		return Transient
	}
	return Refused
}

// busy tells statuses and headers with which a provider puts us off (RFC 9110 section 15.5.9,
// RFC 8470 section 5.2, RFC 6585 section 4).
func (r Reply) busy() bool {
	switch r.status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusServiceUnavailable:
		return true
	}
	return r.status >= 400 && r.retryAfter > 0
}

// unreadableClass is what a status alone means.
func (r Reply) unreadableClass() Class {
	switch {
	case r.busy():
		return Transient
	case r.status >= 200 && r.status < 300, r.status >= 500:
		// A gateway that lost the answer (502, 504) and a server that failed half-way (500) may both have
		// used the refresh token up.
		return Ambiguous
	case r.status >= 400 && r.html:
		// A page of something that stands before the token endpoint: it never saw the request.
		return Transient
	}
	return Refused
}
