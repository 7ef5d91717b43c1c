package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
)

// sealAttempts bounds how often a value is sealed again because its KEK changed between the seal and
// the commit. Creations of one KEK end with the first that commits, and rotations are rare: five
// conflicts in a row mean that something else is wrong.
const sealAttempts = 5

// etagLength is in hex digits: half of SHA-256.
const etagLength = 32

// ETag is the etag of a ciphertext.
func ETag(ciphertext []byte) string {
	sum := sha256.Sum256(ciphertext)
	return hex.EncodeToString(sum[:])[:etagLength]
}

// seal makes the write of h's current version: a fresh DEK, the ciphertext, and the event that is
// committed with them. It fills in what only the seal knows: h's key id and the version's wrapped DEK,
// etag and size. The permit is complete, with h's own context.
func (o *operation) seal(ctx context.Context, h Header, value secret.Bytes, t events.Type) (Write, error) {
	current := h.Current()
	sealed, conditions, err := o.vault.keys.Seal(ctx, o.Permit, o.context, h.Binding(current), value, o.sealMeta())
	if err != nil {
		return Write{}, err
	}
	h.KeyID = sealed.KeyID
	current.WrappedDEK = sealed.WrappedDEK
	current.ETag = ETag(sealed.Ciphertext)
	current.Size = len(sealed.Ciphertext)

	e, err := o.event(t, changed{Name: h.Name, KeyID: h.KeyID, KeyContext: o.context.Items()}, current.CreatedAt)
	if err != nil {
		return Write{}, err
	}
	return Write{Header: h, Ciphertext: sealed.Ciphertext, Conditions: conditions, Event: e}, nil
}

// sealMeta names the intent and the actor for the event of a KEK that the seal may create.
func (o *operation) sealMeta() keys.SealMeta {
	node, index := o.Intent()
	return keys.SealMeta{Node: node, Index: index, Actor: events.ActorOf(o.Permit.Actor())}
}

// author is who the version being made belongs to.
func (o *operation) author() Author {
	a := o.Permit.Actor()
	return Author{ID: a.ID(), Name: a.Name()}
}

// metadata is what is answered of a header. c is its context.
func (h *Header) metadata(c keys.Context) Metadata {
	current := h.Current()
	return Metadata{
		ID:          h.ID,
		Environment: h.Environment,
		Context:     c,
		KeyID:       h.KeyID,
		UpdatedAt:   current.CreatedAt,
		UpdatedBy:   current.Author,
		VersionID:   current.ID,
	}
}
