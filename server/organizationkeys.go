package server

import (
	"context"
	"net/http"

	"culvert/internal/access"
	"culvert/internal/admission"
)

// listOrganizationKeys is GET /organizations/{organization_id}/api_keys. There is no directory of organizations: one
// without keys has an empty list.
func (s *Server) listOrganizationKeys() handler {
	return handle(endpoint[admission.Query, admission.Page]{
		status: http.StatusOK,
		decode: func(x *exchange) (admission.Query, error) {
			q := admission.Query{Present: true}
			parameters, err := x.query()
			if err != nil {
				return q, err
			}
			if err := parameters.pageOfKeys(&q); err != nil {
				return q, err
			}
			q.Organization, err = x.segment("organization_id")
			return q, err
		},
		call: s.admission.Keys,
		encode: func(b []byte, p admission.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, p.Before, p.After, w.organizationKey)
			return w.done()
		},
	})
}

// createOrganizationKey is POST /organizations/{organization_id}/api_keys.
func (s *Server) createOrganizationKey() handler {
	return handle(endpoint[admission.CreateRequest, admission.NewKey]{
		status:    http.StatusCreated,
		plaintext: true,
		decode: func(x *exchange) (q admission.CreateRequest, err error) {
			if err := x.object(
				required("name", textInto, &q.Name),
				optional("permissions", listInto, &q.Permissions),
				optional("expires_at", momentInto, &q.Lifetime.At),
			); err != nil {
				return q, err
			}
			q.Organization, err = x.segment("organization_id")
			return q, err
		},
		call: s.admission.Create,
		encode: func(b []byte, k admission.NewKey) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.contractKey(&k.Key)
			w.raw(`,"value":`)
			w.value(k.Text)
			w.raw(`}`)
			return w.done()
		},
	})
}

// validateKey is POST /api_keys/validations. What is no key of an organization is null, with status 200.
func (s *Server) validateKey() handler {
	return handle(endpoint[access.APIKey, *admission.Key]{
		status: http.StatusOK,
		decode: func(x *exchange) (shown access.APIKey, err error) {
			return shown, x.object(required("value", apiKeyInto, &shown))
		},
		call: func(ctx context.Context, c access.Call, shown access.APIKey) (*admission.Key, error) {
			return s.admission.Validate(ctx, c, shown)
		},
		encode: func(b []byte, k *admission.Key) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"api_key":`)
			if k == nil {
				w.raw(`null`)
			} else {
				w.organizationKey(*k)
			}
			w.raw(`}`)
			return w.done()
		},
	})
}

// apiKeyInto takes an API key. A text that is none leaves the zero key, which is nobody's.
func apiKeyInto(field string, to *access.APIKey) func(*jsonReader) error {
	return func(r *jsonReader) error {
		text, err := r.text(field)
		if err != nil {
			return err
		}
		*to, _ = access.ParseAPIKey(string(text))
		clear(text)
		return nil
	}
}
