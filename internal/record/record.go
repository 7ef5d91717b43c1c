// Package record is the one encoding of what Culvert stores: a format byte, then CBOR in core
// deterministic form (RFC 8949 section 4.2.1) with integer field names.
//
// The bytes are authenticated before they are decoded, by a MAC or as the AAD of a seal; decoding is
// strict all the same, so that a record written by a later format is refused, not half understood.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Format is the first byte of every record. A new layout gets a new byte and the old one stays readable.
const Format = 1

// ErrFormat means that bytes are no record of a format this program knows.
var ErrFormat = errors.New("record: unknown format")

// Codec encodes and decodes records. It is safe for concurrent use; make one and pass it where it is needed.
type Codec struct {
	// buffers holds *bytes.Buffer.
	buffers sync.Pool
	enc     cbor.UserBufferEncMode
	dec     cbor.DecMode
}

// NewCodec returns the codec of [Format].
func NewCodec() (*Codec, error) {
	options := cbor.CoreDetEncOptions()
	options.Time = cbor.TimeRFC3339NanoUTC
	enc, err := options.UserBufferEncMode()
	if err != nil {
		return nil, fmt.Errorf("record encoder: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("record decoder: %w", err)
	}
	return &Codec{enc: enc, dec: dec}, nil
}

// Encode returns the stored form of v.
func (c *Codec) Encode(v any) ([]byte, error) {
	var stored []byte
	err := c.Lend(v, func(body []byte) error {
		stored = bytes.Clone(body)
		return nil
	})
	return stored, err
}

// Lend gives the stored form of v to use, which must not keep it: the buffer is wiped and used again.
// Records of a few kilobytes are written by the thousand each second.
func (c *Codec) Lend(v any, use func(body []byte) error) error {
	b, _ := c.buffers.Get().(*bytes.Buffer)
	if b == nil {
		b = &bytes.Buffer{}
	}
	defer func() {
		clear(b.Bytes())
		b.Reset()
		c.buffers.Put(b)
	}()
	b.WriteByte(Format)
	if err := c.enc.MarshalToBuffer(v, b); err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return use(b.Bytes())
}

// Decode reads the stored form into v. The error is [ErrFormat]; it does not repeat the bytes.
func (c *Codec) Decode(b []byte, v any) error {
	if len(b) == 0 || b[0] != Format {
		return ErrFormat
	}
	if err := c.dec.Unmarshal(b[1:], v); err != nil {
		return fmt.Errorf("%w: %T", ErrFormat, v)
	}
	return nil
}
