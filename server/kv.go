package server

import (
	"net/http"

	"culvert/vault"
)

// createObject is POST /vault/v1/kv. The answer is the bare metadata: neither name nor value.
func (s *Server) createObject() handler {
	return handle(endpoint[vault.CreateRequest, vault.Metadata]{
		status: http.StatusCreated,
		decode: decodeCreate,
		call:   s.vault.Create,
		encode: func(b []byte, m vault.Metadata) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.metadata(m)
			return w.done()
		},
	})
}

func decodeCreate(x *exchange) (vault.CreateRequest, error) {
	var q vault.CreateRequest
	err := x.object(
		member{"name", true, textInto("name", &q.Name)},
		member{"value", true, secretInto("value", &q.Value)},
		member{"key_context", true, contextInto("key_context", &q.Context)},
	)
	if r := x.repeats; err == nil && r != nil {
		q.Idempotency = &vault.Idempotency{Method: r.Method, Path: r.Path, Key: r.Key, Body: r.Body}
	}
	return q, err
}

// listObjects is GET /vault/v1/kv.
func (s *Server) listObjects() handler {
	return handle(endpoint[vault.Query, vault.Page]{
		status: http.StatusOK,
		decode: decodeList,
		call:   s.vault.List,
		encode: func(b []byte, p vault.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, string(p.Before), string(p.After), w.summary)
			return w.done()
		},
	})
}

// decodeList reads the query of the list. Cursors and search go to the vault as they are: what a cursor
// is, and above which size there is no search, is known there.
func decodeList(x *exchange) (vault.Query, error) {
	var q vault.Query
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	p, err := parameters.paging("desc", "asc", "desc")
	if err != nil {
		return q, err
	}
	q.Limit, q.Descending, q.Before, q.After = p.limit, p.order == "desc", vault.ObjectID(p.before), vault.ObjectID(p.after)
	if q.Search, err = parameters.text("search"); err != nil {
		return q, err
	}
	updated, err := parameters.oneOf("updatedAfter", "updated_after")
	if err != nil {
		return q, err
	}
	q.UpdatedAfter, err = moment("updatedAfter", updated)
	return q, err
}

// readObject is GET /vault/v1/kv/{id}, the hot path: no query, no body, and two short copies into the
// answer are all the door adds to it.
func (s *Server) readObject() handler {
	return handle(endpoint[vault.ObjectID, vault.Object]{
		status: http.StatusOK, plaintext: true,
		decode: decodeID[vault.ObjectID],
		call:   s.vault.Get,
		encode: encodeObject,
	})
}

// readObjectByName is GET /vault/v1/kv/name/{name}.
func (s *Server) readObjectByName() handler {
	return handle(endpoint[string, vault.Object]{
		status: http.StatusOK, plaintext: true,
		decode: func(x *exchange) (string, error) {
			if _, err := x.query(); err != nil {
				return "", err
			}
			return x.segment("name")
		},
		call:   s.vault.GetByName,
		encode: encodeObject,
	})
}

// describeObject is GET /vault/v1/kv/{id}/metadata. Nothing is opened for it.
func (s *Server) describeObject() handler {
	return handle(endpoint[vault.ObjectID, vault.Object]{
		status: http.StatusOK,
		decode: decodeID[vault.ObjectID],
		call:   s.vault.Describe,
		encode: encodeWithoutValue,
	})
}

// listVersions is GET /vault/v1/kv/{id}/versions. There are few enough for one page.
func (s *Server) listVersions() handler {
	return handle(endpoint[vault.ObjectID, []vault.Version]{
		status: http.StatusOK,
		decode: decodeID[vault.ObjectID],
		call:   s.vault.Versions,
		encode: func(b []byte, versions []vault.Version) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, versions, "", "", w.version)
			return w.done()
		},
	})
}

// updateObject is PUT /vault/v1/kv/{id}. 201 is the contract's status.
func (s *Server) updateObject() handler {
	return handle(endpoint[vault.UpdateRequest, vault.Object]{
		status: http.StatusCreated,
		decode: decodeUpdate,
		call:   s.vault.Update,
		encode: encodeWithoutValue,
	})
}

// decodeUpdate has no idempotency key: with version_check an update is safe to repeat, and without it
// the last writer wins anyway.
func decodeUpdate(x *exchange) (vault.UpdateRequest, error) {
	var q vault.UpdateRequest
	var err error
	if q.ID, err = decodeID[vault.ObjectID](x); err != nil {
		return q, err
	}
	raw, err := x.body()
	if err != nil {
		return q, err
	}
	var check *string
	err = decodeObject(raw,
		member{"value", true, secretInto("value", &q.Value)},
		member{"version_check", false, func(r *jsonReader) error {
			check = new(string)
			return textInto("version_check", check)(r)
		}},
	)
	if err == nil && check != nil {
		q.IfVersion, err = versionCheck(*check)
	}
	return q, err
}

// deleteObject is DELETE /vault/v1/kv/{id}. A body is ignored, as the contract has none.
func (s *Server) deleteObject() handler {
	return handle(endpoint[vault.DeleteRequest, string]{
		status: http.StatusOK,
		decode: decodeDelete,
		call:   s.vault.Delete,
		encode: func(b []byte, name string) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"name":`)
			w.text(name)
			w.raw(`,"success":true}`)
			return w.done()
		},
	})
}

// decodeDelete takes the version check from the query alone: that is where SDKs put it, and bodies of
// DELETE get lost on the way (RFC 9110 section 9.3.5).
func decodeDelete(x *exchange) (vault.DeleteRequest, error) {
	var q vault.DeleteRequest
	var err error
	if q.ID, err = decodeID[vault.ObjectID](x); err != nil {
		return q, err
	}
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if _, given := parameters.values["version_check"]; !given {
		return q, nil
	}
	check, err := parameters.text("version_check")
	if err != nil {
		return q, err
	}
	q.IfVersion, err = versionCheck(check)
	return q, err
}

// versionCheck refuses the empty string: a client that lost its version id must not overwrite blindly.
func versionCheck(text string) (*vault.VersionID, error) {
	if text == "" {
		return nil, refused("invalid_value", "version_check", "must be a version id, null or absent")
	}
	version := vault.VersionID(text)
	return &version, nil
}

// encodeObject is the one encoder of values.
func encodeObject(b []byte, o vault.Object) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.head(o)
	w.raw(`,"value":`)
	w.value(o.Value)
	w.raw(`}`)
	return w.done()
}

// encodeWithoutValue has no member "value" at all, rather than an empty one: an empty value is legal.
func encodeWithoutValue(b []byte, o vault.Object) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.head(o)
	w.raw(`}`)
	return w.done()
}

// head appends an object up to its value, without the closing brace.
func (w *jsonWriter) head(o vault.Object) {
	w.raw(`{"id":`)
	w.text(string(o.ID))
	w.raw(`,"name":`)
	w.text(o.Name)
	w.raw(`,"metadata":`)
	w.metadata(o.Metadata)
}

// metadata appends every member the contract has, with null where there is nothing: SDKs index them
// without asking.
func (w *jsonWriter) metadata(m vault.Metadata) {
	w.raw(`{"id":`)
	w.text(string(m.ID))
	w.raw(`,"environment_id":`)
	w.text(m.Environment.OnWire())
	w.raw(`,"context":`)
	w.context(m.Context)
	w.raw(`,"key_id":`)
	w.text(string(m.KeyID))
	w.raw(`,"updated_at":`)
	w.time(m.UpdatedAt, vaultTime)
	w.raw(`,"updated_by":{"id":`)
	w.text(m.UpdatedBy.ID)
	w.raw(`,"name":`)
	w.text(m.UpdatedBy.Name)
	w.raw(`},"version_id":`)
	w.textOrNull(string(m.VersionID))
	w.raw(`}`)
}

func (w *jsonWriter) summary(s vault.Summary) {
	w.raw(`{"id":`)
	w.text(string(s.ID))
	w.raw(`,"name":`)
	w.text(s.Name)
	w.raw(`,"updated_at":`)
	w.time(s.UpdatedAt, vaultTime)
	w.raw(`}`)
}

// version appends one version. The etag is bare hex, of the ciphertext.
func (w *jsonWriter) version(v vault.Version) {
	w.raw(`{"id":`)
	w.text(string(v.ID))
	w.raw(`,"created_at":`)
	w.time(v.CreatedAt, vaultTime)
	w.raw(`,"current_version":`)
	w.bool(v.Current)
	w.raw(`,"etag":`)
	w.text(v.ETag)
	w.raw(`,"size":`)
	w.number(v.Size)
	w.raw(`}`)
}
