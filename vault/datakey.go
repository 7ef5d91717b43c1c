package vault

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/internal/trail"
	"culvert/keys"
)

// DataKey is a client's data key: 32 bytes for AES-256-GCM outside, and the blob from which it is
// opened again. Culvert keeps neither.
type DataKey struct {
	// ID stays the same when the key is moved to another context.
	ID  string
	Key secret.Bytes
	// Blob is the wrapped key; empty where the caller has just sent it.
	Blob []byte
	// Context is that of the KEK which wraps the key.
	Context keys.Context
}

// RekeyRequest asks to move a data key to another key context.
type RekeyRequest struct {
	Context keys.Context
	Blob    []byte
}

// CreateDataKey makes a data key under a key context, whose KEK is created if it has none.
//
// Errors: keys.ErrCreateRate, keys.ErrShredding.
func (v *Vault) CreateDataKey(ctx context.Context, call access.Call, c keys.Context) (DataKey, error) {
	o, err := v.authorize(ctx, call, access.DEKCreate)
	if err != nil {
		return DataKey{}, err
	}
	key, err := o.createDataKey(ctx, c)
	return trail.Answer(ctx, o.Operation, key, err)
}

func (o *operation) createDataKey(ctx context.Context, c keys.Context) (DataKey, error) {
	if err := o.completeWith("", c, c.Items()); err != nil {
		return DataKey{}, err
	}
	return o.wrap(ctx, c, func(meta keys.SealMeta) (keys.DataKey, error) {
		return o.vault.keys.CreateDataKey(ctx, o.Permit, c, meta)
	})
}

// DecryptDataKey opens the blob of a data key of the actor's environment.
//
// Errors: keys.ErrNotOurs for anything that is none, keys.ErrShredded.
func (v *Vault) DecryptDataKey(ctx context.Context, call access.Call, blob []byte) (DataKey, error) {
	o, err := v.authorize(ctx, call, access.DEKDecrypt)
	if err != nil {
		return DataKey{}, err
	}
	key, err := o.decryptDataKey(ctx, blob)
	return trail.Answer(ctx, o.Operation, key, err)
}

func (o *operation) decryptDataKey(ctx context.Context, blob []byte) (DataKey, error) {
	c, permit, err := o.completeForBlob(ctx, blob)
	if err != nil {
		return DataKey{}, err
	}
	key, err := o.vault.keys.DecryptDataKey(ctx, permit, blob)
	if err != nil {
		return DataKey{}, err
	}
	return DataKey{ID: key.ID, Key: key.Key, Blob: key.Blob, Context: c}, nil
}

// Rekey wraps the same data key under the KEK of another key context and returns its new blob. The
// actor needs the permission on both contexts, or a key could be carried to where it may be read.
//
// Errors: those of [Vault.DecryptDataKey] and [Vault.CreateDataKey].
func (v *Vault) Rekey(ctx context.Context, call access.Call, r RekeyRequest) (DataKey, error) {
	o, err := v.authorize(ctx, call, access.DEKRekey)
	if err != nil {
		return DataKey{}, err
	}
	key, err := o.rekey(ctx, r)
	return trail.Answer(ctx, o.Operation, key, err)
}

func (o *operation) rekey(ctx context.Context, r RekeyRequest) (DataKey, error) {
	_, old, err := o.completeForBlob(ctx, r.Blob)
	if err != nil {
		return DataKey{}, err
	}
	fresh, err := o.Permit.Complete(resource("", r.Context, r.Context.Items()))
	if err != nil {
		return DataKey{}, err
	}
	// The intent names the old key and context, the outcome the new ones: together they are the move.
	key, err := o.wrap(ctx, r.Context, func(meta keys.SealMeta) (keys.DataKey, error) {
		return o.vault.keys.Rekey(ctx, old, fresh, r.Context, r.Blob, meta)
	})
	if err == nil {
		o.Record.KeyContext = r.Context.Items()
	}
	return key, err
}

// completeForBlob completes the permit with the context that the blob's KEK is bound to. What the
// blob says of itself is only a key id; that it is sealed under this KEK is proved by opening it.
func (o *operation) completeForBlob(ctx context.Context, blob []byte) (keys.Context, access.Permit, error) {
	header, err := o.vault.keys.ParseDataKey(blob)
	if err != nil {
		return keys.Context{}, access.Permit{}, err
	}
	c, err := o.vault.keys.Context(ctx, o.Environment(), header.KeyID)
	if err != nil {
		return keys.Context{}, access.Permit{}, err
	}
	o.Record.ObjectID, o.Record.KeyID = header.DataKeyID, string(header.KeyID)
	err = o.completeWith("", c, c.Items())
	return c, o.Permit, err
}

// wrap makes a data key under a KEK that may have to be created, which is why there is an intent. A
// caller that loses the race for the creation uses the winner's KEK in the next round.
func (o *operation) wrap(
	ctx context.Context, c keys.Context, try func(keys.SealMeta) (keys.DataKey, error),
) (DataKey, error) {
	if err := o.Intend(ctx); err != nil {
		return DataKey{}, err
	}
	for range sealAttempts {
		key, err := try(o.sealMeta())
		if errors.Is(err, keys.ErrConflict) {
			if err := o.Refresh(ctx); err != nil {
				return DataKey{}, err
			}
			continue
		}
		if err != nil {
			return DataKey{}, err
		}
		// Which KEK it was stands in the blob alone.
		header, err := o.vault.keys.ParseDataKey(key.Blob)
		if err != nil {
			return DataKey{}, err
		}
		o.Record.ObjectID, o.Record.KeyID = key.ID, string(header.KeyID)
		return DataKey{ID: key.ID, Key: key.Key, Blob: key.Blob, Context: c}, nil
	}
	return DataKey{}, ErrConflict
}
