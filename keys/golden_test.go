package keys_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"culvert/internal/record"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/keys/localkms"
)

// The vectors under testdata were written by the first version of each format. They are only added to:
// a change that needs one of them edited is a change that cannot open what is stored.

// goldenInput is what the vectors were made from. Non-ASCII text, a zone and nanoseconds are in it on
// purpose.
func goldenInput(t testing.TB) keys.AADInput {
	t.Helper()
	at := time.Date(2026, 11, 23, 17, 30, 1, 250931007, time.FixedZone("", 3600))
	body := []byte("the bytes of a record \x00\xff")
	digest := sha256.Sum256(body)
	return keys.AADInput{
		Environment: "01JQ3T5V7X9Z1B3D5F7H9K1M3P",
		KeyID:       "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5b",
		Context:     keystest.MustContext(t, "organization_id", "org_01JQ", "größe", "", "z", "ẑ"),
		Object: keys.ObjectBinding{
			ObjectID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5c", Name: "päyment/card", VersionID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5d",
			Sequence: 7, CreatedAt: at, UpdatedAt: at.Add(time.Minute), AuthorID: "key_01JQ", AuthorName: "back end",
		},
		DataKeyID: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5e",
		At:        at.UTC(),
		Name:      "näme",
		Value:     "value",
		Key:       "object/01JQ3T5V7X9Z1B3D5F7H9K1M3P/019ab1c2",
		Slot:      keys.RootSlot,
		Body:      body,
		Digest:    digest[:],
		Shares:    []keys.Share{{Slot: "a=b"}, {Slot: keys.RootSlot}},
		Versions:  2,
		RotatedAt: at.UTC().Add(time.Hour),
		Primary:   0x01020304,

		Grant: keys.GrantBinding{
			GrantID: "01JQ3T5V7X9Z1B3D5F7H9K1M3Q", IntegrationID: "01JQ3T5V7X9Z1B3D5F7H9K1M3R",
			Origin: "https://provider.example", Generation: 7,
			ExpiresAt: at.Add(time.Hour), RefreshExpiresAt: at.Add(90 * 24 * time.Hour), ObtainedAt: at, Refreshable: true,
		},
		ClientSecret: keys.ClientSecretBinding{
			IntegrationID: "01JQ3T5V7X9Z1B3D5F7H9K1M3R", ClientID: "clïent", Origin: "https://provider.example", SealedAt: at,
		},
		Verifier: keys.VerifierBinding{
			FlowID: "01JQ3T5V7X9Z1B3D5F7H9K1M3S", Departure: "01JQ3T5V7X9Z1B3D5F7H9K1M3T",
			Origin: "https://provider.example", SealedAt: at,
		},
		Waiting: keys.WaitingBinding{
			FlowID: "01JQ3T5V7X9Z1B3D5F7H9K1M3S", Departure: "01JQ3T5V7X9Z1B3D5F7H9K1M3T", IntegrationID: "01JQ3T5V7X9Z1B3D5F7H9K1M3R",
			Origin: "https://provider.example", ExpiresAt: at.Add(time.Hour), RefreshExpiresAt: at.Add(90 * 24 * time.Hour), ObtainedAt: at,
		},
		Journal: keys.JournalBinding{
			Node: "node_01JQ3T5V7X9Z1B3D5F7H9K1M3V", GrantID: "01JQ3T5V7X9Z1B3D5F7H9K1M3Q", IntegrationID: "01JQ3T5V7X9Z1B3D5F7H9K1M3R",
			AccountID: "01JQ3T5V7X9Z1B3D5F7H9K1M3W", Origin: "https://provider.example", ClientID: "clïent", Generation: 7,
			ObtainedAt: at, ExpiresAt: at.Add(time.Hour), RefreshExpiresAt: at.Add(90 * 24 * time.Hour), Scopes: []string{"repo", "üser read"},
		},
	}
}

func TestVectorsOfAADs(t *testing.T) {
	want := map[string]string{}
	for _, file := range []string{"aad.json", "aad-pipes.json", "aad-items.json", "aad-rotated.json", "aad-cmk.json", "aad-waiting.json", "aad-journal.json", "aad-signing.json", "aad-webhooks.json"} {
		added := map[string]string{}
		mustReadJSON(t, file, &added)
		for name, a := range added {
			if _, ok := want[name]; ok {
				t.Fatalf("%s: a second vector of %s", file, name)
			}
			want[name] = a
		}
	}
	got := map[string]string{}
	for name, a := range keys.AADs(goldenInput(t)) {
		got[name] = hex.EncodeToString(a)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("AADs differ from the vectors (-vector +now):\n%s", diff)
	}
}

// kekVectors is a KEK that was stored once, and what was sealed under it.
type kekVectors struct {
	Record     hexBytes `json:"record"`
	Tombstone  hexBytes `json:"tombstone"`
	WrappedDEK hexBytes `json:"wrapped_dek"`
	Ciphertext hexBytes `json:"ciphertext"`
	Value      string   `json:"value"`
	Blob       hexBytes `json:"blob"`
	DataKey    hexBytes `json:"data_key"`
}

func TestVectorsOfKEK(t *testing.T) {
	var v kekVectors
	mustReadJSON(t, "kek.json", &v)
	in, codec := goldenInput(t), mustCodec(t)

	var r keys.KEKRecord
	if err := codec.Decode(v.Record, &r); err != nil {
		t.Fatal(err)
	}
	if again, err := codec.Encode(&r); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("KEK record is encoded in another way now: %v", err)
	}
	kek, err := keys.OpenKEK(t.Context(), mustGoldenRoot(t), in.Environment, in.KeyID, &r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := kek.BoundContext(), in.Context.Canonical(); got != want {
		t.Errorf("context = %q, want %q", got, want)
	}
	value, err := kek.Open(in.Object, keys.Sealed{WrappedDEK: v.WrappedDEK, Ciphertext: v.Ciphertext})
	if err != nil || string(value.Reveal()) != v.Value {
		t.Errorf("open = %q, %v", value.Reveal(), err)
	}
	key, err := kek.OpenDataKey(v.Blob)
	if err != nil || cmp.Diff([]byte(v.DataKey), key.Reveal()) != "" {
		t.Errorf("data key does not open to what it was: %v", err)
	}
	header, wrapped, err := keys.ParseBlob(v.Blob)
	if want := (keys.BlobHeader{DataKeyID: in.DataKeyID, KeyID: in.KeyID}); err != nil || header != want {
		t.Errorf("blob header = %v, %v; want %v", header, err, want)
	}
	if again, err := keys.FormatBlob(header, wrapped); err != nil || cmp.Diff([]byte(v.Blob), again) != "" {
		t.Errorf("blob is formatted in another way now: %v", err)
	}
}

func TestVectorsOfTombstone(t *testing.T) {
	var v kekVectors
	mustReadJSON(t, "kek.json", &v)
	in, codec := goldenInput(t), mustCodec(t)
	want := keys.KEKRecord{
		Environment: in.Environment, KeyID: in.KeyID, Items: in.Context.Items(),
		CreatedAt: in.At, ShreddedAt: in.At.Add(time.Hour),
	}
	var got keys.KEKRecord
	if err := codec.Decode(v.Tombstone, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tombstone (-want +got):\n%s", diff)
	}
	if again, err := codec.Encode(&got); err != nil || cmp.Diff([]byte(v.Tombstone), again) != "" {
		t.Errorf("tombstone is encoded in another way now: %v", err)
	}
}

func TestVectorsOfEnvironment(t *testing.T) {
	var v struct {
		Record       hexBytes `json:"record"`
		MAC          hexBytes `json:"mac"`
		ContextIndex string   `json:"context_index"`
		ItemIndex    string   `json:"item_index"`
		NameIndex    string   `json:"name_index"`
		RequestIndex string   `json:"request_index"`
		BodyMAC      hexBytes `json:"body_mac"`
		Pepper       hexBytes `json:"pepper"`
	}
	mustReadJSON(t, "environment.json", &v)
	in, codec := goldenInput(t), mustCodec(t)

	var r keys.EnvironmentRecord
	if err := codec.Decode(v.Record, &r); err != nil {
		t.Fatal(err)
	}
	if again, err := codec.Encode(&r); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("environment record is encoded in another way now: %v", err)
	}
	e, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(mustGoldenRoot(t)), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.VerifyMAC(in.Key, in.Body, v.MAC); err != nil {
		t.Errorf("MAC of the vector: %v", err)
	}
	pepper, err := e.Pepper(secret.New(in.Body))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		e.ContextIndex(in.Context), e.ItemIndex(in.Name, in.Value), e.NameIndex(in.Name),
		e.RequestIndex(in.Name, in.Key, in.Value),
		hex.EncodeToString(e.BodyMAC(secret.New(in.Body))), hex.EncodeToString(pepper),
	}
	want := []string{
		v.ContextIndex, v.ItemIndex, v.NameIndex, v.RequestIndex,
		hex.EncodeToString(v.BodyMAC), hex.EncodeToString(v.Pepper),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keyed hashes differ from the vectors (-vector +now):\n%s", diff)
	}
}

// TestVectorsOfSigning: what was signed once is signed alike for ever, since Ed25519 has no chance in it, and the
// key that an auditor was given stays the key.
func TestVectorsOfSigning(t *testing.T) {
	var v struct {
		Record      hexBytes `json:"record"`
		VerifierKey string   `json:"verifier_key"`
		Message     string   `json:"message"`
		Signature   hexBytes `json:"signature"`
	}
	mustReadJSON(t, "environment-signing.json", &v)
	codec := mustCodec(t)
	var r keys.EnvironmentRecord
	if err := codec.Decode(v.Record, &r); err != nil {
		t.Fatal(err)
	}
	if again, err := codec.Encode(&r); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("environment record is encoded in another way now: %v", err)
	}
	e, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(mustGoldenRoot(t)), r)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := e.Signer().Sign([]byte(v.Message))
	if err != nil || cmp.Diff([]byte(v.Signature), signed) != "" || e.Signer().VerifierKey() != v.VerifierKey {
		t.Errorf("signature %x under %s, %v, want %x under %s", signed, e.Signer().VerifierKey(), err, []byte(v.Signature), v.VerifierKey)
	}
	verifier, err := note.NewVerifier(v.VerifierKey)
	if err != nil || !verifier.Verify([]byte(v.Message), signed) || verifier.Verify([]byte(v.Message+"x"), signed) {
		t.Errorf("the public key does not tell what was signed: %v", err)
	}
}

// hexBytes is bytes as hex in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func mustReadJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "v1", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// mustGoldenRoot opens the root key of the vectors. It protects nothing but them. A checkout gives
// every file its own idea of a mode, so the key is opened from a copy.
func mustGoldenRoot(t testing.TB) *localkms.Key { return mustGoldenKey(t, "root-key.txt") }

func mustGoldenKey(t testing.TB, name string) *localkms.Key {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "v1", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root-key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := localkms.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustCodec(t testing.TB) *record.Codec {
	t.Helper()
	codec, err := record.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}
