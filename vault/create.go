package vault

import (
	"context"
	"crypto/hmac"
	"errors"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/internal/trail"
	"culvert/keys"
)

// createdStatus is the status of a create's answer, kept so that a replay answers the same one.
const createdStatus = 201

// CreateRequest asks for a new object.
type CreateRequest struct {
	// Name is at most [MaxName] code points, not empty, "." or "..", and without control characters.
	Name    string
	Value   secret.Bytes
	Context keys.Context
	// Idempotency is nil where the caller sent no Idempotency-Key.
	Idempotency *Idempotency
}

// Idempotency is an Idempotency-Key with the request it stands for. The store keeps keyed hashes only.
type Idempotency struct {
	// Method, Path (the route's, as sent) and Key place the request.
	Method, Path, Key string
	// Body is the whole request body as sent; it holds the value.
	Body secret.Bytes
}

// Create stores a value under a name that no live object has. The first value under a key context
// creates its KEK in the same transaction. A repeated request under one Idempotency-Key gives the
// first answer again, also if the object was changed or deleted since.
//
// Errors: [*InvalidError], [ErrExists], [ErrIdempotency], keys.ErrCreateRate, keys.ErrShredding.
func (v *Vault) Create(ctx context.Context, call access.Call, r CreateRequest) (Metadata, error) {
	o, err := v.authorize(ctx, call, access.DataCreate)
	if err != nil {
		return Metadata{}, err
	}
	m, err := o.create(ctx, r)
	return trail.Committed(ctx, o.Operation, m, err)
}

func (o *operation) create(ctx context.Context, r CreateRequest) (Metadata, error) {
	if err := checkName(r.Name); err != nil {
		return Metadata{}, err
	}
	o.Record.ObjectName = r.Name
	if err := o.vault.limits.checkValue(r.Value); err != nil {
		return Metadata{}, err
	}
	items := r.Context.Items()
	if err := o.completeWith(r.Name, r.Context, items); err != nil {
		return Metadata{}, err
	}
	h := o.firstHeader(r.Name, items)
	o.Record.ObjectID, o.Record.VersionID = string(h.ID), string(h.Current().ID)
	request, err := o.request(r.Idempotency, &h)
	if err != nil {
		return Metadata{}, err
	}
	if err := o.Intend(ctx); err != nil {
		return Metadata{}, err
	}
	return o.store(ctx, h, r.Value, request)
}

// store seals and commits. Only the KEK can be in the way of a new object (another caller made it
// first, or it was rotated), and each round sees the newer KEK: sealAttempts is the bound.
func (o *operation) store(ctx context.Context, h Header, value secret.Bytes, request *IdempotencyRecord) (Metadata, error) {
	for range sealAttempts {
		w, err := o.seal(ctx, h, value, events.DataCreated)
		if err != nil {
			return Metadata{}, err
		}
		if request != nil {
			request.Request.KeyID = w.Header.KeyID
		}
		first, err := o.vault.store.Create(ctx, w, request)
		switch {
		case errors.Is(err, keys.ErrConflict):
			if err := o.Refresh(ctx); err != nil {
				return Metadata{}, err
			}
			continue
		case err != nil:
			return Metadata{}, err
		case first != nil:
			return o.replay(first, request)
		}
		o.Record.KeyID = string(w.Header.KeyID)
		return w.Header.metadata(o.context), nil
	}
	return Metadata{}, ErrConflict
}

// firstHeader is a new object at its first version, not sealed yet.
func (o *operation) firstHeader(name string, items map[string]string) Header {
	ids := o.vault.ids
	id, at := ObjectID(ids.UUID()), ids.Now()
	return Header{
		ID:          id,
		Environment: o.Environment(),
		Name:        name,
		Items:       items,
		CreatedAt:   at,
		Versions:    []VersionHeader{{ID: VersionID(ids.UUID()), Sequence: 1, CreatedAt: at, Author: o.author()}},
	}
}

// request is the record of an Idempotency-Key, nil without one. Its key id is filled in by the seal.
func (o *operation) request(i *Idempotency, h *Header) (*IdempotencyRecord, error) {
	if i == nil {
		return nil, nil
	}
	env, err := o.vault.environments.Environment(o.Environment())
	if err != nil {
		return nil, err
	}
	return &IdempotencyRecord{Method: i.Method, Path: i.Path, Key: i.Key, Request: Request{
		BodyMAC:   env.BodyMAC(i.Body),
		Status:    createdStatus,
		ObjectID:  h.ID,
		VersionID: h.Current().ID,
		At:        h.CreatedAt,
		Author:    h.Current().Author,
	}}, nil
}

// replay gives the first answer again. The body is the same under a keyed hash, so the first request
// had this one's context, which the record does not repeat.
func (o *operation) replay(first *Request, request *IdempotencyRecord) (Metadata, error) {
	if !hmac.Equal(first.BodyMAC, request.Request.BodyMAC) {
		return Metadata{}, ErrIdempotency
	}
	o.Record.Code = "idempotent_replay"
	o.Record.ObjectID, o.Record.VersionID = string(first.ObjectID), string(first.VersionID)
	o.Record.KeyID = string(first.KeyID)
	return Metadata{
		ID:          first.ObjectID,
		Environment: o.Environment(),
		Context:     o.context,
		KeyID:       first.KeyID,
		UpdatedAt:   first.At,
		UpdatedBy:   first.Author,
		VersionID:   first.VersionID,
	}, nil
}
