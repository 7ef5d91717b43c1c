package keys_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

// What a writer of etcd tries on grants, client secrets, PKCE verifiers and journal entries, under an unwrapped KEK.

// bindings are the kinds, by name.
func bindings(t testing.TB) map[string]keys.Bound {
	t.Helper()
	in := goldenInput(t)
	return map[string]keys.Bound{"grant": in.Grant, "client secret": in.ClientSecret, "verifier": in.Verifier, "waiting": in.Waiting, "journal": in.Journal}
}

func mustSealBound(t testing.TB, kek *keys.KEK, b keys.Bound, plain string) keys.Sealed {
	t.Helper()
	sealed, err := kek.Seal(b, plain)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func mustOpenBound(t testing.TB, what string, kek *keys.KEK, b keys.Bound, s keys.Sealed, want string) {
	t.Helper()
	got, err := kek.Open(b, s)
	if err != nil || !got.Equal(value(want)) {
		t.Errorf("%s: %d bytes, %v; want what was sealed", what, got.Len(), err)
	}
}

func mustNotOpenBound(t testing.TB, what string, kek *keys.KEK, b keys.Bound, s keys.Sealed) {
	t.Helper()
	got, err := kek.Open(b, s)
	if !errors.Is(err, keys.ErrTampered) || got.Len() != 0 {
		t.Errorf("%s: opened to %d bytes, %v; want %v", what, got.Len(), err, keys.ErrTampered)
	}
}

func TestEachFieldOfABindingOfPipesIsBound(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	for kind, b := range bindings(t) {
		sealed := mustSealBound(t, kek, b, "tokens")
		mustOpenBound(t, kind, kek, b, sealed, "tokens")
		for i := range reflect.TypeOf(b).NumField() {
			changed := reflect.New(reflect.TypeOf(b)).Elem()
			changed.Set(reflect.ValueOf(b))
			change(t, changed.Field(i))
			what := kind + ", " + reflect.TypeOf(b).Field(i).Name
			mustNotOpenBound(t, what, kek, changed.Interface().(keys.Bound), sealed)
		}
	}
}

// The KEK's name is bound by the tokens and the DEK themselves, not only by what unwraps the KEK: none
// of them opens in another environment, under another key id or for another customer.
func TestWhatPipesSealsOpensOnlyUnderTheNameOfItsKEK(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	in := goldenInput(t)
	env, id, c := in.Environment, in.KeyID, in.Context.Canonical()
	for kind, b := range bindings(t) {
		sealed := mustSealBound(t, kek, b, "tokens")
		mustOpenBound(t, kind, kek.As(env, id, c), b, sealed, "tokens")
		mustNotOpenBound(t, kind+", environment", kek.As(access.EnvironmentID("other"), id, c), b, sealed)
		mustNotOpenBound(t, kind+", key id", kek.As(env, "other", c), b, sealed)
		mustNotOpenBound(t, kind+", context", kek.As(env, id, keystest.MustContext(t, "a", "b").Canonical()), b, sealed)
	}
}

func TestWhatPipesSealsDamagedAnywhereDoesNotOpen(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	for kind, b := range bindings(t) {
		sealed := mustSealBound(t, kek, b, "tokens")
		for _, damaged := range eachDamage(sealed.Ciphertext) {
			mustNotOpenBound(t, kind+", ciphertext", kek, b, keys.Sealed{WrappedDEK: sealed.WrappedDEK, Ciphertext: damaged})
		}
		for _, damaged := range eachDamage(sealed.WrappedDEK) {
			mustNotOpenBound(t, kind+", wrapped DEK", kek, b, keys.Sealed{WrappedDEK: damaged, Ciphertext: sealed.Ciphertext})
		}
		mustOpenBound(t, kind, kek, b, sealed, "tokens")
	}
}

// Two grants of one integration in one context, and one grant in two generations: whole or by halves,
// neither stands in for the other. A refresh token of the generation before would be a replay.
func TestGrantsDoNotStandInForEachOther(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	one := goldenInput(t).Grant
	another, later := one, one
	another.GrantID = "01JQ3T5V7X9Z1B3D5F7H9K1M3Z"
	later.Generation++
	for what, other := range map[string]keys.GrantBinding{"another grant": another, "the next generation": later} {
		mine, theirs := mustSealBound(t, kek, one, "mine"), mustSealBound(t, kek, other, "theirs")
		mustOpenBound(t, "mine", kek, one, mine, "mine")
		mustOpenBound(t, what, kek, other, theirs, "theirs")
		mustNotOpenBound(t, what+" under my name", kek, one, theirs)
		mustNotOpenBound(t, "mine under the name of "+what, kek, other, mine)
		mustNotOpenBound(t, what+", DEK alone", kek, one, keys.Sealed{WrappedDEK: theirs.WrappedDEK, Ciphertext: mine.Ciphertext})
		mustNotOpenBound(t, what+", ciphertext alone", kek, one, keys.Sealed{WrappedDEK: mine.WrappedDEK, Ciphertext: theirs.Ciphertext})
	}
}

// One KEK wraps the DEKs of everything in the empty context. Whatever the ids are, nothing that was
// sealed for one purpose opens for another.
func TestPurposesOfPipesDoNotStandInForEachOther(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	in := goldenInput(t)
	all := bindings(t)
	object := mustSeal(t, kek, in.Object, "value")
	for kind, b := range all {
		sealed := mustSealBound(t, kek, b, "tokens")
		mustOpenBound(t, kind, kek, b, sealed, "tokens")
		mustNotOpen(t, kind+" as an object's value", kek, in.Object, sealed)
		mustNotOpenBound(t, "an object's value as "+kind, kek, b, object)
		for other, o := range all {
			if other != kind {
				mustNotOpenBound(t, kind+" as "+other, kek, o, sealed)
			}
		}
	}
	mustOpen(t, kek, in.Object, object, "value")
}

// What a browser or a provider brings back is looked up by a hash that says what it is, whose, and
// where: none is found in the place of another.
func TestKeyedHashesOfPipesNeverMeet(t *testing.T) {
	root := keystest.NewRoot(t)
	_, e := mustEnvironment(t, root, "one")
	_, other := mustEnvironment(t, root, "two")
	a := value("a")
	all := map[string]string{
		"owner":                     e.OwnerIndex("user", "a", "", ""),
		"owner, organization":       e.OwnerIndex("user", "", "a", ""),
		"owner, provider":           e.OwnerIndex("user", "", "", "a"),
		"owner, moved":              e.OwnerIndex("usera", "", "", ""),
		"owner, both":               e.OwnerIndex("user", "a", "a", ""),
		"owner, an organization's":  e.OwnerIndex("organization", "a", "", ""),
		"owner, elsewhere":          other.OwnerIndex("user", "a", "", ""),
		"name":                      e.NameIndex("a"),
		"refresh token":             string(e.RefreshTokenMAC(a)),
		"refresh token, elsewhere":  string(other.RefreshTokenMAC(a)),
		"other refresh token":       string(e.RefreshTokenMAC(value("b"))),
		"no refresh token":          string(e.RefreshTokenMAC(secret.Bytes{})),
		"body of the same bytes":    string(e.BodyMAC(a)),
		"flow's bytes moved behind": string(e.FlowHash(keys.TicketSecret, "f", value("la"))),
	}
	for _, kind := range flowSecrets {
		all[string(kind)] = string(e.FlowHash(kind, "fl", a))
		all[string(kind)+" of another flow"] = string(e.FlowHash(kind, "fm", a))
		all[string(kind)+", another"] = string(e.FlowHash(kind, "fl", value("b")))
		all[string(kind)+", empty"] = string(e.FlowHash(kind, "fl", secret.Bytes{}))
		all[string(kind)+", elsewhere"] = string(other.FlowHash(kind, "fl", a))
	}
	seen := map[string]string{}
	for what, place := range all {
		if twin, ok := seen[place]; ok {
			t.Errorf("%s and %s are one place", what, twin)
		}
		seen[place] = what
	}
	for what, sum := range map[string][]byte{
		"refresh token": e.RefreshTokenMAC(a), "ticket": e.FlowHash(keys.TicketSecret, "fl", a),
	} {
		if len(sum) != 32 {
			t.Errorf("the hash of a %s has %d bytes, want 32", what, len(sum))
		}
		if string(sum) != all[what] {
			t.Errorf("the hash of a %s is not the same twice: %s", what, hex.EncodeToString(sum))
		}
	}
}
