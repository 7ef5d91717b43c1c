package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"culvert/internal/access"
	"culvert/internal/secret"
)

// A blob is what a client keeps of a data key and hands back to have it decrypted (on the wire
// encrypted_keys, in base64):
//
//	"CULVERT\0" | format 0x01 | data key id, 16 bytes | key id, 16 bytes | DEK under the KEK, 77 bytes
//
// Format 1 has one length. The magic lets our own tools tell it from other vendors' blobs wherever it
// stands in a message.
const (
	blobMagic  = "CULVERT\x00"
	blobFormat = 1
	idSize     = 16
	blobSize   = len(blobMagic) + 1 + 2*idSize + wrappedDEKSize
)

// DataKey is a data key that is handed to a client, who seals with it outside of Culvert.
type DataKey struct {
	// ID stays the same when the key is moved to another context.
	ID string
	// Key is 32 raw bytes for AES-256-GCM.
	Key secret.Bytes
	// Blob is the wrapped form, the only one that is kept anywhere; the client keeps it.
	Blob []byte
}

// BlobHeader is what a blob says of itself. Nothing of it is proved before the blob is decrypted.
type BlobHeader struct {
	DataKeyID string
	KeyID     ID
}

// CreateDataKey makes a data key under the KEK of a context. A KEK that does not exist yet is created
// and committed first: [ErrCreateRate], [ErrShredding], and [ErrConflict] if that failed several times.
func (k *Keys) CreateDataKey(ctx context.Context, p access.Permit, c Context, meta SealMeta) (DataKey, error) {
	if !p.Covers(c.Canonical()) {
		return DataKey{}, access.ErrDenied
	}
	with, err := k.ensureKEK(ctx, p.Environment(), c, meta)
	if err != nil {
		return DataKey{}, err
	}
	return with.dataKey(k.newID(), newDEK())
}

// ParseDataKey reads the ids in a blob, to find the context that decrypting it needs a permit for. The
// error is [ErrNotOurs].
func (k *Keys) ParseDataKey(blob []byte) (BlobHeader, error) {
	header, _, err := parseBlob(blob)
	return header, err
}

// DecryptDataKey opens a blob. The permit covers the context of the blob's KEK ([Keys.Context]).
// Whatever is wrong with the blob is [ErrNotOurs].
func (k *Keys) DecryptDataKey(ctx context.Context, p access.Permit, blob []byte) (DataKey, error) {
	header, d, err := k.openBlob(ctx, p, blob)
	if err != nil {
		return DataKey{}, err
	}
	return DataKey{ID: header.DataKeyID, Key: secret.New(d), Blob: blob}, nil
}

// Rekey wraps the data key of a blob under the KEK of another context; its id and the key itself stay.
// p covers the context of the old KEK, q the new context, both in the same environment. The old blob
// goes on working. Errors are those of [Keys.DecryptDataKey] and [Keys.CreateDataKey].
func (k *Keys) Rekey(ctx context.Context, p, q access.Permit, c Context, blob []byte, meta SealMeta) (DataKey, error) {
	if !q.Covers(c.Canonical()) || p.Environment() != q.Environment() {
		return DataKey{}, access.ErrDenied
	}
	header, d, err := k.openBlob(ctx, p, blob)
	if err != nil {
		return DataKey{}, err
	}
	with, err := k.ensureKEK(ctx, q.Environment(), c, meta)
	if err != nil {
		return DataKey{}, err
	}
	return with.dataKey(header.DataKeyID, d)
}

// openBlob unwraps the DEK in a blob. A blob is the client's word: a wrong one is [ErrNotOurs] at every
// step, while a KEK record that was tampered with stays [ErrTampered], because that one is ours.
func (k *Keys) openBlob(ctx context.Context, p access.Permit, blob []byte) (BlobHeader, dek, error) {
	header, wrapped, err := parseBlob(blob)
	if err != nil {
		return BlobHeader{}, nil, err
	}
	with, _, err := k.load(ctx, p.Environment(), header.KeyID)
	if errors.Is(err, ErrKEKNotFound) {
		return BlobHeader{}, nil, ErrNotOurs
	}
	if err != nil {
		return BlobHeader{}, nil, err
	}
	if !p.Covers(with.context) {
		return BlobHeader{}, nil, access.ErrDenied
	}
	d, err := with.unwrap(wrapped, dataKeyAAD(with.env, with.id, with.context, header.DataKeyID))
	if err != nil {
		return BlobHeader{}, nil, ErrNotOurs
	}
	return header, d, nil
}

// dataKey wraps a DEK for a client. It takes the DEK over: the answer holds it.
func (k *kek) dataKey(id string, d dek) (DataKey, error) {
	wrapped, err := k.wrap(d, dataKeyAAD(k.env, k.id, k.context, id))
	if err != nil {
		return DataKey{}, err
	}
	blob, err := formatBlob(BlobHeader{DataKeyID: id, KeyID: k.id}, wrapped)
	if err != nil {
		return DataKey{}, err
	}
	return DataKey{ID: id, Key: secret.New(d), Blob: blob}, nil
}

func formatBlob(h BlobHeader, wrapped []byte) ([]byte, error) {
	blob := append(make([]byte, 0, blobSize), blobMagic...)
	blob = append(blob, blobFormat)
	for _, text := range []string{h.DataKeyID, string(h.KeyID)} {
		id, err := parseUUID(text)
		if err != nil {
			return nil, err
		}
		blob = append(blob, id[:]...)
	}
	if len(wrapped) != wrappedDEKSize {
		return nil, fmt.Errorf("keys: wrapped data key of %d bytes", len(wrapped))
	}
	return append(blob, wrapped...), nil
}

// parseBlob is the reverse. The ids come out as UUID text whatever is in the bytes, so that nothing a
// client sends can be anything but an id in a key of the store.
func parseBlob(blob []byte) (BlobHeader, []byte, error) {
	rest, ok := bytes.CutPrefix(blob, []byte(blobMagic))
	if !ok || len(blob) != blobSize || rest[0] != blobFormat {
		return BlobHeader{}, nil, ErrNotOurs
	}
	rest = rest[1:]
	header := BlobHeader{
		DataKeyID: uuid.UUID(rest[:idSize]).String(),
		KeyID:     ID(uuid.UUID(rest[idSize : 2*idSize]).String()),
	}
	return header, rest[2*idSize:], nil
}

// parseUUID takes the one text form that uuid.UUID.String gives.
func parseUUID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.UUID{}, errors.New("keys: not a UUID")
	}
	return id, nil
}
