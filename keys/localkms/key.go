package localkms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/secret"
	"culvert/keys"
)

// Key is a root key from a file. It is immutable and safe for concurrent use; it works in memory, so
// its methods do not block and it knows no outage.
type Key struct {
	uri  string
	aead tink.AEAD
}

var _ keys.RootKey = (*Key)(nil)

// Create writes a new root key to path, with mode 0600, and returns when the file and its name are
// durable. It never overwrites: the error wraps fs.ErrExist if anything is there. The directory must
// exist. Of two callers at once one succeeds.
func Create(path string) error {
	var id [idSize]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process rather than return less
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return fmt.Errorf("localkms: generate root key: %w", err)
	}
	text, err := encode(hex.EncodeToString(id[:]), h)
	if err != nil {
		return err
	}
	return write(path, text)
}

// Open reads the root key at path. Each reason to refuse it is one sentence that names the path, and
// the key id where the file still tells it; the error wraps fs.ErrNotExist if there is no file.
func Open(path string) (*Key, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	id, h, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("localkms: root key file %s %w", path, err)
	}
	primitive, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("localkms: root key file %s holds a keyset of another kind for key %s", path, id)
	}
	return &Key{uri: "local:" + id, aead: primitive}, nil
}

// URI is "local:" and the key id. It says nothing of the path, which may change.
func (k *Key) URI() string { return k.uri }

// Wrap implements [keys.RootKey].
func (k *Key) Wrap(_ context.Context, share secret.Bytes, b keys.Binding) ([]byte, error) {
	wrapped, err := k.aead.Encrypt(share.Reveal(), b.AssociatedData())
	if err != nil {
		return nil, fmt.Errorf("localkms: wrap: %w", err)
	}
	return wrapped, nil
}

// Unwrap implements [keys.RootKey]. The error is keys.ErrTampered.
func (k *Key) Unwrap(_ context.Context, wrapped []byte, b keys.Binding) (secret.Bytes, error) {
	share, err := k.aead.Decrypt(wrapped, b.AssociatedData())
	if err != nil || len(share) != keys.ShareSize {
		return secret.Bytes{}, keys.ErrTampered
	}
	return secret.New(share), nil
}

// Describe implements [keys.RootKey]. A file knows no more of its key than that it is there.
func (k *Key) Describe(context.Context) (keys.Description, error) {
	return keys.Description{Provider: "local", URI: k.uri, State: keys.KeyEnabled}, nil
}

// Check implements [keys.RootKey] by using the key once.
func (k *Key) Check(ctx context.Context) error {
	probe := secret.New(make([]byte, keys.ShareSize))
	b := keys.Binding{KEK: "readiness"}
	wrapped, err := k.Wrap(ctx, probe, b)
	if err != nil {
		return err
	}
	opened, err := k.Unwrap(ctx, wrapped, b)
	if err != nil {
		return err
	}
	if !opened.Equal(probe) {
		return keys.ErrTampered
	}
	return nil
}
