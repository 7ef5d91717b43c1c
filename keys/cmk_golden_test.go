package keys_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/keys"
	"culvert/keys/keystest"
)

// keyBag is keys that customers of a test may have, by their URIs.
type keyBag map[string]keys.RootKey

func (b keyBag) Name(text string) (string, bool) { _, ok := b[text]; return text, ok }

func (b keyBag) Key(_ context.Context, uri string) (keys.RootKey, error) {
	if key, ok := b[uri]; ok {
		return key, nil
	}
	return nil, &keys.Refusal{Code: "not in the bag"}
}

func bagOf(all ...keys.RootKey) keyBag {
	b := keyBag{}
	for _, key := range all {
		b[key.URI()] = key
	}
	return b
}

// cmkVectors are a KEK with a share under a customer's key, what was sealed under it, and a map.
type cmkVectors struct {
	Record     hexBytes `json:"record"`
	WrappedDEK hexBytes `json:"wrapped_dek"`
	Ciphertext hexBytes `json:"ciphertext"`
	Value      string   `json:"value"`
	Map        hexBytes `json:"map"`
	Job        hexBytes `json:"job"`
}

func goldenMap(t testing.TB) keys.CMKMap {
	in := goldenInput(t)
	return keys.CMKMap{CMKs: []keys.CMK{
		{
			ID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a60", Item: keys.Item{Name: "organization_id", Value: "org_01JQ"},
			KeyURI: "awskms:arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab", State: keys.CMKAttached,
			Job: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a61", CreatedAt: in.At, AttachedAt: in.At.Add(time.Minute),
		},
		{
			ID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a62", Item: keys.Item{Name: "größe"}, KeyURI: "local:909a79c85ce621fe",
			State: keys.CMKDetaching, Job: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a63", CreatedAt: in.At,
		},
	}}
}

func goldenCMKJob(t testing.TB) keys.Job {
	in := goldenInput(t)
	return keys.Job{
		ID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a61", Environment: in.Environment, Kind: keys.AttachJob,
		Scope: keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_01JQ"}}, Actor: keys.JobActor{ID: "key_01JQ", Source: "api"},
		Node: "node", Index: 7, CreatedAt: in.At, State: keys.JobRunning, Cursor: "kek:x",
		CMK: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a60", KeyURI: "awskms:arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	}
}

func TestVectorsOfCMKs(t *testing.T) {
	var v cmkVectors
	mustReadJSON(t, "cmk.json", &v)
	in, codec := goldenInput(t), mustCodec(t)
	var r keys.KEKRecord
	must(t, codec.Decode(v.Record, &r))
	if again, err := codec.Encode(&r); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("KEK record is encoded in another way now: %v", err)
	}
	kek, err := keys.OpenKEKUnder(t.Context(), mustGoldenRoot(t), bagOf(mustGoldenKey(t, "cmk-key.txt")), &r)
	must(t, err)
	value, err := kek.Open(in.Object, keys.Sealed{WrappedDEK: v.WrappedDEK, Ciphertext: v.Ciphertext})
	if err != nil || string(value.Reveal()) != v.Value {
		t.Errorf("open = %q, %v", value.Reveal(), err)
	}
	for what, row := range map[string]struct {
		stored    []byte
		got, want any
	}{
		"map": {v.Map, &keys.CMKMap{}, goldenMap(t)},
		"job": {v.Job, &keys.Job{}, goldenCMKJob(t)},
	} {
		must(t, codec.Decode(row.stored, row.got))
		if again, err := codec.Encode(row.want); err != nil || cmp.Diff(row.stored, again) != "" {
			t.Errorf("%s is encoded in another way now: %v", what, err)
		}
		if again, err := codec.Encode(row.got); err != nil || cmp.Diff(row.stored, again) != "" {
			t.Errorf("%s does not come back: %v", what, err)
		}
	}
}

// What a customer's key protects opens with all keys it was made with, and not with some, or in other slots.
func TestKEKUnderCMKOpensOnlyAsItWasStored(t *testing.T) {
	root, cmk, other := mustGoldenRoot(t), mustGoldenKey(t, "cmk-key.txt"), keystest.NewRoot(t)
	var v cmkVectors
	mustReadJSON(t, "cmk.json", &v)
	codec := mustCodec(t)
	slot := "organization_id=org_01JQ"
	for what, row := range map[string]struct {
		want error
		edit func(r *keys.KEKRecord)
	}{
		"as it was":                    {nil, func(*keys.KEKRecord) {}},
		"without the customer's share": {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares = r.Shares[1:] }},
		"without the root's":           {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares = r.Shares[:1] }},
		"in the other order":           {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares[0], r.Shares[1] = r.Shares[1], r.Shares[0] }},
		"of another item":              {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares[0].Slot = "größe=" }},
		"of no item of the context":    {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares[0].Slot = "organization_id=org_2" }},
		"shares exchanged": {keys.ErrTampered, func(r *keys.KEKRecord) {
			r.Shares[0].Wrapped, r.Shares[1].Wrapped = r.Shares[1].Wrapped, r.Shares[0].Wrapped
		}},
		"another key":               {keys.ErrTampered, func(r *keys.KEKRecord) { r.Shares[0].KeyURI = other.URI() }},
		"the root key in its place": {keys.ErrCMKRefused, func(r *keys.KEKRecord) { r.Shares[0].KeyURI = root.URI() }},
		"a key that is not there":   {keys.ErrCMKRefused, func(r *keys.KEKRecord) { r.Shares[0].KeyURI = "local:0" }},
		"another context":           {keys.ErrTampered, func(r *keys.KEKRecord) { r.Items["z"] = "" }},
	} {
		var r keys.KEKRecord
		must(t, codec.Decode(v.Record, &r))
		if r.Shares[0].Slot != slot || r.Shares[1].Slot != keys.RootSlot || len(r.Shares) != 2 {
			t.Fatalf("the vector's shares: %+v", r.Shares)
		}
		row.edit(&r)
		if _, err := keys.OpenKEKUnder(t.Context(), root, bagOf(cmk, other), &r); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	var r keys.KEKRecord
	must(t, codec.Decode(v.Record, &r))
	if _, err := keys.OpenKEKUnder(t.Context(), other, bagOf(cmk), &r); !errors.Is(err, keys.ErrRefused) || errors.Is(err, keys.ErrCMKRefused) {
		t.Errorf("without the root key: %v", err)
	}
}
