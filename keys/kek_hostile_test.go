package keys_test

import (
	"errors"
	"testing"
	"time"

	"culvert/keys"
	"culvert/keys/keystest"
)

// mustRefuse wants a record not to open under its own words, nor under those it was asked for.
func mustRefuse(t testing.TB, what string, root keys.RootKey, r keys.KEKRecord, want error) {
	t.Helper()
	if _, err := keys.OpenKEK(t.Context(), root, r.Environment, r.KeyID, &r); !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func mustOpenKEK(t testing.TB, root keys.RootKey, r keys.KEKRecord) *keys.KEK {
	t.Helper()
	kek, err := keys.OpenKEK(t.Context(), root, r.Environment, r.KeyID, &r)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func TestKEKOpensOnlyAsItWasStored(t *testing.T) {
	root := keystest.NewRoot(t)
	genuine, _ := mustKEK(t, root)
	mustOpenKEK(t, root, genuine)
	share := genuine.Shares[0]
	for what, edit := range map[string]func(*keys.KEKRecord){
		"environment": func(r *keys.KEKRecord) { r.Environment = "01JQ0000000000000000000000" },
		"key id":      func(r *keys.KEKRecord) { r.KeyID = "019ab1c2-d3e4-7f60-8a9b-000000000000" },
		"item value": func(r *keys.KEKRecord) {
			r.Items = map[string]string{"organization_id": "org_2", "größe": "", "z": "ẑ"}
		},
		"item less":   func(r *keys.KEKRecord) { r.Items = map[string]string{"organization_id": "org_01JQ", "größe": ""} },
		"no items":    func(r *keys.KEKRecord) { r.Items = nil },
		"time":        func(r *keys.KEKRecord) { r.CreatedAt = r.CreatedAt.Add(time.Nanosecond) },
		"no shares":   func(r *keys.KEKRecord) { r.Shares = nil },
		"no keyset":   func(r *keys.KEKRecord) { r.Sealed = nil },
		"share twice": func(r *keys.KEKRecord) { r.Shares = []keys.Share{share, share} },
		"no root share": func(r *keys.KEKRecord) {
			r.Shares = []keys.Share{{Slot: "a", KeyURI: share.KeyURI, Wrapped: share.Wrapped}}
		},
		"slots unordered": func(r *keys.KEKRecord) { r.Shares = []keys.Share{share, {Slot: "a"}} },
		"too many shares": func(r *keys.KEKRecord) { r.Shares = make([]keys.Share, 12) },
		"half a tombstone": func(r *keys.KEKRecord) {
			r.ShreddedAt = r.CreatedAt
		},
	} {
		r := genuine
		edit(&r)
		mustRefuse(t, what, root, r, keys.ErrTampered)
	}
}

func TestKEKRecordIsTheOneThatWasAskedFor(t *testing.T) {
	root := keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	if _, err := keys.OpenKEK(t.Context(), root, r.Environment, "other", &r); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("genuine record at another key id: %v, want %v", err, keys.ErrTampered)
	}
	if _, err := keys.OpenKEK(t.Context(), root, "other", r.KeyID, &r); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("genuine record in another environment: %v, want %v", err, keys.ErrTampered)
	}
}

func TestKEKDamagedAnywhereDoesNotOpen(t *testing.T) {
	root := keystest.NewRoot(t)
	genuine, _ := mustKEK(t, root)
	for _, damaged := range eachDamage(genuine.Sealed)[1:] { // the first is no keyset at all
		if len(damaged) == 0 {
			continue
		}
		r := genuine
		r.Sealed = damaged
		mustRefuse(t, "keyset", root, r, keys.ErrTampered)
	}
	for _, damaged := range eachDamage(genuine.Shares[0].Wrapped) {
		r := genuine
		r.Shares = []keys.Share{{Slot: keys.RootSlot, KeyURI: root.URI(), Wrapped: damaged}}
		mustRefuse(t, "share", root, r, keys.ErrTampered)
	}
	mustOpenKEK(t, root, genuine)
}

// The record's bytes as a whole: nothing in them is loose, whether a damaged record decodes or not.
func TestEncodedKEKDamagedAnywhereDoesNotOpen(t *testing.T) {
	root, codec := keystest.NewRoot(t), mustCodec(t)
	genuine, _ := mustKEK(t, root)
	encoded, err := codec.Encode(&genuine)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range eachDamage(encoded) {
		var r keys.KEKRecord
		if err := codec.Decode(damaged, &r); err != nil {
			continue
		}
		if _, err := keys.OpenKEK(t.Context(), root, genuine.Environment, genuine.KeyID, &r); err == nil {
			t.Errorf("opened from %x", damaged)
		}
	}
}

func TestPartsOfTwoKEKsDoNotMix(t *testing.T) {
	root := keystest.NewRoot(t)
	one, _ := mustKEK(t, root)
	two, _ := mustKEK(t, root) // of the same environment, key id and context
	swapped := one
	swapped.Shares = two.Shares
	mustRefuse(t, "shares of another KEK", root, swapped, keys.ErrTampered)
	swapped = one
	swapped.Sealed = two.Sealed
	mustRefuse(t, "keyset of another KEK", root, swapped, keys.ErrTampered)
	mustOpenKEK(t, root, one)
	mustOpenKEK(t, root, two)
}

func TestKEKOfAnotherRootKeyIsRefusedByName(t *testing.T) {
	root, other := keystest.NewRoot(t), keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	mustRefuse(t, "another root key", other, r, keys.ErrRefused)
	r.Shares = []keys.Share{{Slot: keys.RootSlot, KeyURI: other.URI(), Wrapped: r.Shares[0].Wrapped}}
	mustRefuse(t, "another root key that goes by this name", other, r, keys.ErrTampered)
}

func TestTombstoneIsShredded(t *testing.T) {
	root := keystest.NewRoot(t)
	r, _ := mustKEK(t, root)
	r.Shares, r.Sealed, r.ShreddedAt = nil, nil, time.Now().UTC()
	mustRefuse(t, "tombstone", root, r, keys.ErrShredded)
	if _, err := keys.OpenKEK(t.Context(), root, r.Environment, "other", &r); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("tombstone of another KEK: %v, want %v", err, keys.ErrTampered)
	}
}
