package connectorstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"culvert/connectors"
)

// reply is what a token request is answered with, before a fault gets at it.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func jsonReply(status int, members map[string]any) reply {
	body, err := json.Marshal(members)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return reply{status, http.Header{"Content-Type": {"application/json"}}, body}
}

func refused(status int, code string) reply {
	return jsonReply(status, map[string]any{"error": code, "error_description": "Refused by the test's provider."})
}

// token is the endpoint of RFC 6749 section 3.2.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	form, bad := s.params(r)
	fault := s.begin(r, form)
	defer s.end()
	switch {
	case fault != nil && fault.Until != nil:
		wait(r.Context(), time.Minute, fault.Until)
	case fault != nil && fault.Delay > 0:
		wait(r.Context(), fault.Delay, nil)
	}
	var answer reply
	switch {
	case fault != nil && !fault.Granted:
	case bad != "":
		answer = refused(http.StatusBadRequest, bad)
	default:
		answer = s.grant(r, form)
	}
	if held := s.holding(); held != nil {
		wait(r.Context(), time.Minute, held)
	}
	fault.write(w, answer)
}

// params reads the body in the configured content type and refuses any other.
func (s *Server) params(r *http.Request) (form url.Values, bad string) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != string(s.config.Body) {
		return nil, "invalid_request"
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, "invalid_request"
	}
	if s.config.Body == connectors.BodyJSON {
		var members map[string]string
		if err := json.Unmarshal(body, &members); err != nil {
			return nil, "invalid_request"
		}
		form = url.Values{}
		for name, value := range members {
			form.Set(name, value)
		}
		return form, ""
	}
	form, err = url.ParseQuery(string(body))
	if err != nil {
		return nil, "invalid_request"
	}
	for _, values := range form {
		if len(values) > 1 { // RFC 6749 section 3.2: parameters must not be repeated
			return form, "invalid_request"
		}
	}
	return form, ""
}

// grant carries a request out.
func (s *Server) grant(r *http.Request, form url.Values) reply {
	if !s.authentic(r, form) {
		return refused(http.StatusUnauthorized, "invalid_client")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.exchange(form)
	case "refresh_token":
		return s.refresh(form)
	case "client_credentials":
		return s.issue(&grant{scopes: strings.Fields(form.Get("scope")), own: true}, "")
	}
	return refused(http.StatusBadRequest, "unsupported_grant_type")
}

// authentic accepts the client in the configured way alone: two ways at once are refused, as RFC 6749
// section 2.3 asks.
func (s *Server) authentic(r *http.Request, form url.Values) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil || form.Has("client_secret") {
			return false
		}
	}
	switch s.config.ClientAuth {
	case connectors.ClientAuthBasic:
		return basic && id == s.config.ClientID && s.accepts(secret)
	case connectors.ClientAuthNone:
		return !basic && form.Get("client_id") == s.config.ClientID && !form.Has("client_secret")
	default:
		return !basic && form.Get("client_id") == s.config.ClientID && s.accepts(form.Get("client_secret"))
	}
}

// accepts reports whether a client secret is one of those that [Server.Accept] named.
func (s *Server) accepts(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.secrets, secret)
}

// Accept makes these the client's secrets, as a provider does whose administrator rotates them.
func (s *Server) Accept(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = secrets
}

// exchange uses a code up, also with a wrong verifier. s.mu is held.
func (s *Server) exchange(form url.Values) reply {
	c := s.codes[form.Get("code")]
	delete(s.codes, form.Get("code"))
	if c == nil || c.redirectURI != form.Get("redirect_uri") || !s.verified(c, form.Get("code_verifier")) {
		return refused(http.StatusBadRequest, "invalid_grant")
	}
	return s.issue(&grant{scopes: c.scopes, user: c.user}, "")
}

// verified is RFC 7636 section 4.6.
func (s *Server) verified(c *code, verifier string) bool {
	if s.config.NoPKCE {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
}

// refresh is RFC 6749 section 6. s.mu is held.
func (s *Server) refresh(form url.Values) reply {
	old := s.refreshTokens[form.Get("refresh_token")]
	switch {
	case old == nil || old.grant.dead:
		return refused(http.StatusBadRequest, "invalid_grant")
	case old.used:
		if s.config.ReuseKillsFamily {
			old.grant.dead = true
		}
		return refused(http.StatusBadRequest, "invalid_grant")
	}
	if s.config.KillsPrevious {
		if access := s.accessTokens[old.access]; access != nil {
			access.dead = true
		}
	}
	if !s.config.Rotate {
		return s.issue(old.grant, form.Get("refresh_token"))
	}
	old.used = true
	return s.issue(old.grant, "")
}

// issue gives new tokens out; with keep, the refresh token stays and is not in the reply. s.mu is held.
func (s *Server) issue(g *grant, keep string) reply {
	access := newToken("access")
	members := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"scope":        strings.Join(g.scopes, " "),
	}
	a := &accessToken{grant: g}
	if s.config.Lifetime > 0 {
		a.ends = s.config.Now().Add(s.config.Lifetime)
		members["expires_in"] = s.config.Lifetime.Seconds()
	}
	if s.config.InstanceURL != "" {
		members["instance_url"] = s.config.InstanceURL
	}
	s.accessTokens[access] = a
	switch {
	case g.own: // RFC 6749 section 4.4.3: no refresh token
	case keep != "":
		s.refreshTokens[keep].access = access
	case !s.config.NoRefresh:
		refresh := newToken("refresh")
		s.refreshTokens[refresh] = &refreshToken{grant: g, access: access}
		members["refresh_token"] = refresh
	}
	return jsonReply(http.StatusOK, members)
}

// identity answers 200 to an access token that lives, 401 to any other.
func (s *Server) identity(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	alive := ok && s.Alive(token)
	s.mu.Lock()
	s.identities++
	fault, answer := s.identityFault, refused(http.StatusUnauthorized, "invalid_token")
	if alive {
		g := s.accessTokens[token].grant
		answer = jsonReply(http.StatusOK, map[string]any{"sub": g.user.id, "name": g.user.name, "scopes": g.scopes})
	}
	s.mu.Unlock()
	switch {
	case fault != nil && fault.Until != nil:
		wait(r.Context(), time.Minute, fault.Until)
	case fault != nil && fault.Delay > 0:
		wait(r.Context(), fault.Delay, nil)
	}
	fault.write(w, answer)
}
