package keys

import (
	"crypto/rand"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"culvert/internal/secret"
)

// This is the one file that turns raw bytes into a key, and the exception that internal/arch names.

const (
	// keySize is that of AES-256.
	keySize = 32
	// wrappedDEKSize is a DEK under XAES-256-GCM in Tink's form: prefix 5, salt and nonce 24, tag 16.
	wrappedDEKSize = 5 + 24 + keySize + 16
	// sealFormat stands big endian behind a byte 0x01 in front of everything sealed by [newAEAD]. It
	// is the place of Tink's key id, which a key used for one message does not need: 1 means
	// AES-256-GCM with a random nonce of 12 bytes and a tag of 16.
	sealFormat = 1
)

// newAEAD is AES-256-GCM under a raw key of 32 bytes, which it copies. With random nonces such a key
// is good for 2^32 messages; the keys here seal one each.
func newAEAD(raw []byte) (tink.AEAD, error) {
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: keySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink,
	})
	if err != nil {
		return nil, fmt.Errorf("AES-256-GCM parameters: %w", err)
	}
	bytes := secretdata.NewBytesFromData(raw, insecuresecretdataaccess.Token{})
	key, err := aesgcm.NewKey(bytes, sealFormat, parameters)
	if err != nil {
		return nil, fmt.Errorf("AES-256-GCM key: %w", err)
	}
	return aesgcm.NewAEAD(key)
}

// dek is the raw bytes of a data key. It lives for one operation, in this file and datakey.go.
type dek []byte

// newDEK never returns an error: crypto/rand ends the process rather than give less than it was asked.
func newDEK() dek {
	d := make(dek, keySize)
	_, _ = rand.Read(d)
	return d
}

// forget wipes the bytes. Copies that the AES key schedule and Tink made live until the memory is
// used again, or see [erased]: a thief of a core dump is not stopped by this, only narrowed.
func (d dek) forget() { clear(d) }

// wrap seals a DEK under the KEK's primary key.
func (k *kek) wrap(d dek, a aad) (wrapped []byte, err error) {
	erased(func() { wrapped, err = k.aead.Encrypt(d, a) })
	if err != nil {
		return nil, fmt.Errorf("wrap data key: %w", err)
	}
	return wrapped, nil
}

// unwrap opens a DEK under whichever of the KEK's keys wrapped it. The error is [ErrTampered].
func (k *kek) unwrap(wrapped []byte, a aad) (raw dek, err error) {
	erased(func() { raw, err = k.aead.Decrypt(wrapped, a) })
	if err != nil || len(raw) != keySize {
		return nil, ErrTampered
	}
	return raw, nil
}

// rewrap wraps the same DEK again, under the KEK's primary key.
func (k *kek) rewrap(wrapped []byte, a aad) ([]byte, error) {
	d, err := k.unwrap(wrapped, a)
	if err != nil {
		return nil, err
	}
	defer d.forget()
	return k.wrap(d, a)
}

// seal gives a value a DEK of its own, and wraps that; each with its AAD.
func (k *kek) seal(value secret.Bytes, to bind) (s Sealed, err error) {
	erased(func() { s, err = k.encrypt(value, to) })
	return s, err
}

func (k *kek) encrypt(value secret.Bytes, to bind) (Sealed, error) {
	valueAAD, dekAAD := to(k)
	d := newDEK()
	defer d.forget()
	aead, err := newAEAD(d)
	if err != nil {
		return Sealed{}, err
	}
	ciphertext, err := aead.Encrypt(value.Reveal(), valueAAD)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal value: %w", err)
	}
	wrapped, err := k.wrap(d, dekAAD)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{KeyID: k.id, WrappedDEK: wrapped, Ciphertext: ciphertext}, nil
}

// open is the reverse. The error is [ErrTampered].
func (k *kek) open(s Sealed, to bind) (secret.Bytes, error) {
	var value []byte
	var err error
	erased(func() { value, err = k.decrypt(s, to) })
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(value), nil
}

// proves opens a value and wipes it. The error is [ErrTampered].
func (k *kek) proves(s Sealed, to bind) error {
	value, err := k.open(s, to)
	value.Wipe()
	return err
}

func (k *kek) decrypt(s Sealed, to bind) ([]byte, error) {
	valueAAD, dekAAD := to(k)
	d, err := k.unwrap(s.WrappedDEK, dekAAD)
	if err != nil {
		return nil, err
	}
	defer d.forget()
	aead, err := newAEAD(d)
	if err != nil {
		return nil, ErrTampered
	}
	value, err := aead.Decrypt(s.Ciphertext, valueAAD)
	if err != nil {
		return nil, ErrTampered
	}
	return value, nil
}
