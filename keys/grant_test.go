package keys_test

import (
	"bytes"
	"errors"
	"testing"

	"culvert/internal/access"
	"culvert/internal/record"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

// mustSameTokens compares tokens without printing any.
func mustSameTokens(t testing.TB, what string, got, want keys.GrantTokens) {
	t.Helper()
	if !got.Access.Equal(want.Access) || !got.Refresh.Equal(want.Refresh) || !got.Previous.Equal(want.Previous) {
		t.Errorf("%s: other tokens", what)
	}
	if len(got.Named) != len(want.Named) {
		t.Errorf("%s: %d named tokens, want %d", what, len(got.Named), len(want.Named))
	}
	for name, token := range want.Named {
		if !got.Named[name].Equal(token) {
			t.Errorf("%s: another token named %q", what, name)
		}
	}
	if len(got.Config) != len(want.Config) {
		t.Errorf("%s: %d secret config values, want %d", what, len(got.Config), len(want.Config))
	}
	for key, value := range want.Config {
		if !got.Config[key].Equal(value) {
			t.Errorf("%s: another value of %q", what, key)
		}
	}
}

// mustCommit makes real what a seal has drafted.
func mustCommit(t testing.TB, s *keystest.Stack, c keys.Conditions) {
	t.Helper()
	if c.Create == nil {
		return
	}
	if err := s.Store.CreateKEK(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)
}

func TestGrantOverTheStore(t *testing.T) {
	s := keystest.New(t)
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Grant
	permit := s.MustPermit(t, c)
	for what, tokens := range map[string]keys.GrantTokens{
		"all kinds":   goldenTokens(),
		"access only": {Access: value("at")},
		"none":        {},
		"large":       {Access: secret.New(bytes.Repeat([]byte{0xff}, 64<<10)), Refresh: value("rt")},
		"config":      {Access: value("key"), Config: map[string]secret.Bytes{"app_key": value("ak")}},
		"empty name":  {Access: value("at"), Named: map[string]secret.Bytes{"": value("t")}},
	} {
		sealed, conditions, err := s.Keys.SealGrant(t.Context(), permit, c, b, tokens, keys.SealMeta{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mustCommit(t, s, conditions)
		// This replica, and one that knows nothing.
		for _, k := range []*keys.Keys{s.Keys, s.MustKeys(t, keys.Config{NoCache: true})} {
			got, err := k.OpenGrant(t.Context(), permit, sealed, b)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			mustSameTokens(t, what, got, tokens)
		}
	}
}

// Conditions are those of an object's seal: a new context brings its KEK along, a known one its
// generation.
func TestConditionsOfAGrant(t *testing.T) {
	s := keystest.New(t)
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Grant
	permit := s.MustPermit(t, c)
	first, conditions, err := s.Keys.SealGrant(t.Context(), permit, c, b, goldenTokens(), keys.SealMeta{Node: "node-1", Index: 42})
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create == nil || conditions.KeyID != first.KeyID || conditions.Create.Event.Index != 42 {
		t.Fatalf("conditions of a new context = %+v", conditions)
	}
	if _, err := s.Keys.OpenGrant(t.Context(), permit, first, b); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("open without a KEK record: %v, want %v", err, keys.ErrTampered)
	}
	mustCommit(t, s, conditions)
	second, conditions, err := s.Keys.SealGrant(t.Context(), permit, c, b, goldenTokens(), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create != nil || conditions.Generation == 0 || second.KeyID != first.KeyID {
		t.Errorf("conditions of a known context = %+v", conditions)
	}
	for _, sealed := range []keys.Sealed{first, second} {
		if _, err := s.Keys.OpenGrant(t.Context(), permit, sealed, b); err != nil {
			t.Errorf("open after the commit: %v", err)
		}
	}
}

func TestSecretsOfTheEmptyContext(t *testing.T) {
	s := keystest.New(t)
	in := goldenInput(t)
	permit := s.MustPermit(t, keys.Context{})
	client, conditions, err := s.Keys.SealClientSecret(t.Context(), permit, keys.Context{}, in.ClientSecret, value("client"), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, conditions)
	verifier, conditions, err := s.Keys.SealVerifier(t.Context(), permit, in.Verifier, value("verifier"), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create != nil || verifier.KeyID != client.KeyID {
		t.Errorf("a client secret and a verifier have two KEKs: %+v", conditions)
	}
	if got, err := s.Keys.OpenClientSecret(t.Context(), permit, client, in.ClientSecret); err != nil || !got.Equal(value("client")) {
		t.Errorf("client secret: %d bytes, %v", got.Len(), err)
	}
	if got, err := s.Keys.OpenVerifier(t.Context(), permit, verifier, in.Verifier); err != nil || !got.Equal(value("verifier")) {
		t.Errorf("verifier: %d bytes, %v", got.Len(), err)
	}
	// Case: where a secret may be sent was changed in clear.
	moved := in.ClientSecret
	moved.Origin = "https://attacker.example"
	if got, err := s.Keys.OpenClientSecret(t.Context(), permit, client, moved); !errors.Is(err, keys.ErrTampered) || got.Len() != 0 {
		t.Errorf("client secret for another origin: %d bytes, %v; want %v", got.Len(), err, keys.ErrTampered)
	}
	// Case: one in the place of the other.
	if _, err := s.Keys.OpenVerifier(t.Context(), permit, client, in.Verifier); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("client secret as verifier: %v, want %v", err, keys.ErrTampered)
	}
}

func TestPermitMustCoverTheContextOfPipes(t *testing.T) {
	s := keystest.New(t)
	in := goldenInput(t)
	c := keystest.MustContext(t, "organization_id", "org_1")
	right, empty := s.MustPermit(t, c), s.MustPermit(t, keys.Context{})
	grant, conditions, err := s.Keys.SealGrant(t.Context(), right, c, in.Grant, goldenTokens(), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, conditions)
	client, conditions, err := s.Keys.SealClientSecret(t.Context(), empty, keys.Context{}, in.ClientSecret, value("client"), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, conditions)
	verifier, _, err := s.Keys.SealVerifier(t.Context(), empty, in.Verifier, value("verifier"), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	journal, err := s.Keys.SealJournal(t.Context(), right, c, in.Journal, goldenTokens(), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]access.Permit{
		"none":            {},
		"incomplete":      s.MustIncompletePermit(t),
		"another context": s.MustPermit(t, keystest.MustContext(t, "organization_id", "org_2")),
	} {
		_, _, sealGrant := s.Keys.SealGrant(t.Context(), p, c, in.Grant, goldenTokens(), keys.SealMeta{})
		_, _, sealClient := s.Keys.SealClientSecret(t.Context(), p, keys.Context{}, in.ClientSecret, value("v"), keys.SealMeta{})
		_, _, sealVerifier := s.Keys.SealVerifier(t.Context(), p, in.Verifier, value("v"), keys.SealMeta{})
		_, sealJournal := s.Keys.SealJournal(t.Context(), p, c, in.Journal, goldenTokens(), keys.SealMeta{})
		_, openJournal := s.Keys.OpenJournal(t.Context(), p, journal, in.Journal)
		_, openGrant := s.Keys.OpenGrant(t.Context(), p, grant, in.Grant)
		_, openClient := s.Keys.OpenClientSecret(t.Context(), p, client, in.ClientSecret)
		_, openVerifier := s.Keys.OpenVerifier(t.Context(), p, verifier, in.Verifier)
		for call, err := range map[string]error{
			"seal grant": sealGrant, "seal client secret": sealClient, "seal verifier": sealVerifier, "seal journal": sealJournal,
			"open grant": openGrant, "open client secret": openClient, "open verifier": openVerifier, "open journal": openJournal,
		} {
			// Without an environment there is not even a KEK to refuse.
			if !errors.Is(err, access.ErrDenied) && (what != "none" || !errors.Is(err, keys.ErrTampered)) {
				t.Errorf("%s with a permit for %s: %v, want %v", call, what, err, access.ErrDenied)
			}
		}
	}
	// Case: each with the other's permit.
	if _, err := s.Keys.OpenGrant(t.Context(), empty, grant, in.Grant); !errors.Is(err, access.ErrDenied) {
		t.Errorf("grant with a permit for the empty context: %v, want %v", err, access.ErrDenied)
	}
	if _, err := s.Keys.OpenClientSecret(t.Context(), right, client, in.ClientSecret); !errors.Is(err, access.ErrDenied) {
		t.Errorf("client secret with a permit for an organization: %v, want %v", err, access.ErrDenied)
	}
	if _, err := s.Keys.OpenGrant(t.Context(), right, grant, in.Grant); err != nil {
		t.Errorf("grant with the right permit: %v", err)
	}
	if _, err := s.Keys.OpenVerifier(t.Context(), empty, verifier, in.Verifier); err != nil {
		t.Errorf("verifier with the right permit: %v", err)
	}
	got, err := s.Keys.OpenJournal(t.Context(), right, journal, in.Journal)
	if err != nil {
		t.Fatalf("journal with the right permit: %v", err)
	}
	mustSameTokens(t, "journal", got, goldenTokens())
	// Case: a context that has no KEK gets none for a journal, where no transaction would store it.
	nobody := keystest.MustContext(t, "organization_id", "nobody")
	if _, err := s.Keys.SealJournal(t.Context(), s.MustPermit(t, nobody), nobody, in.Journal, goldenTokens(), keys.SealMeta{}); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("journal under a KEK that is not there: %v, want %v", err, keys.ErrShredded)
	}
}

// A grant that another environment's key id is written into, or one that leads nowhere, is no grant.
func TestGrantUnderAForeignKEKDoesNotOpen(t *testing.T) {
	s := keystest.New(t)
	b := goldenInput(t).Grant
	mine, theirs := keystest.MustContext(t, "organization_id", "mine"), keystest.MustContext(t, "organization_id", "theirs")
	var sealed []keys.Sealed
	for _, c := range []keys.Context{mine, theirs} {
		one, conditions, err := s.Keys.SealGrant(t.Context(), s.MustPermit(t, c), c, b, goldenTokens(), keys.SealMeta{})
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, conditions)
		sealed = append(sealed, one)
	}
	permit := s.MustPermit(t, mine)
	if _, err := s.Keys.OpenGrant(t.Context(), permit, sealed[0], b); err != nil {
		t.Errorf("genuine: %v", err)
	}
	if _, err := s.Keys.OpenGrant(t.Context(), permit, sealed[1], b); !errors.Is(err, access.ErrDenied) {
		t.Errorf("another customer's grant: %v, want %v", err, access.ErrDenied)
	}
	renamed := sealed[1]
	renamed.KeyID = sealed[0].KeyID
	if _, err := s.Keys.OpenGrant(t.Context(), permit, renamed, b); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("another customer's grant under my KEK's id: %v, want %v", err, keys.ErrTampered)
	}
	nowhere := sealed[0]
	nowhere.KeyID = keys.ID(s.IDs.UUID())
	if _, err := s.Keys.OpenGrant(t.Context(), permit, nowhere, b); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("a KEK that is not there: %v, want %v", err, keys.ErrTampered)
	}
}

// Under a seal that holds may stand what another program put there. It is refused whole, and the error
// repeats none of it.
func TestPlaintextThatIsNoGrant(t *testing.T) {
	k := keystest.New(t).Keys
	genuine, err := k.EncodeGrant(goldenTokens())
	if err != nil {
		t.Fatal(err)
	}
	plain := genuine.Reveal()
	for what, bad := range map[string][]byte{
		"nothing":             nil,
		"text":                []byte(canary),
		"another format":      append([]byte{record.Format + 1}, plain[1:]...),
		"cut":                 plain[:len(plain)-1],
		"more behind":         append(bytes.Clone(plain), 0),
		"a field too many":    {record.Format, 0xa1, 0x18, 0x63, 0x41, 0x00},
		"a number for tokens": {record.Format, 0xa1, 0x01, 0x07},
	} {
		got, err := k.DecodeGrant(secret.New(bad))
		if !errors.Is(err, keys.ErrTampered) || got.Access.Len() != 0 || got.Refresh.Len() != 0 {
			t.Errorf("%s: %v, want %v", what, err, keys.ErrTampered)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("%s: the error repeats what it was given", what)
		}
	}
	got, err := k.DecodeGrant(genuine)
	if err != nil {
		t.Fatal(err)
	}
	mustSameTokens(t, "genuine", got, goldenTokens())
}
