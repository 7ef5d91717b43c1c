package server

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"culvert/pipes"
)

// vendToken is POST /data-integrations/{slug}/token. That there is no token is an answer, not an error:
// the application asks its user to connect. An Idempotency-Key is ignored, because keeping the answer
// would keep the token.
func (s *Server) vendToken() handler {
	return handle(endpoint[pipes.Request, pipes.Vended]{
		status: http.StatusOK, plaintext: true,
		decode: decodeVend,
		call:   s.pipes.Token,
		encode: func(b []byte, v pipes.Vended) ([]byte, error) {
			w := &jsonWriter{b: b}
			if w.inactive(v) {
				return w.done()
			}
			w.raw(`{"active":true,"access_token":{"object":"access_token","access_token":`)
			w.value(v.AccessToken)
			w.grant(v)
			if len(v.Metadata) > 0 { // Culvert's own
				w.raw(`,"metadata":`)
				w.items(v.Metadata)
			}
			w.raw(`}}`)
			return w.done()
		},
	})
}

// vendCredential is POST /data-integrations/{slug}/credentials: the same for every way to connect.
func (s *Server) vendCredential() handler {
	return handle(endpoint[pipes.Request, pipes.Vended]{
		status: http.StatusOK, plaintext: true,
		decode: decodeVend,
		call:   s.pipes.Credentials,
		encode: func(b []byte, v pipes.Vended) ([]byte, error) {
			w := &jsonWriter{b: b}
			if w.inactive(v) {
				return w.done()
			}
			w.raw(`{"active":true,"credential":{"object":"credential","auth_method":`)
			w.text(string(v.Method))
			w.raw(`,"value":`)
			w.value(v.AccessToken)
			if v.Method != pipes.MethodAPIKey { // which has neither an end nor scopes
				w.grant(v)
			}
			if v.Method == pipes.MethodClientCredentials || len(v.Metadata) > 0 { // of others it is Culvert's own
				w.raw(`,"metadata":`)
				w.items(v.Metadata)
			}
			w.raw(`,"config":`)
			w.credentialConfig(v)
			w.raw(`}}`)
			return w.done()
		},
	})
}

// credentialConfig appends what a credential is used with, secret values too: they are part of it.
func (w *jsonWriter) credentialConfig(v pipes.Vended) {
	w.raw(`{`)
	separator := ``
	for _, key := range slices.Sorted(maps.Keys(v.Config)) {
		w.raw(separator)
		w.text(key)
		w.raw(`:`)
		w.text(v.Config[key])
		separator = `,`
	}
	for _, key := range slices.Sorted(maps.Keys(v.SecretConfig)) {
		w.raw(separator)
		w.text(key)
		w.raw(`:`)
		w.value(v.SecretConfig[key])
		separator = `,`
	}
	w.raw(`}`)
}

// tokenRefused is POST /culvert/v1/data-integrations/{slug}/token-refused, our own extension: what to do about
// a token that a provider's API refused.
func (s *Server) tokenRefused() handler {
	return handle(endpoint[pipes.RefusedToken, pipes.Refused]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.RefusedToken, error) {
			var q pipes.RefusedToken
			var err error
			if q.Slug, err = x.segment("slug"); err != nil {
				return q, err
			}
			return q, x.object(append(vendMembers(&q.Request), required("access_token", secretInto, &q.Token))...)
		},
		call: s.pipes.TokenRefused,
		encode: func(b []byte, found pipes.Refused) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"outcome":`)
			w.text(string(found.Outcome))
			if found.Reason != "" {
				w.reason(found.Reason)
			}
			w.raw(`,"retry_after":`)
			if found.RetryAfter > 0 {
				found.RetryAfter += time.Second - 1 // rounded up
			}
			w.secondsOrNull(found.RetryAfter)
			w.raw(`}`)
			return w.done()
		},
	})
}

func decodeVend(x *exchange) (pipes.Request, error) {
	var q pipes.Request
	var err error
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	return q, x.object(vendMembers(&q)...)
}

// vendMembers are what chooses a token.
func vendMembers(q *pipes.Request) []member {
	return []member{
		required("user_id", textInto, &q.UserID),
		optional("organization_id", textInto, &q.OrganizationID),
		optional("connected_account_id", textInto, &q.AccountID),
		optional("connection_owner", textInto, &q.ConnectionOwner),
		optional("supports_multiple_connections", flagInto, &q.Plural),
		optional("token_name", textInto, &q.TokenName),
	}
}

// inactive appends the whole answer where there is no token; false if there is one.
func (w *jsonWriter) inactive(v pipes.Vended) bool {
	if v.Active {
		return false
	}
	w.raw(`{"active":false,"error":`)
	w.text(v.Error)
	if v.Reason != "" { // Culvert's own
		w.reason(v.Reason)
	}
	w.raw(`}`)
	return true
}

// grant appends what is known of a token beside the token.
func (w *jsonWriter) grant(v pipes.Vended) {
	w.raw(`,"expires_at":`)
	w.timeOrNull(v.ExpiresAt)
	w.raw(`,"scopes":`)
	texts(w, v.Scopes)
	w.raw(`,"missing_scopes":`)
	texts(w, v.MissingScopes)
}
