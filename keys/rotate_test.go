package keys_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// mustEventsOf are the first hundred events of a type.
func mustEventsOf(t testing.TB, s *vaulttest.Stack, types ...events.Type) []events.Stored {
	t.Helper()
	must(t, s.Store.Fence(t.Context()))
	page, err := s.Store.Page(t.Context(), s.Environment.ID(), events.Query{Types: types, Limit: events.MaxLimit, Order: events.Ascending})
	must(t, err)
	return page.Data
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A rotation holds on every replica at once: what was stored before opens, what is stored afterwards is
// wrapped under the new key, and the trail has one event of it that names the intent.
func TestRotate(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	before := s.MustCreate(t, "before", "one")
	info, err := other.Operations.RotateKEK(t.Context(), other.Call(), before.KeyID)
	must(t, err)
	if info.ID != before.KeyID || info.Versions != 2 || info.State != keys.KEKActive || !info.PrimaryAt.After(info.CreatedAt) {
		t.Errorf("after a rotation: %+v", info)
	}
	after := s.MustCreate(t, "after", "two")
	if after.KeyID != before.KeyID {
		t.Errorf("a rotation changed the key id from %s to %s", before.KeyID, after.KeyID)
	}
	for _, r := range []*vaulttest.Stack{s, other} {
		for id, want := range map[vault.ObjectID]string{before.ID: "one", after.ID: "two"} {
			if got := r.MustGet(t, id); !got.Value.Equal(vaulttest.Value(want)) {
				t.Errorf("%s does not open to what it was", got.Name)
			}
		}
	}
	for id, want := range map[vault.ObjectID]bool{before.ID: true, after.ID: false} {
		record, _, err := s.Store.KEK(t.Context(), s.Environment.ID(), before.KeyID)
		must(t, err)
		header, err := s.Store.Header(t.Context(), s.Environment.ID(), id)
		must(t, err)
		if got := record.Stale(header.Current().WrappedDEK); got != want {
			t.Errorf("%s: stale is %v, want %v", header.Name, got, want)
		}
	}
	told := mustEventsOf(t, s, events.KEKRotated)
	if len(told) != 1 || told[0].Index == 0 && told[0].Node == "" {
		t.Errorf("events of the rotation: %+v", told)
	}
	// Nothing was lost on the way to the third key.
	_, err = s.Operations.RotateKEK(t.Context(), s.Call(), before.KeyID)
	must(t, err)
	other.MustGet(t, before.ID)
	other.MustGet(t, after.ID)
}

// Writers and rotations of one KEK at the same time, on two replicas: every write that was acknowledged
// opens, and every rotation that was is counted.
func TestRotateUnderWriters(t *testing.T) {
	s := vaulttest.New(t)
	replicas := []*vaulttest.Stack{s, s.Replica(t)}
	first := s.MustCreate(t, "first", "value")
	const rotations, writers, writes = 4, 4, 10
	var work sync.WaitGroup
	for _, r := range replicas {
		call := r.Call()
		work.Go(func() {
			for range rotations {
				if _, err := r.Operations.RotateKEK(t.Context(), call, first.KeyID); err != nil {
					t.Errorf("rotate: %v", err)
				}
			}
		})
	}
	var mu sync.Mutex
	stored := map[vault.ObjectID]string{first.ID: "value"}
	for i := range writers {
		r, call := replicas[i%2], replicas[i%2].Call()
		work.Go(func() {
			for n := range writes {
				value := fmt.Sprint(i, " ", n)
				var m vault.Metadata
				err := vault.ErrConflict // is answered as "try again", which is what a client then does
				for errors.Is(err, vault.ErrConflict) {
					m, err = r.Vault.Create(t.Context(), call, vault.CreateRequest{
						Name: value, Value: vaulttest.Value(value), Context: vaulttest.MustContext(t, "organization_id", "org_1"),
					})
				}
				if err != nil {
					t.Errorf("create: %v", err)
					continue
				}
				mu.Lock()
				stored[m.ID] = value
				mu.Unlock()
			}
		})
	}
	work.Wait()
	for id, want := range stored {
		if got := replicas[0].MustGet(t, id); !got.Value.Equal(vaulttest.Value(want)) {
			t.Errorf("%s does not open to what it was", id)
		}
	}
	info, err := s.Operations.KEK(t.Context(), s.Call(), first.KeyID)
	must(t, err)
	if want := 1 + 2*rotations; info.Versions != want {
		t.Errorf("%d versions after %d rotations, want %d", info.Versions, 2*rotations, want)
	}
	if told := mustEventsOf(t, s, events.KEKRotated); len(told) != 2*rotations {
		t.Errorf("%d events of %d rotations", len(told), 2*rotations)
	}
}

// What was sealed before a rotation is not stored after it.
func TestSealedBeforeARotation(t *testing.T) {
	s := keystest.New(t)
	c, b := keystest.MustContext(t, "a", "b"), goldenInput(t).Object
	sealed := s.MustSeal(t, c, b, "v")
	record, generation, err := s.Store.KEK(t.Context(), keystest.Environment, sealed.KeyID)
	must(t, err)
	next, err := s.Keys.RotateRecord(t.Context(), record, time.Now())
	must(t, err)
	e := events.Event{Type: events.KEKRotated, Data: []byte("{}"), At: time.Now().UTC()}
	must(t, s.Store.ReplaceKEK(t.Context(), next, generation, e))
	if err := s.Store.ReplaceKEK(t.Context(), next, generation, e); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("a second rotation of the same generation: %v, want %v", err, keys.ErrConflict)
	}
	s.MustFence(t)
	_, now, err := s.Store.KEK(t.Context(), keystest.Environment, sealed.KeyID)
	if err != nil || now == generation {
		t.Errorf("generation %d after a rotation of %d, %v", now, generation, err)
	}
	if _, err := s.Keys.Open(t.Context(), s.MustPermit(t, c), sealed, b); err != nil {
		t.Errorf("what was sealed before: %v", err)
	}
}

// A root key that does not answer leaves the KEK as it is.
func TestRotateWithoutTheRootKey(t *testing.T) {
	s, clock := keystest.New(t), newHandClock()
	s.Keys = s.MustKeys(t, keys.Config{Now: clock.Now})
	c, b := keystest.MustContext(t, "a", "b"), goldenInput(t).Object
	sealed := s.MustSeal(t, c, b, "v")
	record, _, err := s.Store.KEK(t.Context(), keystest.Environment, sealed.KeyID)
	must(t, err)
	s.Root.Down()
	if _, err := s.Keys.RotateRecord(t.Context(), record, time.Now()); outage.Of(err) == nil {
		t.Errorf("root key down: %v, want an outage", err)
	}
	clock.advance(keys.BreakerPause)
	s.Root.Refuse()
	if _, err := s.Keys.RotateRecord(t.Context(), record, time.Now()); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("root key disabled: %v, want %v", err, keys.ErrRefused)
	}
	s.Root.Fail(nil)
	_, err = s.Keys.RotateRecord(t.Context(), record, time.Now())
	must(t, err)
	full := *record
	full.Versions, full.RotatedAt, full.Primary = keys.MaxVersions, time.Now(), 1
	if _, err := s.Keys.RotateRecord(t.Context(), &full, time.Now()); !errors.Is(err, keys.ErrVersions) {
		t.Errorf("a KEK with %d versions: %v, want %v", keys.MaxVersions, err, keys.ErrVersions)
	}
}

// rotatedVectors is the KEK of the other vectors after a rotation.
type rotatedVectors struct {
	Record hexBytes `json:"record"`
	// Old was wrapped before the rotation and Fresh after it: two DEKs of the same object version.
	Old, Fresh sealedVector
}

func TestVectorsOfRotatedKEK(t *testing.T) {
	var v rotatedVectors
	mustReadJSON(t, "kek-rotated.json", &v)
	in, codec := goldenInput(t), mustCodec(t)
	var r keys.KEKRecord
	must(t, codec.Decode(v.Record, &r))
	if again, err := codec.Encode(&r); err != nil || cmp.Diff([]byte(v.Record), again) != "" {
		t.Errorf("KEK record is encoded in another way now: %v", err)
	}
	if r.Versions != 2 || !r.RotatedAt.Equal(in.At.Add(time.Hour)) || r.Primary == 0 {
		t.Errorf("the record says %d, %s, %d", r.Versions, r.RotatedAt, r.Primary)
	}
	kek, err := keys.OpenKEK(t.Context(), mustGoldenRoot(t), in.Environment, in.KeyID, &r)
	must(t, err)
	for _, row := range []struct {
		sealedVector
		stale bool
	}{{v.Old, true}, {v.Fresh, false}} {
		got, err := kek.Open(in.Object, keys.Sealed{WrappedDEK: row.WrappedDEK, Ciphertext: row.Ciphertext})
		if err != nil || cmp.Diff([]byte(row.Plaintext), got.Reveal()) != "" {
			t.Errorf("does not open to what it was: %v", err)
		}
		if r.Stale(row.WrappedDEK) != row.stale {
			t.Errorf("stale is %v, want %v", !row.stale, row.stale)
		}
	}
}

// What a rotated record says of itself is bound: nobody makes it look newer, older or shorter.
func TestEditedRotation(t *testing.T) {
	root, codec, in := mustGoldenRoot(t), mustCodec(t), goldenInput(t)
	var v rotatedVectors
	mustReadJSON(t, "kek-rotated.json", &v)
	for what, edit := range map[string]func(r *keys.KEKRecord){
		"a version more": func(r *keys.KEKRecord) { r.Versions++ },
		"one version":    func(r *keys.KEKRecord) { r.Versions = 1 },
		"later":          func(r *keys.KEKRecord) { r.RotatedAt = r.RotatedAt.Add(time.Second) },
		"no time":        func(r *keys.KEKRecord) { r.RotatedAt = time.Time{} },
		"other primary":  func(r *keys.KEKRecord) { r.Primary++ },
		"no primary":     func(r *keys.KEKRecord) { r.Primary = 0 },
		"never rotated":  func(r *keys.KEKRecord) { r.Versions, r.RotatedAt, r.Primary = 0, time.Time{}, 0 },
		"tombstone":      func(r *keys.KEKRecord) { r.ShreddedAt, r.Sealed, r.Shares = in.At, nil, nil },
	} {
		var r keys.KEKRecord
		must(t, codec.Decode(v.Record, &r))
		edit(&r)
		if _, err := keys.OpenKEK(t.Context(), root, in.Environment, in.KeyID, &r); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%s: %v, want %v", what, err, keys.ErrTampered)
		}
	}
}
