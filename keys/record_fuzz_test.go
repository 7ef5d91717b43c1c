package keys_test

import (
	"errors"
	"testing"

	"culvert/internal/record"
	"culvert/keys"
)

// FuzzKEKRecord: bytes that decode to a record which is not the genuine one never open, and never panic.
func FuzzKEKRecord(f *testing.F) {
	root, codec := mustGoldenRoot(f), mustCodec(f)
	var v kekVectors
	mustReadJSON(f, "kek.json", &v)
	in := goldenInput(f)
	f.Add([]byte(v.Record))
	f.Add([]byte(v.Tombstone))
	f.Add([]byte{record.Format, 0xa0})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var r keys.KEKRecord
		if err := codec.Decode(encoded, &r); err != nil {
			if !errors.Is(err, record.ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		kek, err := keys.OpenKEK(t.Context(), root, in.Environment, in.KeyID, &r)
		switch {
		case err == nil:
			// Whatever the encoding, what opened is what was sealed.
			if kek.BoundContext() != in.Context.Canonical() || !r.CreatedAt.Equal(in.At) {
				t.Fatal("opened under other words than it was sealed under")
			}
		case errors.Is(err, keys.ErrTampered), errors.Is(err, keys.ErrShredded), errors.Is(err, keys.ErrRefused):
		default:
			t.Fatalf("error of another kind: %v", err)
		}
	})
}
