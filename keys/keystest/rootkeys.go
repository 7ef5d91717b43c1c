package keystest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
)

// RunRootKeyTests holds a provider to the contract of [keys.RootKey]. newKey makes another key with
// every call, all of one provider and, where that has places, in one place.
func RunRootKeyTests(t *testing.T, newKey func(t *testing.T) keys.RootKey) {
	for name, test := range map[string]func(*rootKeyTest){
		"a share comes back":                (*rootKeyTest).comesBack,
		"every word of a binding counts":    (*rootKeyTest).bindingCounts,
		"what is not its own is refused":    (*rootKeyTest).refusesForeign,
		"damage is found":                   (*rootKeyTest).findsDamage,
		"it describes itself":               (*rootKeyTest).describesItself,
		"a share is rewrapped":              (*rootKeyTest).rewraps,
		"a share moves between providers":   (*rootKeyTest).moves,
		"what is no share is not rewrapped": (*rootKeyTest).rewrapsNothingElse,
		"an ended context is an outage":     (*rootKeyTest).endedContext,
		"many use it at once":               (*rootKeyTest).manyAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(&rootKeyTest{T: t, newKey: newKey, key: newKey(t)}) })
	}
}

// rootKeyTest is one test of the contract, with a key of its own.
type rootKeyTest struct {
	*testing.T
	newKey func(t *testing.T) keys.RootKey
	key    keys.RootKey
}

// TestBinding is a binding with something in each of its fields.
func TestBinding() keys.Binding {
	return keys.Binding{
		Environment: Environment, KEK: "019ab1c2-d3e4-7f60-8a9b-0c1d2e3f4a5b",
		ContextDigest: strings.Repeat("0f", 32), Slot: keys.RootSlot,
		Items: map[string]string{"organization_id": "org_1", "größe": "ẑ", "empty": ""},
	}
}

// NewShare is 32 random bytes.
func NewShare() secret.Bytes {
	share := make([]byte, keys.ShareSize)
	_, _ = rand.Read(share) // never fails: it ends the process rather than return less
	return secret.New(share)
}

func (t *rootKeyTest) mustWrap(key keys.RootKey, share secret.Bytes, b keys.Binding) []byte {
	t.Helper()
	wrapped, err := key.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

func (t *rootKeyTest) mustUnwrapTo(key keys.RootKey, wrapped []byte, b keys.Binding, want secret.Bytes) {
	t.Helper()
	got, err := key.Unwrap(t.Context(), wrapped, b)
	if err != nil {
		t.Fatalf("unwrap under %s: %v", key.URI(), err)
	}
	if !got.Equal(want) {
		t.Errorf("%s gives another share back", key.URI())
	}
}

// mustBeTampered wants the refusal of an unwrap that says nothing of the share.
func (t *rootKeyTest) mustBeTampered(what string, err error) {
	t.Helper()
	if !errors.Is(err, keys.ErrTampered) || errors.Is(err, keys.ErrRefused) || outage.Of(err) != nil {
		t.Errorf("%s: %v, want %v", what, err, keys.ErrTampered)
	}
}

func (t *rootKeyTest) comesBack() {
	b := TestBinding()
	for _, share := range []secret.Bytes{NewShare(), NewShare(), secret.New(make([]byte, keys.ShareSize))} {
		one, two := t.mustWrap(t.key, share, b), t.mustWrap(t.key, share, b)
		if bytes.Equal(one, two) {
			t.Error("a share is wrapped to the same bytes twice")
		}
		if bytes.Contains(one, share.Reveal()) {
			t.Error("the share stands in clear in what wraps it")
		}
		t.mustUnwrapTo(t.key, one, b, share)
		t.mustUnwrapTo(t.key, two, b, share)
	}
	if err := t.key.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}

func (t *rootKeyTest) bindingCounts() {
	b, share := TestBinding(), NewShare()
	wrapped := t.mustWrap(t.key, share, b)
	for what, edit := range map[string]func(*keys.Binding){
		"environment":       func(b *keys.Binding) { b.Environment += "x" },
		"key id":            func(b *keys.Binding) { b.KEK = "environment" },
		"digest":            func(b *keys.Binding) { b.ContextDigest = strings.Repeat("0e", 32) },
		"slot":              func(b *keys.Binding) { b.Slot = "organization_id=org_1" },
		"two words swapped": func(b *keys.Binding) { b.KEK, b.Slot = b.Slot, b.KEK },
		"one word in two":   func(b *keys.Binding) { b.KEK, b.Slot = b.KEK+b.Slot, "" },
		"no items":          func(b *keys.Binding) { b.Items = nil },
		"an item less":      func(b *keys.Binding) { delete(b.Items, "empty") },
		"an item more":      func(b *keys.Binding) { b.Items["a"] = "" },
		"an item's value":   func(b *keys.Binding) { b.Items["organization_id"] = "org_2" },
		"an item's name":    func(b *keys.Binding) { delete(b.Items, "empty"); b.Items["Empty"] = "" },
		"everything":        func(b *keys.Binding) { *b = keys.Binding{} },
	} {
		other := TestBinding()
		edit(&other)
		_, err := t.key.Unwrap(t.Context(), wrapped, other)
		t.mustBeTampered(what, err)
	}
	t.mustUnwrapTo(t.key, wrapped, TestBinding(), share)
}

func (t *rootKeyTest) refusesForeign() {
	other, b, share := t.newKey(t.T), TestBinding(), NewShare()
	if other.URI() == t.key.URI() {
		t.Fatalf("two keys have the URI %s", other.URI())
	}
	wrapped := t.mustWrap(other, share, b)
	local := NewRoot(t)
	for what, foreign := range map[string][]byte{
		"of another key":      wrapped,
		"of another provider": t.mustWrap(local, share, b),
		"nothing":             nil,
		"empty":               {},
		"a byte":              {0},
		"zeros":               make([]byte, 200),
		"64 KiB":              make([]byte, 64<<10),
		"the share":           bytes.Clone(share.Reveal()),
	} {
		_, err := t.key.Unwrap(t.Context(), foreign, b)
		t.mustBeTampered(what, err)
	}
	t.mustUnwrapTo(other, wrapped, b, share)
}

func (t *rootKeyTest) findsDamage() {
	b, share := TestBinding(), NewShare()
	wrapped := t.mustWrap(t.key, share, b)
	damaged := [][]byte{wrapped[:len(wrapped)-1], wrapped[1:], append(bytes.Clone(wrapped), 0)}
	for i := 0; i < len(wrapped); i += 7 { // each is a call of the KMS
		flipped := bytes.Clone(wrapped)
		flipped[i] ^= 1
		damaged = append(damaged, flipped)
	}
	for i, d := range damaged {
		if opened, err := t.key.Unwrap(t.Context(), d, b); err == nil && opened.Equal(share) {
			continue // a byte that says nothing may be any
		} else if err == nil {
			t.Errorf("damage %d: another share was unwrapped", i)
		} else {
			t.mustBeTampered("damage", err)
		}
	}
	t.mustUnwrapTo(t.key, wrapped, b, share)
}

func (t *rootKeyTest) describesItself() {
	d, err := t.key.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Provider == "" || d.State != keys.KeyEnabled || d.URI != t.key.URI() || !d.DeletedFrom.IsZero() {
		t.Errorf("described as %+v, want an enabled key %s of a provider", d, t.key.URI())
	}
	if uri := t.key.URI(); uri == "" || strings.ContainsAny(uri, " \n") || uri != t.key.URI() {
		t.Errorf("the URI is %q", uri)
	}
}

func (t *rootKeyTest) rewraps() {
	to, b, share := t.newKey(t.T), TestBinding(), NewShare()
	wrapped := t.mustWrap(t.key, share, b)
	moved, err := keys.Rewrap(t.Context(), t.key, to, wrapped, b)
	if err != nil {
		t.Fatal(err)
	}
	t.mustUnwrapTo(to, moved, b, share)
	_, err = t.key.Unwrap(t.Context(), moved, b)
	t.mustBeTampered("the new form under the old key", err)
	_, err = to.Unwrap(t.Context(), moved, keys.Binding{})
	t.mustBeTampered("the new form under another binding", err)
	t.mustUnwrapTo(t.key, wrapped, b, share) // the old form lives on

	again, err := keys.Rewrap(t.Context(), to, to, moved, b)
	if err != nil || bytes.Equal(again, moved) {
		t.Fatalf("rewrap under the same key: %v", err)
	}
	t.mustUnwrapTo(to, again, b, share)
}

func (t *rootKeyTest) moves() {
	local, b, share := NewRoot(t), TestBinding(), NewShare()
	away, err := keys.Rewrap(t.Context(), t.key, local, t.mustWrap(t.key, share, b), b)
	if err != nil {
		t.Fatal(err)
	}
	t.mustUnwrapTo(local, away, b, share)
	back, err := keys.Rewrap(t.Context(), local, t.key, away, b)
	if err != nil {
		t.Fatal(err)
	}
	t.mustUnwrapTo(t.key, back, b, share)
}

func (t *rootKeyTest) rewrapsNothingElse() {
	to, b, share := t.newKey(t.T), TestBinding(), NewShare()
	wrapped := t.mustWrap(t.key, share, b)
	_, err := keys.Rewrap(t.Context(), t.key, to, wrapped, keys.Binding{Slot: "x"})
	t.mustBeTampered("another binding", err)
	_, err = keys.Rewrap(t.Context(), to, t.key, wrapped, b)
	t.mustBeTampered("from the wrong key", err)
	for _, garbage := range [][]byte{nil, {0}, make([]byte, 200), make([]byte, 64<<10)} {
		_, err = keys.Rewrap(t.Context(), t.key, to, garbage, b)
		t.mustBeTampered("garbage", err)
	}
	if _, err := keys.Rewrap(t.Context(), t.key, to, wrapped, b); err != nil {
		t.Errorf("the genuine one: %v", err)
	}
}

// A key in memory may answer all the same; whoever asks somebody has to give up, and to say whom it was.
func (t *rootKeyTest) endedContext() {
	b, share := TestBinding(), NewShare()
	wrapped := t.mustWrap(t.key, share, b)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range map[string]func() error{
		"wrap":     func() error { _, err := t.key.Wrap(ended, share, b); return err },
		"unwrap":   func() error { _, err := t.key.Unwrap(ended, wrapped, b); return err },
		"check":    func() error { return t.key.Check(ended) },
		"describe": func() error { _, err := t.key.Describe(ended); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- call() }()
		select {
		case err := <-done:
			if o := outage.Of(err); err != nil && (o == nil || o.Dependency != outage.RootKey) {
				t.Errorf("%s: %v, want an outage of %s", what, err, outage.RootKey)
			}
			t.mustHide(what, err, share)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s goes on although its context has ended", what)
		}
	}
	t.mustUnwrapTo(t.key, wrapped, b, share)
}

func (t *rootKeyTest) mustHide(what string, err error, share secret.Bytes) {
	t.Helper()
	if err == nil {
		return
	}
	plain := share.Reveal()
	for _, form := range []string{
		string(plain), hex.EncodeToString(plain), base64.StdEncoding.EncodeToString(plain),
	} {
		if strings.Contains(err.Error(), form) {
			t.Errorf("%s: the error repeats the share", what)
		}
	}
}

func (t *rootKeyTest) manyAtOnce() {
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			b, share := TestBinding(), NewShare()
			wrapped, err := t.key.Wrap(t.Context(), share, b)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := t.key.Unwrap(t.Context(), wrapped, b); err != nil || !got.Equal(share) {
				t.Errorf("unwrap: %v", err)
			}
		})
	}
	work.Wait()
}
