package connectorstest

import (
	"net/http"
	"slices"
)

// revoke is the endpoint of RFC 7009: a refresh token ends its grant, an access token itself, and one that
// nobody knows is no error. It takes forms, whatever the token endpoint takes.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.revocations = append(s.revocations, Request{Params: r.PostForm, Header: r.Header.Clone(), At: s.config.Now()})
	var fault *Fault
	if len(s.revokeFaults) > 0 {
		fault, s.revokeFaults = &s.revokeFaults[0], s.revokeFaults[1:]
	}
	s.mu.Unlock()
	answer := reply{status: http.StatusOK}
	switch {
	case fault != nil && !fault.Granted:
	case !s.authentic(r, r.PostForm):
		answer = refused(http.StatusUnauthorized, "invalid_client")
	default:
		s.kill(r.PostForm.Get("token"))
	}
	fault.write(w, answer)
}

// kill ends what a token stands for.
func (s *Server) kill(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.refreshTokens[token]; t != nil {
		t.grant.dead = true
	}
	if t := s.accessTokens[token]; t != nil {
		t.dead = true
	}
}

// Revocations are all revocation requests so far.
func (s *Server) Revocations() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.revocations)
}

// NextRevocation makes the next revocation requests fail, one each, in this order.
func (s *Server) NextRevocation(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revokeFaults = append(s.revokeFaults, faults...)
}
