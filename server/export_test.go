package server

import "time"

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

// Plain tells whether JSON writes bytes as they are.
func Plain(b []byte) bool { return plain(b) }
