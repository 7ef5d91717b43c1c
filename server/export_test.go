package server

import (
	"errors"
	"net"
	"time"
)

// Problem is what a client is told of an error.
func (s *Server) Problem(err error) (status int, code, text string, retry time.Duration) {
	p := s.problem(err)
	return p.status, p.code, p.text, p.retry
}

// Sentinels are the error values that are mapped one by one.
func Sentinels() []error {
	var errs []error
	for _, s := range sentinels() {
		errs = append(errs, s.err)
	}
	return errs
}

// Probe is a body with a member of each type.
type Probe struct {
	Text  string            `json:"text"`
	Flag  bool              `json:"flag"`
	List  []string          `json:"list"`
	Items map[string]string `json:"items"`
	At    time.Time         `json:"at"`
	Inner struct {
		Text string `json:"text"`
	} `json:"inner"`
}

// Decode reads a body; refused tells a value that is not allowed from a body that is not JSON. The error
// is what a client is told.
func (p *Probe) Decode(raw []byte) (nulls []string, refused bool, err error) {
	var inner bool
	nulls, err = decodeNullable(raw,
		required("text", textInto, &p.Text), optional("flag", flagInto, &p.Flag), optional("list", listInto, &p.List),
		optional("items", itemsInto, &p.Items), optional("at", momentInto, &p.At),
		nested("inner", &inner, optional("text", textInto, &p.Inner.Text)), unsupported("no"),
	)
	var known *problem
	if errors.As(err, &known) {
		err = errors.New(known.text)
	}
	return nulls, known != nil && isRefusal(known), err
}

// WithDeadlines wraps a connection as the listener does.
func WithDeadlines(c net.Conn) net.Conn { return &deadlines{Conn: c} }

// Unhurried are the routes that may wait longer than others.
func (s *Server) Unhurried() []string {
	var names []string
	for _, r := range s.routes {
		if !r.prompt {
			names = append(names, r.name)
		}
	}
	return names
}
