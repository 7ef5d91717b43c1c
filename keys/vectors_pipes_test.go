package keys_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

// Vectors of what pipes keeps under the KEK and the environment of the other vectors.

// goldenTokens are tokens of every kind that a grant may hold.
func goldenTokens() keys.GrantTokens {
	return keys.GrantTokens{
		Access: value("an access token"), Refresh: value("a refresh token"), Previous: value("the one before"),
		Named: map[string]secret.Bytes{"bot": value("a bot's token"), "üser": value("a token \x00\xff")},
	}
}

// sealedVector is something sealed once, and what it was.
type sealedVector struct {
	WrappedDEK hexBytes `json:"wrapped_dek"`
	Ciphertext hexBytes `json:"ciphertext"`
	Plaintext  hexBytes `json:"plaintext"`
}

func TestVectorsOfWhatPipesSeals(t *testing.T) {
	var stored kekVectors
	mustReadJSON(t, "kek.json", &stored)
	var v struct {
		Grant        sealedVector `json:"grant"`
		ClientSecret sealedVector `json:"client_secret"`
		Verifier     sealedVector `json:"verifier"`
	}
	mustReadJSON(t, "pipes.json", &v)
	var waiting struct {
		Waiting sealedVector `json:"waiting"`
	}
	mustReadJSON(t, "waiting.json", &waiting)
	var journal sealedVector
	mustReadJSON(t, "journal.json", &journal)
	in := goldenInput(t)
	var r keys.KEKRecord
	if err := mustCodec(t).Decode(stored.Record, &r); err != nil {
		t.Fatal(err)
	}
	kek, err := keys.OpenKEK(t.Context(), mustGoldenRoot(t), in.Environment, in.KeyID, &r)
	if err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		binding keys.Bound
		vector  sealedVector
	}{
		"grant":         {in.Grant, v.Grant},
		"client secret": {in.ClientSecret, v.ClientSecret},
		"verifier":      {in.Verifier, v.Verifier},
		"waiting":       {in.Waiting, waiting.Waiting},
		"journal":       {in.Journal, journal},
	} {
		got, err := kek.Open(row.binding, keys.Sealed{WrappedDEK: row.vector.WrappedDEK, Ciphertext: row.vector.Ciphertext})
		if err != nil || len(row.vector.Plaintext) == 0 || !bytes.Equal(got.Reveal(), row.vector.Plaintext) {
			t.Errorf("%s does not open to what it was: %v", what, err)
		}
	}

	// The plaintext of a grant is a format of its own.
	k := keystest.New(t).Keys
	got, err := k.DecodeGrant(secret.New(v.Grant.Plaintext))
	if err != nil {
		t.Fatal(err)
	}
	mustSameTokens(t, "grant of the vector", got, goldenTokens())
	again, err := k.EncodeGrant(goldenTokens())
	if err != nil || !bytes.Equal(again.Reveal(), v.Grant.Plaintext) {
		t.Errorf("a grant's tokens are encoded in another way now: %v", err)
	}
}

// hashes are all keyed hashes of pipes and webhooks for one input, as text.
func hashes(e *keys.Environment, in keys.AADInput) map[string]string {
	body := secret.New(in.Body)
	all := map[string]string{
		"owner_index":       e.OwnerIndex(in.Slot, in.Name, in.Value, in.Key),
		"refresh_token_mac": hex.EncodeToString(e.RefreshTokenMAC(body)),
		"webhook_secret":    string(e.WebhookSigner(in.Name, in.Body).Secret().Reveal()),
		"webhook_signature": e.WebhookSigner(in.Name, in.Body).Sign(in.At, in.Body),
	}
	for _, kind := range flowSecrets {
		all["flow_hash/"+string(kind)] = hex.EncodeToString(e.FlowHash(kind, in.Name, body))
	}
	return all
}

var flowSecrets = []keys.FlowSecret{
	keys.TicketSecret, keys.StateSecret, keys.BindingSecret, keys.FormSecret,
	keys.ResultSecret, keys.RedirectSecret, keys.HandoffSecret,
}

func TestVectorsOfKeyedHashesOfPipes(t *testing.T) {
	var stored struct {
		Record hexBytes `json:"record"`
	}
	mustReadJSON(t, "environment.json", &stored)
	want := map[string]string{}
	for _, file := range []string{"environment-pipes.json", "environment-flows.json", "environment-webhooks.json"} {
		mustReadJSON(t, file, &want)
	}
	var r keys.EnvironmentRecord
	if err := mustCodec(t).Decode(stored.Record, &r); err != nil {
		t.Fatal(err)
	}
	e, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(mustGoldenRoot(t)), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, hashes(e, goldenInput(t))); diff != "" {
		t.Errorf("keyed hashes differ from the vectors (-vector +now):\n%s", diff)
	}
}
