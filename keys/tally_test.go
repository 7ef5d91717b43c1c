package keys_test

import (
	"testing"

	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// mustTallies are the counts of a list, which are those of each description.
func mustTallies(t testing.TB, s *vaulttest.Stack) map[keys.ID]keys.Tally {
	t.Helper()
	page, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Limit: 100, Tally: true})
	must(t, err)
	tallies := map[keys.ID]keys.Tally{}
	for _, i := range page.Data {
		described, err := s.Operations.KEK(t.Context(), s.Call(), i.ID)
		must(t, err)
		if i.Tally == nil || described.Tally == nil || *i.Tally != *described.Tally {
			t.Fatalf("%s: %+v in a list, %+v described", i.ID, i.Tally, described.Tally)
		}
		tallies[i.ID] = *i.Tally
	}
	return tallies
}

// A KEK's records are counted on every replica, as they are when asked: an object once, however many versions
// it has, and as stale while one of its DEKs is.
func TestTally(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	one := mustObjects(t, s, 3, "organization_id", "org_1")
	kek, idle := kekOf(t, s, one), mustStoredKEK(t, s, "organization_id", "org_2")
	want := func(when string, records, stale uint64) {
		t.Helper()
		tallies := mustTallies(t, other)
		if got := tallies[kek]; got != (keys.Tally{Records: records, Stale: stale}) {
			t.Errorf("%s: %+v, want %d records and %d of them stale", when, got, records, stale)
		}
		if got := tallies[idle]; got != (keys.Tally{Records: 1}) {
			t.Errorf("%s: the other KEK has %+v", when, got)
		}
	}
	want("at first", 3, 0)
	mustRotate(t, s, kek)
	want("after a rotation", 3, 3)
	var updated vault.ObjectID
	for updated = range one {
		s.MustUpdate(t, updated, "next")
		break
	}
	want("after an update, with the older version there still", 3, 3)
	mustStoredKEK(t, s, "organization_id", "org_1")
	want("after a create", 4, 3)
	s.MustRunner(t)
	s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID)
	want("after a rewrap", 4, 0)
	_, err := s.Vault.Delete(t.Context(), s.Call(), vault.DeleteRequest{ID: updated})
	must(t, err)
	want("after a delete", 3, 0)
	s.MustEndJob(t, s.MustJob(t, shredOf("org_1")).ID)
	want("after a shred", 3, 0)
}

// Counting has its time. What it cannot do in it is left out of the answer, which is given all the same.
func TestTallyTakesNoLongerThanItMay(t *testing.T) {
	s := vaulttest.New(t)
	id := mustStoredKEK(t, s, "organization_id", "org_1")
	keys.SetTallyTime(s.Operations, -1)
	i, err := s.Operations.KEK(t.Context(), s.Call(), id)
	if err != nil || i.ID != id || i.Tally != nil {
		t.Errorf("without time: %+v, %v", i, err)
	}
	keys.SetTallyTime(s.Operations, 1e10)
	if i, err = s.Operations.KEK(t.Context(), s.Call(), id); err != nil || i.Tally == nil || i.Tally.Records != 1 {
		t.Errorf("the twin with time: %+v, %v", i, err)
	}
}
