package record_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"culvert/internal/record"
)

// thing has a field of every shape that records have.
type thing struct {
	ID    string            `cbor:"1,keyasint"`
	Items map[string]string `cbor:"2,keyasint"`
	Bytes []byte            `cbor:"3,keyasint"`
	Count uint64            `cbor:"4,keyasint"`
	At    time.Time         `cbor:"5,keyasint"`
	Parts []part            `cbor:"6,keyasint,omitempty"`
	Ended time.Time         `cbor:"7,keyasint,omitzero"`
}

type part struct {
	Name string `cbor:"1,keyasint"`
	Size int    `cbor:"2,keyasint"`
}

func example() thing {
	return thing{
		ID: "thing-1", Items: map[string]string{"bb": "2", "a": "1", "": ""}, Bytes: []byte{0, 1, 0xff}, Count: 1 << 40,
		At: time.Date(2026, 11, 23, 10, 0, 0, 42000, time.UTC), Parts: []part{{"p", -1}, {"é", 300}},
	}
}

func newCodec(t testing.TB) *record.Codec {
	t.Helper()
	codec, err := record.NewCodec()
	if err != nil {
		t.Fatalf("new codec: %v", err)
	}
	return codec
}

func mustEncode(t testing.TB, codec *record.Codec, v any) []byte {
	t.Helper()
	b, err := codec.Encode(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return b
}

// TestGoldenVector reads the stored form of format 1. The file is never edited: what stands in etcd is
// of this form, and MACs are over these bytes.
func TestGoldenVector(t *testing.T) {
	text, err := os.ReadFile("testdata/format-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	codec := newCodec(t)
	if got := mustEncode(t, codec, example()); !bytes.Equal(got, want) {
		t.Errorf("encoded:\ngot  %x\nwant %x", got, want)
	}
	var got thing
	if err := codec.Decode(want, &got); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if diff := cmp.Diff(example(), got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	codec := newCodec(t)
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("zone", rapid.IntRange(-12, 14).Draw(t, "zone")*3600)
		micros := rapid.Int64Range(0, 1<<52).Draw(t, "micros")
		want := thing{
			ID: rapid.String().Draw(t, "id"), Count: rapid.Uint64().Draw(t, "count"),
			Items: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "items"),
			Bytes: rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
			At:    time.UnixMicro(micros).In(zone),
		}
		b, err := codec.Encode(want)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		var got thing
		if err := codec.Decode(b, &got); err != nil {
			t.Fatalf("decode: %v", err)
		}
		// Times come back in UTC and to the microsecond at least.
		if got.At.Location() != time.UTC || !got.At.Equal(want.At) {
			t.Fatalf("time: got %v, want %v in UTC", got.At, want.At)
		}
		if !got.Ended.IsZero() {
			t.Fatalf("a time that was not set came back as %v", got.Ended)
		}
		want.At = want.At.UTC()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("decoded (-want +got):\n%s", diff)
		}
		again, err := codec.Encode(got)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encoded again: got %x and %v, want %x", again, err, b)
		}
	})
}

// TestDecodeIsStrict spoils a good record in one way each; the good one is the twin.
func TestDecodeIsStrict(t *testing.T) {
	codec := newCodec(t)
	good := mustEncode(t, codec, part{"p", 1}) // 01 a2 01 61 70 02 01
	if want := "01a20161700201"; hex.EncodeToString(good) != want {
		t.Fatalf("encoded: got %x, want %s", good, want)
	}
	for name, text := range map[string]string{
		"nothing":                  "",
		"format byte alone":        "01",
		"format 0":                 "00a20161700201",
		"format 2":                 "02a20161700201",
		"no format":                "a20161700201",
		"trailing byte":            "01a2016170020100",
		"trailing record":          "01a20161700201a20161700201",
		"cut short":                "01a201617002",
		"unknown field":            "01a3016170020103f6",
		"unknown text field":       "01a30161700201614e6170",
		"field as text":            "01a2613161700201",
		"duplicate field":          "01a3016170016171 0201",
		"indefinite map":           "01bf0161700201ff",
		"indefinite text":          "01a2017f6170ff0201",
		"wrong type":               "01a201050201",
		"bytes for text":           "01a20141700201",
		"text that is not UTF-8":   "01a20161ff0201",
		"tag":                      "01a201c061700201",
		"tagged record":            "01d9d9f7a20161700201",
		"float for an integer":     "01a201617002fb3ff8000000000000",
		"integer beyond its field": "01a2016170021bffffffffffffffff",
		"array for a record":       "018261 7001",
		"reserved length":          "01a2017c",
		"huge length":              "01bb7fffffffffffffff",
		"huge text":                "01a2017b7fffffffffffffff70",
		"deep":                     "01a201" + strings.Repeat("81", 100) + "01",
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got part
		if err := codec.Decode(b, &got); !errors.Is(err, record.ErrFormat) {
			t.Errorf("%s: got %+v and %v, want %v", name, got, err, record.ErrFormat)
		}
	}
	var got part
	if err := codec.Decode(good, &got); err != nil || got != (part{"p", 1}) {
		t.Errorf("good record: got %+v, %v", got, err)
	}
}

func TestErrorsDoNotRepeatTheRecord(t *testing.T) {
	codec := newCodec(t)
	const canary = "canary-91c2"
	b := mustEncode(t, codec, map[string]string{canary: canary})
	var got part
	if err := codec.Decode(b, &got); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	if _, err := codec.Encode(func() {}); err == nil {
		t.Error("encoded a function")
	}
}

func FuzzDecode(f *testing.F) {
	codec := newCodec(f)
	f.Add(mustEncode(f, codec, example()))
	f.Add([]byte{record.Format, 0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v thing
		if codec.Decode(b, &v) != nil {
			return
		}
		// Whatever is accepted has one deterministic form, which means the same.
		again := mustEncode(t, codec, v)
		var w thing
		if err := codec.Decode(again, &w); err != nil || !bytes.Equal(mustEncode(t, codec, w), again) {
			t.Fatalf("not stable: %v", err)
		}
	})
}
