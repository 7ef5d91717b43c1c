package keys_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

func value(s string) secret.Bytes { return secret.New([]byte(s)) }

func TestSealAndOpenOverTheStore(t *testing.T) {
	s := keystest.New(t)
	c, b := keystest.MustContext(t, "organization_id", "org_1"), goldenInput(t).Object
	permit := s.MustPermit(t, c)

	// Case: the first value of a context brings its KEK along.
	meta := keys.SealMeta{Node: "node-1", Index: 42, Actor: events.Actor{ID: "key_1", Source: "api", Name: "back end"}}
	first, conditions, err := s.Keys.Seal(t.Context(), permit, c, b, value("one"), meta)
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create == nil || conditions.KeyID != first.KeyID || conditions.Environment != keystest.Environment {
		t.Fatalf("conditions of a new context = %+v", conditions)
	}
	var data map[string]string
	if err := json.Unmarshal(conditions.Create.Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"actor_id": "key_1", "actor_source": "api", "actor_name": "back end",
		"key_id": string(first.KeyID), "key_name": string(first.KeyID),
	}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	event := conditions.Create.Event
	if event.Type != events.KEKCreated || event.Node != "node-1" || event.Index != 42 || !event.At.Equal(event.At.Truncate(time.Millisecond)) {
		t.Errorf("event = %+v", event)
	}

	// Case: before the commit nothing can be opened.
	if _, err := s.Keys.Open(t.Context(), permit, first, b); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("open without a KEK record: %v, want %v", err, keys.ErrTampered)
	}
	if err := s.Store.CreateKEK(t.Context(), conditions); err != nil {
		t.Fatal(err)
	}
	s.MustFence(t)

	// Case: afterwards the KEK is found again, by this replica and by one that knows nothing.
	second, conditions, err := s.Keys.Seal(t.Context(), permit, c, b, value("two"), meta)
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create != nil || conditions.Generation == 0 || second.KeyID != first.KeyID {
		t.Errorf("conditions of a known context = %+v", conditions)
	}
	for _, k := range []*keys.Keys{s.Keys, s.MustKeys(t, keys.Config{NoCache: true})} {
		for sealed, want := range map[*keys.Sealed]string{&first: "one", &second: "two"} {
			got, err := k.Open(t.Context(), permit, *sealed, b)
			if err != nil || !got.Equal(value(want)) {
				t.Errorf("open %q: %d bytes, %v", want, got.Len(), err)
			}
		}
	}
}

// A use case that forgets the second step of its permit gets nothing, whatever it asks for.
func TestPermitMustCoverTheContext(t *testing.T) {
	s := keystest.New(t)
	c, other := keystest.MustContext(t, "organization_id", "org_1"), keystest.MustContext(t, "organization_id", "org_2")
	b := goldenInput(t).Object
	sealed := s.MustSeal(t, c, b, "value")
	right := s.MustPermit(t, c)
	data, err := s.Keys.CreateDataKey(t.Context(), right, c, keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]access.Permit{
		"none":            {},
		"incomplete":      s.MustIncompletePermit(t),
		"another context": s.MustPermit(t, other),
		"empty context":   s.MustPermit(t, keys.Context{}),
	} {
		_, open := s.Keys.Open(t.Context(), p, sealed, b)
		_, _, seal := s.Keys.Seal(t.Context(), p, c, b, value("v"), keys.SealMeta{})
		_, create := s.Keys.CreateDataKey(t.Context(), p, c, keys.SealMeta{})
		_, decrypt := s.Keys.DecryptDataKey(t.Context(), p, data.Blob)
		_, rekey := s.Keys.Rekey(t.Context(), p, right, c, data.Blob, keys.SealMeta{})
		_, rekeyTo := s.Keys.Rekey(t.Context(), right, p, c, data.Blob, keys.SealMeta{})
		for call, err := range map[string]error{"open": open, "seal": seal, "create": create, "decrypt": decrypt, "rekey": rekey, "rekey to": rekeyTo} {
			// Without an environment there is not even a KEK to refuse.
			none := what == "none" && (errors.Is(err, keys.ErrTampered) || errors.Is(err, keys.ErrNotOurs))
			if !errors.Is(err, access.ErrDenied) && !none {
				t.Errorf("%s with a permit for %s: %v, want %v", call, what, err, access.ErrDenied)
			}
		}
	}
	if _, err := s.Keys.Open(t.Context(), right, sealed, b); err != nil {
		t.Errorf("open with the right permit: %v", err)
	}
}

func TestWhatTheStoreAnswersIsNotBelieved(t *testing.T) {
	s := keystest.New(t)
	store := &hostileStore{Store: s.Store}
	k := s.MustKeys(t, keys.Config{Store: store, NoCache: true})
	mine, theirs := keystest.MustContext(t, "organization_id", "mine"), keystest.MustContext(t, "organization_id", "theirs")
	b := goldenInput(t).Object
	sealed, other := s.MustSeal(t, mine, b, "mine"), s.MustSeal(t, theirs, b, "theirs")
	permit := s.MustPermit(t, mine)
	foreign, _, err := s.Store.KEK(t.Context(), keystest.Environment, other.KeyID)
	if err != nil {
		t.Fatal(err)
	}

	// Case: nothing edited.
	if _, err := k.Open(t.Context(), permit, sealed, b); err != nil {
		t.Errorf("genuine: %v", err)
	}
	// Case: the pointer of my context leads to another customer's KEK.
	store.onKEKOf(func(keys.ID) (keys.ID, error) { return other.KeyID, nil })
	if _, _, err := k.Seal(t.Context(), permit, mine, b, value("v"), keys.SealMeta{}); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("pointer to another KEK: %v, want %v", err, keys.ErrTampered)
	}
	// Case: the pointer leads nowhere.
	store.onKEKOf(func(keys.ID) (keys.ID, error) { return keys.ID(s.IDs.UUID()), nil })
	if _, _, err := k.Seal(t.Context(), permit, mine, b, value("v"), keys.SealMeta{}); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("pointer to nowhere: %v, want %v", err, keys.ErrTampered)
	}
	store.onKEKOf(nil)
	// Case: another customer's record at my KEK's id, as it is and with my name on it.
	for _, rename := range []bool{false, true} {
		store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
			edited := *foreign
			if rename {
				edited.KeyID, edited.Items = r.KeyID, r.Items
			}
			return &edited, g, nil
		})
		if _, err := k.Open(t.Context(), permit, sealed, b); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("record of another KEK (renamed %v): %v, want %v", rename, err, keys.ErrTampered)
		}
	}
	// Case: a tombstone.
	store.onKEK(func(r *keys.KEKRecord, g int64) (*keys.KEKRecord, int64, error) {
		r.Shares, r.Sealed, r.ShreddedAt = nil, nil, r.CreatedAt
		return r, g + 1, nil
	})
	if _, err := k.Open(t.Context(), permit, sealed, b); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("open under a tombstone: %v, want %v", err, keys.ErrShredded)
	}
	if _, _, err := k.Seal(t.Context(), permit, mine, b, value("v"), keys.SealMeta{}); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("seal under a tombstone: %v, want %v", err, keys.ErrShredded)
	}
	if c, err := k.Context(t.Context(), keystest.Environment, sealed.KeyID); err != nil || !c.Equal(mine) {
		t.Errorf("context of a tombstone: %v", err)
	}
	store.onKEK(nil)
	// Case: another object's key id and seal under my binding.
	if _, err := k.Open(t.Context(), permit, other, b); !errors.Is(err, access.ErrDenied) {
		t.Errorf("another customer's value: %v, want %v", err, access.ErrDenied)
	}
	if _, err := k.Open(t.Context(), permit, keys.Sealed{KeyID: sealed.KeyID, WrappedDEK: other.WrappedDEK, Ciphertext: other.Ciphertext}, b); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("another customer's seal: %v, want %v", err, keys.ErrTampered)
	}
}

func TestContextOfAKEK(t *testing.T) {
	s := keystest.New(t)
	c := keystest.MustContext(t, "organization_id", "org_1")
	sealed := s.MustSeal(t, c, goldenInput(t).Object, "value")
	if got, err := s.Keys.Context(t.Context(), keystest.Environment, sealed.KeyID); err != nil || !got.Equal(c) {
		t.Errorf("context = %v, %v", got.Items(), err)
	}
	for _, id := range []keys.ID{keys.ID(s.IDs.UUID()), "", "../kekof", "x/y"} {
		if _, err := s.Keys.Context(t.Context(), keystest.Environment, id); !errors.Is(err, keys.ErrNotOurs) {
			t.Errorf("context of no KEK: %v, want %v", err, keys.ErrNotOurs)
		}
	}
}
