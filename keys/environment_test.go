package keys_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

func mustEnvironment(t testing.TB, root keys.RootKey, id access.EnvironmentID) (keys.EnvironmentRecord, *keys.Environment) {
	t.Helper()
	r, e, err := keys.NewEnvironment(t.Context(), keys.NewRootKeys(root), id, "default", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

func TestEnvironmentComesBackFromItsRecord(t *testing.T) {
	root := keystest.NewRoot(t)
	r, made := mustEnvironment(t, root, "one")
	opened, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := opened.ID(), made.ID(); got != want {
		t.Errorf("id = %q, want %q", got, want)
	}
	tag, err := made.MAC("key", []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.VerifyMAC("key", []byte("body"), tag); err != nil {
		t.Errorf("MAC made before does not verify after: %v", err)
	}
	if opened.NameIndex("n") != made.NameIndex("n") {
		t.Error("index moved")
	}
	before, _ := made.Pepper(secret.New([]byte("sk")))
	after, _ := opened.Pepper(secret.New([]byte("sk")))
	if !bytes.Equal(before, after) {
		t.Error("pepper changed")
	}
}

func TestEnvironmentOpensOnlyAsItWasStored(t *testing.T) {
	root := keystest.NewRoot(t)
	genuine, _ := mustEnvironment(t, root, "one")
	other, _ := mustEnvironment(t, root, "two")
	if _, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), genuine); err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string]func(*keys.EnvironmentRecord){
		"id":                    func(r *keys.EnvironmentRecord) { r.ID = "two" },
		"name":                  func(r *keys.EnvironmentRecord) { r.Name = "production" },
		"time":                  func(r *keys.EnvironmentRecord) { r.CreatedAt = r.CreatedAt.Add(1) },
		"no shares":             func(r *keys.EnvironmentRecord) { r.Shares = nil },
		"shares of another":     func(r *keys.EnvironmentRecord) { r.Shares = other.Shares },
		"MAC keyset of another": func(r *keys.EnvironmentRecord) { r.SealedMAC = other.SealedMAC },
		"index for pepper":      func(r *keys.EnvironmentRecord) { r.SealedPepper = r.SealedIndex },
		"pepper for index":      func(r *keys.EnvironmentRecord) { r.SealedIndex = r.SealedPepper },
		"index for MAC":         func(r *keys.EnvironmentRecord) { r.SealedMAC = r.SealedIndex },
		"pepper gone":           func(r *keys.EnvironmentRecord) { r.SealedPepper = nil },
		"signing of another":    func(r *keys.EnvironmentRecord) { r.SealedSigning = other.SealedSigning },
		"pepper for signing":    func(r *keys.EnvironmentRecord) { r.SealedSigning = r.SealedPepper },
		"all of another but id": func(r *keys.EnvironmentRecord) { *r = other; r.ID = "one" },
		"damaged MAC keyset":    func(r *keys.EnvironmentRecord) { r.SealedMAC = eachDamage(r.SealedMAC)[40] },
		"damaged index keyset":  func(r *keys.EnvironmentRecord) { r.SealedIndex = eachDamage(r.SealedIndex)[41] },
		"truncated pepper keyset": func(r *keys.EnvironmentRecord) {
			r.SealedPepper = r.SealedPepper[:len(r.SealedPepper)-1]
		},
	} {
		r := genuine
		edit(&r)
		if _, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), r); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%s: %v, want %v", what, err, keys.ErrTampered)
		}
	}
}

func TestEnvironmentOfAnotherRootKeyNamesBoth(t *testing.T) {
	root, other := keystest.NewRoot(t), keystest.NewRoot(t)
	r, _ := mustEnvironment(t, root, "one")
	_, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(other), r)
	if !errors.Is(err, keys.ErrRefused) {
		t.Fatalf("got %v, want %v", err, keys.ErrRefused)
	}
	for _, part := range []string{"one", root.URI(), other.URI()} {
		if !bytes.Contains([]byte(err.Error()), []byte(part)) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestMACHoldsKeyBytesAndEnvironment(t *testing.T) {
	root := keystest.NewRoot(t)
	_, e := mustEnvironment(t, root, "one")
	_, other := mustEnvironment(t, root, "two")
	body := []byte("a record")
	tag, err := e.MAC("name/one/x", body)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.VerifyMAC("name/one/x", body, tag); err != nil {
		t.Errorf("genuine record: %v", err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%s: %v, want %v", what, err, keys.ErrTampered)
		}
	}
	refused("another key", e.VerifyMAC("name/one/y", body, tag))
	refused("another body", e.VerifyMAC("name/one/x", []byte("b record"), tag))
	refused("a byte moved between them", e.VerifyMAC("name/one/xa", []byte(" record"), tag))
	refused("another environment", other.VerifyMAC("name/one/x", body, tag))
	for _, damaged := range eachDamage(tag) {
		refused("damaged tag", e.VerifyMAC("name/one/x", body, damaged))
	}
}

func TestIndexesArePlacesOfTheirOwn(t *testing.T) {
	root := keystest.NewRoot(t)
	_, e := mustEnvironment(t, root, "one")
	_, other := mustEnvironment(t, root, "two")
	seen := map[string]string{}
	for what, place := range map[string]string{
		"name":             e.NameIndex("a"),
		"other name":       e.NameIndex("b"),
		"item":             e.ItemIndex("a", ""),
		"item, value":      e.ItemIndex("", "a"),
		"context":          e.ContextIndex(keystest.MustContext(t, "a", "")),
		"empty context":    e.ContextIndex(keys.Context{}),
		"request":          e.RequestIndex("a", "", ""),
		"request, path":    e.RequestIndex("", "a", ""),
		"request, key":     e.RequestIndex("", "", "a"),
		"name, elsewhere":  other.NameIndex("a"),
		"item, elsewhere":  other.ItemIndex("a", ""),
		"body":             string(e.BodyMAC(secret.New([]byte("a")))),
		"body, elsewhere":  string(other.BodyMAC(secret.New([]byte("a")))),
		"empty body":       string(e.BodyMAC(secret.Bytes{})),
		"name of a digest": e.NameIndex(string(e.BodyMAC(secret.New([]byte("a"))))),
	} {
		if twin, ok := seen[place]; ok {
			t.Errorf("%s and %s are one place", what, twin)
		}
		seen[place] = what
	}
	if got := len(e.NameIndex("a")); got != 43 {
		t.Errorf("an index has %d characters, want 43", got)
	}
	if first, second := e.NameIndex("a"), e.NameIndex("a"); first != second {
		t.Error("an index is not the same twice")
	}
}

func TestEnvironmentsKnowTheirOwn(t *testing.T) {
	root := keystest.NewRoot(t)
	_, one := mustEnvironment(t, root, "one")
	all := keys.NewEnvironments(one)
	if e, err := all.Environment("one"); err != nil || e != one {
		t.Errorf("known environment: %v, %v", e, err)
	}
	if _, err := all.Environment("two"); !errors.Is(err, keys.ErrNoEnvironment) {
		t.Errorf("unknown environment: %v, want %v", err, keys.ErrNoEnvironment)
	}
	if _, err := all.Pepper("two", secret.New([]byte("sk"))); !errors.Is(err, keys.ErrNoEnvironment) {
		t.Errorf("pepper of an unknown environment: %v, want %v", err, keys.ErrNoEnvironment)
	}
	if hash, err := all.Pepper("one", secret.New([]byte("sk"))); err != nil || len(hash) != 32 {
		t.Errorf("pepper of a known environment: %d bytes, %v", len(hash), err)
	}
}

// TestRotateSigning: another key signs, the ones before it can still hand over, and everything else stays.
func TestRotateSigning(t *testing.T) {
	root := keystest.NewRoot(t)
	first, e := mustEnvironment(t, root, "one")
	second, _, err := keys.RotateSigning(t.Context(), keys.NewRootKeys(root), first)
	if err != nil {
		t.Fatal(err)
	}
	third, _, err := keys.RotateSigning(t.Context(), keys.NewRootKeys(root), second)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), third)
	if err != nil || opened.NameIndex("x") != e.NameIndex("x") {
		t.Fatalf("open: %v", err)
	}
	all := append(opened.Signer().Earlier(), opened.Signer())
	if len(all) != 3 || all[0].VerifierKey() != e.Signer().VerifierKey() {
		t.Fatalf("keys: got %d, the oldest is not the first", len(all))
	}
	names := map[string]bool{}
	for _, s := range all {
		names[s.VerifierKey()] = true
		v, err := note.NewVerifier(s.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: "text\n"}, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
			t.Errorf("a signature of %s: %v", s.VerifierKey(), err)
		}
	}
	if len(names) != 3 {
		t.Errorf("keys: got %v, want three", names)
	}
	third.SealedPepper = third.SealedIndex
	if _, _, err := keys.RotateSigning(t.Context(), keys.NewRootKeys(root), third); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("rotated in an environment that does not open: %v", err)
	}
}

// TestAddSigning: the environment of an earlier version gets a key to sign with, and keeps everything else.
func TestAddSigning(t *testing.T) {
	root := keystest.NewRoot(t)
	r, e := mustEnvironment(t, root, "one")
	if e.Signer() == nil {
		t.Fatal("a new environment has no signer")
	}
	kept, again, err := keys.AddSigning(t.Context(), keys.NewRootKeys(root), r)
	if err != nil || !bytes.Equal(kept.SealedSigning, r.SealedSigning) || again.Signer().VerifierKey() != e.Signer().VerifierKey() {
		t.Errorf("an environment that has a key got another: %v", err)
	}
	older := r
	older.SealedSigning = nil
	if old, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), older); err != nil || old.Signer() != nil {
		t.Errorf("environment of an earlier version: %v", err)
	}
	next, opened, err := keys.AddSigning(t.Context(), keys.NewRootKeys(root), older)
	if err != nil || opened.Signer() == nil || opened.NameIndex("x") != e.NameIndex("x") {
		t.Fatalf("add: %v", err)
	}
	later, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), next)
	if err != nil || later.Signer().VerifierKey() != opened.Signer().VerifierKey() || later.Signer().VerifierKey() == e.Signer().VerifierKey() {
		t.Errorf("opened later: %v", err)
	}
	older.SealedPepper = r.SealedIndex
	if _, _, err := keys.AddSigning(t.Context(), keys.NewRootKeys(root), older); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("added to an environment that does not open: %v", err)
	}
}
