package connectorstest

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Fault is what happens to one token request instead of an answer by the rules.
type Fault struct {
	// Granted carries the request out first: codes are used up and tokens rotate, and only the answer is
	// lost or spoilt. Otherwise nothing happened at the provider.
	Granted bool
	// Delay passes before anything else, or Until is closed, if it is set.
	Delay time.Duration
	Until <-chan struct{}
	// Drop cuts the connection instead of answering.
	Drop bool
	// Truncate, if above 0, announces the whole body, sends that many bytes of it and cuts the connection.
	Truncate int
	// Status, Header and Body replace those of the answer where they are set.
	Status int
	Header http.Header
	Body   string
}

// JSON is a fault that answers with a body of JSON.
func JSON(status int, body string) Fault {
	return Fault{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

// HTML is a fault that answers as a gateway does whose server is gone.
func HTML(status int) Fault {
	return Fault{
		Status: status,
		Header: http.Header{"Content-Type": {"text/html"}},
		Body:   "<!DOCTYPE html><title>Trouble</title><p>Please come back later.",
	}
}

// Busy is a fault that answers 429 with a Retry-After.
func Busy(after time.Duration) Fault {
	f := JSON(http.StatusTooManyRequests, `{"message":"slow down"}`)
	f.Header.Set("Retry-After", strconv.Itoa(int(after/time.Second)))
	return f
}

// LostReply is a fault that carries the request out and cuts the connection: rotation without a witness.
func LostReply() Fault { return Fault{Granted: true, Drop: true} }

// Next makes the next token requests fail, one each, in this order.
func (s *Server) Next(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Always makes every token request fail that no fault of [Server.Next] is for, until Heal.
func (s *Server) Always(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.constant = &f
}

// AlwaysIdentity makes every identity call fail, until Heal.
func (s *Server) AlwaysIdentity(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identityFault = &f
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.constant, s.identityFault = nil, nil, nil
}

// Hold keeps every token reply back until Release; the requests are carried out.
func (s *Server) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

// Release lets replies go that Hold kept back, and those to come.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

func (s *Server) holding() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// begin notes a token request and takes the fault that is for it, or nil.
func (s *Server) begin(r *http.Request, form url.Values) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{
		Grant:  form.Get("grant_type"),
		Params: form,
		Header: r.Header.Clone(),
		At:     s.config.Now(),
	})
	s.active++
	s.most = max(s.most, s.active)
	if len(s.faults) == 0 {
		return s.constant
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return &f
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
}

// write sends an answer, spoilt by the fault if there is one.
func (f *Fault) write(w http.ResponseWriter, answer reply) {
	if f == nil {
		f = &Fault{}
	}
	if f.Drop {
		panic(http.ErrAbortHandler) // net/http cuts the connection without a word
	}
	if f.Status != 0 {
		answer.status = f.Status
	}
	if f.Body != "" || answer.status == 0 {
		answer.body = []byte(f.Body)
	}
	if answer.status == 0 {
		answer.status = http.StatusInternalServerError
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Cache-Control", "no-store")
	body := answer.body
	if f.Truncate > 0 && f.Truncate < len(body) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:f.Truncate]
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(body) // a client that has gone away is part of some tests
	if len(body) < len(answer.body) {
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}
