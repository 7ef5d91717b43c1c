package keys_test

import (
	"errors"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// What stands on the compares of the store: nothing is replaced that changed since it was read.
func TestStoreComparesWhatWasRead(t *testing.T) {
	s := vaulttest.New(t)
	env, ctx := s.Environment.ID(), t.Context()
	m := s.MustCreate(t, "object", "first")
	holders := func() keys.Holder {
		t.Helper()
		found, err := s.Store.Holders(ctx, env, "", 10)
		if err != nil || len(found) != 1 || len(found[0].DEKs) == 0 {
			t.Fatalf("records with DEKs: %+v, %v", found, err)
		}
		return found[0]
	}
	deks := func(h keys.Holder) (all [][]byte) {
		for _, d := range h.DEKs {
			all = append(all, d.Wrapped)
		}
		return all
	}
	must(t, s.Store.Fence(ctx))
	_, generation, err := s.Store.KEK(ctx, env, m.KeyID)
	must(t, err)
	now := []keys.Conditions{{Environment: env, KeyID: m.KeyID, Generation: generation}}

	// Case: the record was updated, or its KEK rotated, between read and write.
	before := holders()
	s.MustUpdate(t, m.ID, "second")
	if err := s.Store.Rewrap(ctx, env, before, deks(before), now); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("rewrap of a record that changed: %v, want %v", err, keys.ErrConflict)
	}
	must(t, s.Store.Rewrap(ctx, env, holders(), deks(holders()), now))
	mustRotate(t, s, m.KeyID)
	if err := s.Store.Rewrap(ctx, env, holders(), deks(holders()), now); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("rewrap under a KEK that changed: %v, want %v", err, keys.ErrConflict)
	}
	if got := s.MustGet(t, m.ID); !got.Value.Equal(vaulttest.Value("second")) {
		t.Error("the object does not open to what it was")
	}

	// Case: a tombstone in place of a generation that is gone, and of one that is there; then once more.
	tombstone := keys.KEKRecord{Environment: env, KeyID: m.KeyID, Items: map[string]string{"organization_id": "org_1"}, CreatedAt: time.Now().UTC(), ShreddedAt: time.Now().UTC()}
	e := events.Event{Type: events.KEKDeleted, Data: []byte("{}"), At: time.Now().UTC()}
	if err := s.Store.Shred(ctx, tombstone, generation, e); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("tombstone of a generation that is gone: %v, want %v", err, keys.ErrConflict)
	}
	_, generation, err = s.Store.KEK(ctx, env, m.KeyID)
	must(t, err)
	must(t, s.Store.Shred(ctx, tombstone, generation, e))
	if err := s.Store.Shred(ctx, tombstone, generation, e); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("a second tombstone: %v, want %v", err, keys.ErrConflict)
	}

	// Case: a job that another node saved meanwhile.
	job := s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true})
	must(t, s.Store.Fence(ctx))
	at, err := s.Store.Job(ctx, env, job.ID)
	must(t, err)
	_, err = s.Store.PutJob(ctx, *at.Job, at.Revision, nil)
	must(t, err)
	if _, err := s.Store.PutJob(ctx, *at.Job, at.Revision, nil); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("a job that was saved meanwhile: %v, want %v", err, keys.ErrConflict)
	}
	if err := s.Store.RemoveJob(ctx, at); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("removal of a job that was saved meanwhile: %v, want %v", err, keys.ErrConflict)
	}
}
