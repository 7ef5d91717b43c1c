package keys_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

func TestRootKeyErrorsKeepTheirKind(t *testing.T) {
	root := keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	open := func() error {
		_, err := keys.OpenKEK(t.Context(), root, r.Environment, r.KeyID, &r)
		return err
	}
	// Case: the key said no for good.
	root.Refuse()
	if err := open(); !errors.Is(err, keys.ErrRefused) || outage.Of(err) != nil {
		t.Errorf("refusal: %v", err)
	}
	// Case: no answer.
	root.Down()
	if err := open(); outage.Of(err) == nil || outage.Of(err).Dependency != outage.RootKey {
		t.Errorf("outage: %v", err)
	}
	// Case: an answer that the provider did not map, which may echo what was sent.
	root.Fail(errors.New("ValidationException: Plaintext=c2VjcmV0"))
	err := open()
	if outage.Of(err) == nil || outage.Of(err).Dependency != outage.RootKey {
		t.Errorf("unknown error: %v, want an outage", err)
	}
	if strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("the error repeats what the KMS said: %v", err)
	}
	// Case: well again.
	root.Fail(nil)
	if err := open(); err != nil {
		t.Errorf("well: %v", err)
	}
}

// shortRoot returns a share that is no share.
type shortRoot struct {
	keys.RootKey
	share []byte
}

func (r shortRoot) Unwrap(context.Context, []byte, keys.Binding) (secret.Bytes, error) {
	return secret.New(r.share), nil
}

func TestShareOfAnotherLengthIsNone(t *testing.T) {
	root := keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	for _, n := range []int{0, 31, 32, 33, 64} {
		mustRefuse(t, "share of another length", shortRoot{root, make([]byte, n)}, r, keys.ErrTampered)
	}
	mustOpenKEK(t, root, r)
}

// Every word of a binding counts: what was wrapped for one purpose does not unwrap for another.
func TestShareUnwrapsOnlyUnderItsBinding(t *testing.T) {
	root := keystest.NewRoot(t)
	share := secret.New(make([]byte, 32))
	b := keys.Binding{Environment: "e", KEK: "k", ContextDigest: "c", Slot: "s"}
	wrapped, err := root.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := root.Unwrap(t.Context(), wrapped, b); err != nil || !got.Equal(share) {
		t.Errorf("same binding: %v", err)
	}
	for _, other := range []keys.Binding{
		{Environment: "x", KEK: "k", ContextDigest: "c", Slot: "s"},
		{Environment: "e", KEK: "x", ContextDigest: "c", Slot: "s"},
		{Environment: "e", KEK: "k", ContextDigest: "x", Slot: "s"},
		{Environment: "e", KEK: "k", ContextDigest: "c", Slot: "x"},
		{Environment: "ek", ContextDigest: "c", Slot: "s"},
	} {
		if _, err := root.Unwrap(t.Context(), wrapped, other); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%+v: %v, want %v", other, err, keys.ErrTampered)
		}
	}
}

func TestSlowRootKeyIsGivenUp(t *testing.T) {
	root := keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	root.Slow(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := keys.OpenKEK(ctx, root, r.Environment, r.KeyID, &r)
	if outage.Of(err) == nil || outage.Of(err).Dependency != outage.RootKey {
		t.Errorf("slow root key: %v, want an outage", err)
	}
}
