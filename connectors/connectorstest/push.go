package connectorstest

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// pushLife is how long a pushed request lies here.
const pushLife = time.Minute

// pushed is an authorization request that waits for its browser.
type pushed struct {
	params url.Values
	ends   time.Time
}

// push is the endpoint of RFC 9126 section 2. It takes the faults of token requests.
func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	var answer reply
	err := r.ParseForm()
	fault := s.begin(r, r.PostForm)
	defer s.end()
	switch {
	case fault != nil && !fault.Granted:
	case err != nil || r.PostForm.Has("request_uri") || r.PostForm.Get("client_id") != s.config.ClientID:
		answer = refused(http.StatusBadRequest, "invalid_request")
	case !s.authentic(r, r.PostForm):
		answer = refused(http.StatusUnauthorized, "invalid_client")
	default:
		name := "urn:ietf:params:oauth:request_uri:" + newToken("pushed")
		params := maps.Clone(r.PostForm)
		params.Del("client_secret")
		s.mu.Lock()
		s.pushed[name] = pushed{params, s.config.Now().Add(pushLife)}
		s.pushes++
		s.mu.Unlock()
		answer = jsonReply(http.StatusCreated, map[string]any{"request_uri": name, "expires_in": pushLife.Seconds()})
	}
	fault.write(w, answer)
}

// take is the request that a browser brings the name of, once, and nothing else. s.mu is held.
func (s *Server) take(query url.Values) (url.Values, error) {
	name := query.Get("request_uri")
	p, found := s.pushed[name]
	delete(s.pushed, name)
	if len(query) != 2 || !found || query.Get("client_id") != p.params.Get("client_id") || !s.config.Now().Before(p.ends) {
		return nil, errors.New("no such request was pushed")
	}
	return p.params, nil
}

// Pushes counts the requests that were pushed.
func (s *Server) Pushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushes
}
