package keys_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/keys/localkms"
)

// canary is a value as anybody might seal it.
const canary = "canary-5d41402abc4b2a76b9719d911017c592"

// spy hands every share in clear to a function, to look for it in what is printed afterwards. It holds
// no slice: fmt follows a pointer under a verb that does not fit, and would print the spy's own loot.
type spy struct {
	keys.RootKey
	saw func([]byte)
}

func (s spy) Wrap(ctx context.Context, share secret.Bytes, b keys.Binding) ([]byte, error) {
	s.saw(bytes.Clone(share.Reveal()))
	return s.RootKey.Wrap(ctx, share, b)
}

// Whatever is printed, logged or encoded, and however: no value, no data key, no share, no root key.
func TestNothingPrintsASecret(t *testing.T) {
	s := keystest.New(t)
	var shares [][]byte
	root := spy{s.Root, func(share []byte) { shares = append(shares, share) }}
	k := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(root)})
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Object
	permit := s.MustPermit(t, c)
	sealed, conditions, err := k.Seal(t.Context(), permit, c, b, value(canary), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.CreateKEK(t.Context(), conditions); err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
	opened, err := k.Open(t.Context(), permit, sealed, b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := k.CreateDataKey(t.Context(), permit, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	envRecord, env, err := keys.NewEnvironment(t.Context(), keys.NewRootKeys(root), "one", "default", goldenInput(t).At)
	if err != nil {
		t.Fatal(err)
	}
	local, rootKeyset := mustLocalKey(t)
	_, kek := mustKEK(t, root)

	secrets := append([][]byte{[]byte(canary), data.Key.Reveal(), rootKeyset}, shares...)
	if len(shares) < 3 {
		t.Fatalf("%d shares were seen, want 3 or more", len(shares))
	}
	for _, v := range []any{
		sealed, conditions, *conditions.Create, conditions.Create.Record, opened, data, envRecord, env,
		keys.NewEnvironments(env), k, *k, local, *local, s.Root, c, b, kek, *kek, keys.SealMeta{}, keys.BlobHeader{},
		keys.Config{Roots: keys.NewRootKeys(local), Environments: s.Environments, Store: s.Store}, keys.NewRootKeys(local), *keys.NewRootKeys(local), keys.Binding{}, keys.Share{},
		keys.RecordAAD("e", "k", nil), &keys.ContextError{},
		fmt.Errorf("wrapped: %w", keys.ErrTampered),
	} {
		for form, text := range renderings(v) {
			for _, plain := range secrets {
				if how, found := contains(text, plain); found {
					t.Errorf("%T under %s shows a secret as %s", v, form, how)
				}
			}
		}
	}
}

// The tokens of a grant, in every place that they pass on their way.
func TestNothingPrintsAToken(t *testing.T) {
	s := keystest.New(t)
	c, in := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t)
	permit := s.MustPermit(t, c)
	tokens := keys.GrantTokens{
		Access: value("access-" + canary), Refresh: value("refresh-" + canary), Previous: value("previous-" + canary),
		Named:  map[string]secret.Bytes{"bot": value("named-" + canary)},
		Config: map[string]secret.Bytes{"app_key": value("config-" + canary)},
	}
	sealed, conditions, err := s.Keys.SealGrant(t.Context(), permit, c, in.Grant, tokens, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, conditions)
	opened, err := s.Keys.OpenGrant(t.Context(), permit, sealed, in.Grant)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.Keys.EncodeGrant(tokens)
	if err != nil {
		t.Fatal(err)
	}
	_, refused := s.Keys.OpenGrant(t.Context(), s.MustIncompletePermit(t), sealed, in.Grant)
	_, noGrant := s.Keys.DecodeGrant(value("refresh-" + canary))
	hash := s.Environment.FlowHash(keys.TicketSecret, "flow", value(canary))
	for _, v := range []any{
		tokens, &tokens, opened, &opened, opened.Named, opened.Config, plain, sealed, conditions, in.Grant, in.ClientSecret,
		in.Verifier, in.Journal, refused, noGrant, hash, s.Environment.RefreshTokenMAC(tokens.Refresh),
	} {
		for form, text := range renderings(v) {
			for _, kind := range []string{"", "access-", "refresh-", "previous-", "named-", "config-"} {
				if how, found := contains(text, []byte(kind+canary)); found {
					t.Errorf("%T under %s shows a token as %s", v, form, how)
				}
			}
		}
	}
}

// renderings is a value as anyone might print it.
func renderings(v any) map[string]string {
	all := map[string]string{}
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %t %T %p %c %U %e %b %o") {
		all[verb] = fmt.Sprintf(verb, v)
		all["in a struct, "+verb] = fmt.Sprintf(verb, struct{ hidden any }{v})
		all["in a slice, "+verb] = fmt.Sprintf(verb, []any{v})
	}
	encoded, err := json.Marshal(v)
	all["JSON"] = fmt.Sprint(string(encoded), err)
	var text, object bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&object, nil)).Info("m", "v", v)
	all["slog text"], all["slog JSON"] = text.String(), object.String()
	return all
}

// contains looks for bytes in the forms that printing gives them. Sixteen of them are enough to know.
func contains(text string, plain []byte) (string, bool) {
	part := plain[:min(len(plain), 16)]
	numbers := strings.Trim(fmt.Sprint(part), "[]")
	for how, form := range map[string]string{
		"text":      string(plain),
		"hex":       hex.EncodeToString(part),
		"HEX":       strings.ToUpper(hex.EncodeToString(part)),
		"base64":    base64.StdEncoding.EncodeToString(part[:15]),
		"base64url": base64.URLEncoding.EncodeToString(part[:15]),
		"numbers":   numbers,
		"list":      strings.ReplaceAll(numbers, " ", ", "),
		"Go syntax": strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte"), "{}"),
	} {
		if strings.Contains(text, form) {
			return how, true
		}
	}
	return "", false
}

// The search itself must be able to find what it looks for.
func TestPrintedSecretsAreFound(t *testing.T) {
	plain := []byte(canary)
	for form, text := range renderings(struct{ Key []byte }{plain}) {
		switch form {
		case "%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "JSON", "slog text", "slog JSON":
			if _, found := contains(text, plain); !found {
				t.Errorf("%s: the canary is not found in %q", form, text)
			}
		}
	}
}

// mustLocalKey is a root key from a file, and the raw key in it.
func mustLocalKey(t *testing.T) (*localkms.Key, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	if err := localkms.Create(path); err != nil {
		t.Fatal(err)
	}
	key, err := localkms.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	// The key's 32 bytes stand behind their protobuf tag 0x1a and length in the keyset.
	at := bytes.Index(block.Bytes, []byte{0x1a, 32})
	if at < 0 {
		t.Fatal("no key in the keyset")
	}
	return key, block.Bytes[at+2 : at+34]
}
