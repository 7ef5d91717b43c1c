package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
)

// createAPIKey is POST /culvert/v1/api-keys. The answer has the key's text, this once; an Idempotency-Key is
// ignored, because that answer cannot be given again.
func (s *Server) createAPIKey() handler {
	return handle(endpoint[admission.CreateRequest, admission.NewKey]{
		status:    http.StatusCreated,
		plaintext: true,
		decode: func(x *exchange) (q admission.CreateRequest, err error) {
			var in string
			var scoped bool
			err = x.object(
				required("name", textInto, &q.Name),
				optional("role", textInto, &q.Role),
				optional("permissions", listInto, &q.Permissions),
				optional("organization_id", textInto, &q.Organization),
				optional("expires_at", momentInto, &q.Lifetime.At),
				optional("expires_in", textInto, &in),
				nested("scope", &scoped, scopeMembers(&q.Scope)...),
			)
			if err != nil {
				return q, err
			}
			q.Lifetime.In, err = duration("expires_in", in)
			return q, err
		},
		call:   s.admission.Create,
		encode: encodeNewKey,
	})
}

// duration reads a text such as 720h; "" is none. Zero would be as good as none, and is nobody's meaning.
func duration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, refused("invalid_value", field, "must be a duration above zero, such as 720h")
	}
	return d, nil
}

func encodeNewKey(b []byte, k admission.NewKey) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.newKey(&k)
	return w.done()
}

// newKey is a key with its text.
func (w *jsonWriter) newKey(k *admission.NewKey) {
	w.apiKeyFields(&k.Key)
	w.raw(`,"value":`)
	w.value(k.Text)
	w.raw(`}`)
}

// listAPIKeys is GET /culvert/v1/api-keys.
func (s *Server) listAPIKeys() handler {
	return handle(endpoint[admission.Query, admission.Page]{
		status: http.StatusOK,
		decode: func(x *exchange) (q admission.Query, err error) {
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			if q.Organization, err = parameters.text("organization_id"); err != nil {
				return q, err
			}
			return q, parameters.pageOfKeys(&q)
		},
		call: s.admission.Keys,
		encode: func(b []byte, p admission.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, p.Before, p.After, w.apiKey)
			return w.done()
		},
	})
}

// pageOfKeys reads what both lists of keys are asked with.
func (q query) pageOfKeys(to *admission.Query) error {
	p, err := q.paging("desc", "normal", "asc", "desc")
	to.Limit, to.Order, to.After, to.Before = p.limit, admission.Order(p.order), p.after, p.before
	return err
}

// readAPIKey is GET /culvert/v1/api-keys/{id}.
func (s *Server) readAPIKey() handler { return named(s.admission.Key, (*jsonWriter).apiKey) }

// rotateAPIKey is POST /culvert/v1/api-keys/{id}/rotate. The answer is the new key with its text, this once.
func (s *Server) rotateAPIKey() handler {
	return handle(endpoint[admission.RotateRequest, admission.NewKey]{
		status:    http.StatusCreated,
		plaintext: true,
		decode: func(x *exchange) (q admission.RotateRequest, err error) {
			var in string
			var overlap *string
			if err := x.objectOrNothing(
				changed("overlap", textInto, &overlap),
				optional("expires_at", momentInto, &q.Lifetime.At),
				optional("expires_in", textInto, &in),
			); err != nil {
				return q, err
			}
			if overlap != nil {
				d, err := time.ParseDuration(*overlap)
				if err != nil {
					return q, refused("invalid_value", "overlap", "must be a duration such as 24h, or 0s")
				}
				q.Overlap = &d
			}
			if q.Lifetime.In, err = duration("expires_in", in); err != nil {
				return q, err
			}
			q.ID, err = x.segment("id")
			return q, err
		},
		call:   s.admission.Rotate,
		encode: encodeNewKey,
	})
}

// objectOrNothing is object for bodies that may be missing.
func (x *exchange) objectOrNothing(members ...member) error {
	_, err := x.nullableOrNothing(members...)
	return err
}

// nullableOrNothing tells also which members were null.
func (x *exchange) nullableOrNothing(members ...member) ([]string, error) {
	raw, err := x.bodyAlone()
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	return decodeNullable(raw, members...)
}

// expireAPIKey is POST /culvert/v1/api-keys/{id}/expire, and POST /api_keys/{id}/expire, which knows the keys of
// organizations alone: without a time at once, with null never.
func (s *Server) expireAPIKey(owned bool) handler {
	write := (*jsonWriter).apiKey
	if owned {
		write = (*jsonWriter).organizationKey
	}
	return handle(endpoint[admission.ExpireRequest, admission.Key]{
		status: http.StatusOK,
		decode: func(x *exchange) (admission.ExpireRequest, error) {
			q := admission.ExpireRequest{Owned: owned}
			var in string
			nulls, err := x.nullableOrNothing(
				optional("expires_at", momentInto, &q.Lifetime.At),
				optional("expires_in", textInto, &in),
				optional("force", flagInto, &q.Force),
			)
			if err != nil {
				return q, err
			}
			q.Never = slices.Contains(nulls, "expires_at")
			if q.Lifetime.In, err = duration("expires_in", in); err != nil {
				return q, err
			}
			q.ID, err = x.segment("id")
			return q, err
		},
		call: s.admission.Expire,
		encode: func(b []byte, k admission.Key) ([]byte, error) {
			w := &jsonWriter{b: b}
			write(w, k)
			return w.done()
		},
	})
}

// revokeAPIKey is DELETE /culvert/v1/api-keys/{id}, and DELETE /api_keys/{id}, which knows the keys of
// organizations alone.
func (s *Server) revokeAPIKey(owned bool) handler {
	return handle(endpoint[admission.RevokeRequest, struct{}]{
		status: http.StatusNoContent,
		decode: func(x *exchange) (admission.RevokeRequest, error) {
			q := admission.RevokeRequest{Owned: owned}
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			if q.Force, err = parameters.flag("force"); err != nil {
				return q, err
			}
			q.ID, err = x.segment("id")
			return q, err
		},
		call: func(ctx context.Context, c access.Call, q admission.RevokeRequest) (struct{}, error) {
			return struct{}{}, s.admission.Revoke(ctx, c, q)
		},
	})
}

func (w *jsonWriter) apiKey(k admission.Key) {
	w.apiKeyFields(&k)
	w.raw(`}`)
}

// apiKeyFields is a key as it is told everywhere, without the closing brace. The contract's members come first.
func (w *jsonWriter) apiKeyFields(k *admission.Key) {
	w.contractKey(k)
	w.raw(`,"organization_id":`)
	w.textOrNull(k.Organization)
	w.raw(`,"role":`)
	w.textOrNull(string(k.Role))
	w.raw(`,"scope":`)
	w.scope(&k.Scope)
	w.raw(`,"state":`)
	w.text(string(k.State))
	w.raw(`,"revoked_at":`)
	w.timeOrNull(k.RevokedAt)
	w.raw(`,"created_by":`)
	w.textOrNull(k.CreatedBy)
	w.raw(`,"predecessor_id":`)
	w.textOrNull(admission.OnWire(k.Predecessor))
	w.raw(`,"successor_id":`)
	w.textOrNull(admission.OnWire(k.Successor))
}

// contractKey is what the contract has of a key, without the closing brace.
func (w *jsonWriter) contractKey(k *admission.Key) {
	kind, id := k.Owner()
	w.raw(`{"object":"api_key","id":`)
	w.text(admission.OnWire(k.ID))
	w.raw(`,"owner":{"type":`)
	w.text(kind)
	w.raw(`,"id":`)
	w.text(id)
	w.raw(`},"name":`)
	w.text(k.Name)
	w.raw(`,"obfuscated_value":`)
	w.text(k.Obfuscated())
	w.raw(`,"last_used_at":`)
	w.timeOrNull(k.LastUsedAt)
	w.raw(`,"expires_at":`)
	w.timeOrNull(k.ExpiresAt)
	w.raw(`,"permissions":`)
	texts(w, k.Permissions)
	w.raw(`,"created_at":`)
	w.time(k.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(k.ChangedAt(), generalTime)
}

func (w *jsonWriter) organizationKey(k admission.Key) {
	w.contractKey(&k)
	w.raw(`}`)
}
