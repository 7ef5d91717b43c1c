package keys_test

import (
	"errors"
	"reflect"
	"testing"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/keys/keystest"
)

// mustKEK is a KEK of the golden input, with its record, outside of any store.
func mustKEK(t testing.TB, root keys.RootKey) (keys.KEKRecord, *keys.KEK) {
	t.Helper()
	in := goldenInput(t)
	r, kek, err := keys.NewKEK(t.Context(), root, mustCodec(t), keys.KEKRecord{
		Environment: in.Environment, KeyID: in.KeyID, Items: in.Context.Items(), CreatedAt: in.At,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, kek
}

func mustSeal(t testing.TB, kek *keys.KEK, b keys.ObjectBinding, value string) keys.Sealed {
	t.Helper()
	sealed, err := kek.Seal(b, value)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// mustNotOpen wants [keys.ErrTampered] and nothing of the value.
func mustNotOpen(t testing.TB, what string, kek *keys.KEK, b keys.ObjectBinding, s keys.Sealed) {
	t.Helper()
	value, err := kek.Open(b, s)
	if !errors.Is(err, keys.ErrTampered) || value.Len() != 0 {
		t.Errorf("%s: opened to %d bytes, %v; want %v", what, value.Len(), err, keys.ErrTampered)
	}
}

func mustOpen(t testing.TB, kek *keys.KEK, b keys.ObjectBinding, s keys.Sealed, want string) {
	t.Helper()
	value, err := kek.Open(b, s)
	if err != nil || string(value.Reveal()) != want {
		t.Errorf("open: %d bytes, %v; want the value", value.Len(), err)
	}
}

func TestValueOpensOnlyUnderItsBinding(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	in := goldenInput(t)
	sealed := mustSeal(t, kek, in.Object, "value")
	mustOpen(t, kek, in.Object, sealed, "value")
	for i := range reflect.TypeFor[keys.ObjectBinding]().NumField() {
		b := in.Object
		change(t, reflect.ValueOf(&b).Elem().Field(i))
		mustNotOpen(t, reflect.TypeFor[keys.ObjectBinding]().Field(i).Name, kek, b, sealed)
	}
}

// The KEK's name is bound by the value and the DEK themselves, not only by what unwraps the KEK.
func TestValueOpensOnlyUnderTheNameOfItsKEK(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	in := goldenInput(t)
	env, id, c := in.Environment, in.KeyID, in.Context.Canonical()
	sealed := mustSeal(t, kek, in.Object, "value")
	mustOpen(t, kek.As(env, id, c), in.Object, sealed, "value")
	mustNotOpen(t, "environment", kek.As(access.EnvironmentID("other"), id, c), in.Object, sealed)
	mustNotOpen(t, "key id", kek.As(env, "other", c), in.Object, sealed)
	mustNotOpen(t, "context", kek.As(env, id, keystest.MustContext(t, "a", "b").Canonical()), in.Object, sealed)
}

func TestValueDamagedAnywhereDoesNotOpen(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	b := goldenInput(t).Object
	sealed := mustSeal(t, kek, b, "value")
	for _, damaged := range eachDamage(sealed.Ciphertext) {
		mustNotOpen(t, "ciphertext", kek, b, keys.Sealed{WrappedDEK: sealed.WrappedDEK, Ciphertext: damaged})
	}
	for _, damaged := range eachDamage(sealed.WrappedDEK) {
		mustNotOpen(t, "wrapped DEK", kek, b, keys.Sealed{WrappedDEK: damaged, Ciphertext: sealed.Ciphertext})
	}
	mustOpen(t, kek, b, sealed, "value")
}

// eachDamage is the bytes cut at every offset, with a bit flipped at every offset, and with more behind.
func eachDamage(b []byte) [][]byte {
	all := [][]byte{nil, append(append([]byte{}, b...), 0)}
	for i := range b {
		all = append(all, b[:i])
		for _, bit := range []byte{0x01, 0x80} {
			flipped := append([]byte{}, b...)
			flipped[i] ^= bit
			all = append(all, flipped)
		}
	}
	return all
}

// A writer of etcd has every version that was ever stored, each with its DEK.
func TestVersionsDoNotStandInForEachOther(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	first := goldenInput(t).Object
	second := first
	second.VersionID, second.Sequence = "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4aff", first.Sequence+1
	old, current := mustSeal(t, kek, first, "old"), mustSeal(t, kek, second, "current")

	mustOpen(t, kek, first, old, "old")
	mustOpen(t, kek, second, current, "current")
	mustNotOpen(t, "old version under the current header", kek, second, old)
	mustNotOpen(t, "old DEK, current ciphertext", kek, second, keys.Sealed{WrappedDEK: old.WrappedDEK, Ciphertext: current.Ciphertext})
	mustNotOpen(t, "current DEK, old ciphertext", kek, second, keys.Sealed{WrappedDEK: current.WrappedDEK, Ciphertext: old.Ciphertext})
}

func TestEverySealHasAKeyOfItsOwn(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	b := goldenInput(t).Object
	one, two := mustSeal(t, kek, b, "value"), mustSeal(t, kek, b, "value")
	mustNotOpen(t, "DEK of another seal", kek, b, keys.Sealed{WrappedDEK: one.WrappedDEK, Ciphertext: two.Ciphertext})
	mustOpen(t, kek, b, one, "value")
	mustOpen(t, kek, b, two, "value")
}

func TestValueOfAnyLength(t *testing.T) {
	_, kek := mustKEK(t, keystest.NewRoot(t))
	b := goldenInput(t).Object
	for _, n := range []int{0, 1, 15, 16, 17, 1 << 20} {
		value := string(make([]byte, n))
		mustOpen(t, kek, b, mustSeal(t, kek, b, value), value)
	}
}
