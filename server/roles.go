package server

import (
	"context"
	"net/http"

	"culvert/internal/access"
	"culvert/internal/admission"
)

// createRole is POST /culvert/v1/roles.
func (s *Server) createRole() handler {
	return s.putRole(http.StatusCreated, s.admission.CreateRole, func(x *exchange) (q admission.RoleRequest, err error) {
		return q, x.object(append(roleMembers(&q), required("name", textInto, &q.Name))...)
	})
}

// replaceRole is PUT /culvert/v1/roles/{name}: all of the role, what is missing too.
func (s *Server) replaceRole() handler {
	return s.putRole(http.StatusOK, s.admission.ReplaceRole, func(x *exchange) (q admission.RoleRequest, err error) {
		if err := x.object(roleMembers(&q)...); err != nil {
			return q, err
		}
		name, err := x.segment("name")
		q.Name = access.Role(name)
		return q, err
	})
}

func (s *Server) putRole(
	status int, call func(context.Context, access.Call, admission.RoleRequest) (admission.Role, error),
	decode func(*exchange) (admission.RoleRequest, error),
) handler {
	return handle(endpoint[admission.RoleRequest, admission.Role]{
		status: status, decode: decode, call: call,
		encode: func(b []byte, r admission.Role) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.role(r)
			return w.done()
		},
	})
}

func roleMembers(q *admission.RoleRequest) []member {
	return []member{
		optional("description", textInto, &q.Description),
		{"rules", true, rulesInto("rules", &q.Rules)},
	}
}

// listRoles is GET /culvert/v1/roles: all of them, they are few.
func (s *Server) listRoles() handler {
	return handle(endpoint[struct{}, []admission.Role]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) ([]admission.Role, error) {
			return s.admission.Roles(ctx, c)
		},
		encode: func(b []byte, roles []admission.Role) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, roles, "", "", w.role)
			return w.done()
		},
	})
}

// decodeRole does not look at the form of a name: one that cannot exist is not found.
func decodeRole(x *exchange) (access.Role, error) {
	if _, err := x.query(); err != nil {
		return "", err
	}
	name, err := x.segment("name")
	return access.Role(name), err
}

// readRole is GET /culvert/v1/roles/{name}.
func (s *Server) readRole() handler {
	return handle(endpoint[access.Role, admission.Role]{
		status: http.StatusOK,
		decode: decodeRole,
		call:   s.admission.Role,
		encode: func(b []byte, r admission.Role) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.role(r)
			return w.done()
		},
	})
}

// deleteRole is DELETE /culvert/v1/roles/{name}.
func (s *Server) deleteRole() handler {
	return handle(endpoint[access.Role, struct{}]{
		status: http.StatusNoContent,
		decode: decodeRole,
		call: func(ctx context.Context, c access.Call, name access.Role) (struct{}, error) {
			return struct{}{}, s.admission.DeleteRole(ctx, c, name)
		},
	})
}

// explainAccess is POST /culvert/v1/access/explain.
func (s *Server) explainAccess() handler {
	return handle(endpoint[admission.Question, admission.Answer]{
		status: http.StatusOK,
		decode: func(x *exchange) (q admission.Question, err error) {
			var organization string
			if err := x.object(
				optional("api_key_id", textInto, &q.KeyID),
				required("action", textInto, &q.Action),
				optional("context", itemsInto, &q.Record.Items),
				optional("name", textInto, &q.Record.Name),
				optional("connector", textInto, &q.Record.Connector),
				optional("organization_id", textInto, &organization),
			); err != nil {
				return q, err
			}
			if organization != "" {
				if q.Record.Items == nil {
					q.Record.Items = map[string]string{}
				}
				if found, ok := q.Record.Items[access.OrganizationItem]; ok && found != organization {
					return q, refused("invalid_value", "organization_id", "contradicts the item of this name in context")
				}
				q.Record.Items[access.OrganizationItem] = organization
			}
			return q, nil
		},
		call:   s.admission.Explain,
		encode: encodeExplanation,
	})
}

func encodeExplanation(b []byte, a admission.Answer) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.raw(`{"object":"access_explanation","api_key_id":`)
	w.text(admission.OnWire(a.Key.ID))
	w.raw(`,"action":`)
	w.text(string(a.Action))
	w.raw(`,"allowed":`)
	w.bool(a.Allowed)
	w.raw(`,"reason":`)
	w.text(string(a.Reason))
	w.raw(`,"role":`)
	w.textOrNull(string(a.Key.Role))
	w.raw(`,"rule_number":`)
	w.number(a.Number)
	w.raw(`,"rule":`)
	if a.Rule == nil {
		w.raw(`null`)
	} else {
		w.rule(*a.Rule)
	}
	w.raw(`}`)
	return w.done()
}

func (w *jsonWriter) role(r admission.Role) {
	w.raw(`{"object":"role","name":`)
	w.text(string(r.Name))
	w.raw(`,"built_in":`)
	w.bool(r.BuiltIn)
	w.raw(`,"description":`)
	w.textOrNull(r.Description)
	w.raw(`,"rules":`)
	entries(w, r.Rules, w.rule)
	w.raw(`,"created_at":`)
	w.timeOrNull(r.CreatedAt)
	w.raw(`,"updated_at":`)
	w.timeOrNull(r.UpdatedAt)
	w.raw(`,"updated_by":`)
	w.textOrNull(r.UpdatedBy)
	w.raw(`}`)
}

func (w *jsonWriter) rule(r access.Rule) {
	w.raw(`{"effect":`)
	w.text(string(r.Effect))
	w.raw(`,"actions":`)
	texts(w, r.Actions)
	w.raw(`,"scope":`)
	w.scope(&r.Scope)
	w.raw(`}`)
}

// scope is null for one that narrows nothing.
func (w *jsonWriter) scope(s *access.Scope) {
	if s.IsZero() {
		w.raw(`null`)
		return
	}
	w.raw(`{"context":`)
	w.items(s.Context)
	w.raw(`,"name_prefix":`)
	w.textOrNull(s.NamePrefix)
	w.raw(`,"connector":`)
	w.textOrNull(s.Connector)
	w.raw(`,"organization_id":`)
	w.textOrNull(s.Organization)
	w.raw(`,"not_before":`)
	w.timeOrNull(s.NotBefore)
	w.raw(`,"not_after":`)
	w.timeOrNull(s.NotAfter)
	w.raw(`}`)
}

// scopeMembers are what a scope is written with.
func scopeMembers(s *access.Scope) []member {
	return []member{
		optional("context", itemsInto, &s.Context),
		optional("name_prefix", textInto, &s.NamePrefix),
		optional("connector", textInto, &s.Connector),
		optional("organization_id", textInto, &s.Organization),
		optional("not_before", momentInto, &s.NotBefore),
		optional("not_after", momentInto, &s.NotAfter),
	}
}

// rulesInto takes a list of rules.
func rulesInto(field string, to *[]access.Rule) func(*jsonReader) error {
	return func(r *jsonReader) error {
		wrong := refused("invalid_type", r.prefix+field, "must be a list of rules")
		if r.dec.PeekKind() != '[' {
			if err := r.skip(); err != nil {
				return err
			}
			return wrong
		}
		if _, err := r.token(); err != nil {
			return err
		}
		outer := r.prefix
		defer func() { r.prefix = outer }()
		r.prefix += field + "."
		var refusals refusals
		for r.dec.PeekKind() != ']' {
			if r.dec.PeekKind() != '{' {
				if err := r.skip(); err != nil {
					return err
				}
				refusals.add(wrong)
				continue
			}
			var rule access.Rule
			if err := r.object(ruleMembers(&rule)); err != nil {
				if !isRefusal(err) {
					return err
				}
				refusals.add(err)
			}
			*to = append(*to, rule)
		}
		if _, err := r.token(); err != nil {
			return err
		}
		return refusals.err()
	}
}

func ruleMembers(rule *access.Rule) []member {
	var scoped bool
	return []member{
		required("effect", textInto, &rule.Effect),
		required("actions", listInto, &rule.Actions),
		nested("scope", &scoped, scopeMembers(&rule.Scope)...),
	}
}
