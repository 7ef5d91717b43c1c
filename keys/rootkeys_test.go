package keys_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"culvert/keys"
	"culvert/keys/keystest"
)

func TestKeyOfAnyRootKeyAtHandOpens(t *testing.T) {
	s := keystest.New(t)
	old, next := s.Root, keystest.NewRoot(t)
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Object
	sealed := s.MustSeal(t, c, b, "value")
	open := func(roots *keys.RootKeys) error {
		_, err := s.MustKeys(t, keys.Config{Roots: roots}).Open(t.Context(), s.MustPermit(t, c), sealed, b)
		return err
	}
	for what, roots := range map[string]*keys.RootKeys{
		"the key it is under, alone":          keys.NewRootKeys(old),
		"the key it is under, before another": keys.NewRootKeys(old, next),
		"the key it is under, behind another": keys.NewRootKeys(next, old),
	} {
		if err := open(roots); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Case: the key it is under is not at hand. The error names what is needed and what there is.
	third := keystest.NewRoot(t)
	err := open(keys.NewRootKeys(next, third))
	if !errors.Is(err, keys.ErrRefused) {
		t.Fatalf("got %v, want %v", err, keys.ErrRefused)
	}
	for _, part := range []string{`"` + old.URI() + `"`, next.URI(), third.URI()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestWhatIsNewIsUnderTheCurrentRootKey(t *testing.T) {
	s := keystest.New(t)
	old, next := s.Root, keystest.NewRoot(t)
	record, _ := mustKEK(t, old)
	k := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(next, old)})
	uri := func(shares []keys.Share) string { return shares[0].KeyURI }
	// Case: a KEK of a new context.
	c := keystest.MustContext(t, "organization_id", "org_2")
	_, conditions, err := k.Seal(t.Context(), s.MustPermit(t, c), c, goldenInput(t).Object, value("v"), keys.SealMeta{})
	if err != nil || uri(conditions.Create.Record.Shares) != next.URI() {
		t.Errorf("new KEK: %v, under %s", err, uri(conditions.Create.Record.Shares))
	}
	// Case: a rotation, which makes fresh shares.
	rotated, err := k.RotateRecord(t.Context(), &record, time.Now())
	if err != nil || uri(rotated.Shares) != next.URI() {
		t.Errorf("rotated KEK: %v, under %s", err, uri(rotated.Shares))
	}
	// Case: an environment.
	env, _, err := keys.NewEnvironment(t.Context(), keys.NewRootKeys(next, old), "one", "default", time.Now())
	if err != nil || uri(env.Shares) != next.URI() || env.RootKeyURI() != next.URI() {
		t.Errorf("new environment: %v, under %s", err, uri(env.Shares))
	}
	if _, err := keys.OpenEnvironment(t.Context(), keys.NewRootKeys(old, next), env); err != nil {
		t.Errorf("environment of a key that is not the current one: %v", err)
	}
}

func TestRootKeysOfOneURIAreOne(t *testing.T) {
	root, other := keystest.NewRoot(t), keystest.NewRoot(t)
	roots := keys.NewRootKeys(root, other, root, other)
	if got := roots.All(); len(got) != 2 || got[0] != root || got[1] != other || roots.Current() != root {
		t.Errorf("%d root keys, want the two", len(got))
	}
}
