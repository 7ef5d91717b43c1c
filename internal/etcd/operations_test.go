package etcd_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
)

// org is a context item.
func org(n int) keys.Item { return keys.Item{Name: "organization_id", Value: fmt.Sprint("org_", n)} }

// mustKEKs pages through the KEKs of an item.
func (p *place) mustKEKs(t *testing.T, s *etcd.Store, item keys.Item, limit int) (ids []keys.ID) {
	t.Helper()
	mustFence(t, s)
	for after := keys.ID(""); ; {
		page, err := s.KEKs(t.Context(), p.env, item, after, limit)
		if err != nil {
			t.Fatalf("KEKs: %v", err)
		}
		for _, k := range page {
			if k.Err != nil || k.Record.KeyID != k.ID || k.Generation == 0 {
				t.Errorf("listed: %+v", k)
			}
			ids = append(ids, k.ID)
		}
		if len(page) < limit {
			return ids
		}
		after = page[len(page)-1].ID
	}
}

// testKEKLists: KEKs are listed in the order of their ids, all or by an item of their contexts, in pages of
// any size, and counted; a broken one is among them and says so.
func testKEKLists(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, late := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	var all, ofOne []keys.ID
	for i := range 12 {
		c := p.newKEK(map[string]string{"organization_id": org(i % 3).Value, "n": fmt.Sprint(i)})
		if err := s.CreateKEK(ctx, c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c.KeyID)
		if i%3 == 1 {
			ofOne = append(ofOne, c.KeyID)
		}
	}
	for _, store := range []*etcd.Store{late, s} {
		for _, limit := range []int{1, 5, 100} {
			if got := p.mustKEKs(t, store, keys.Item{}, limit); !slices.Equal(got, all) {
				t.Errorf("all, by %d: got %v, want %v", limit, got, all)
			}
			if got := p.mustKEKs(t, store, org(1), limit); !slices.Equal(got, ofOne) {
				t.Errorf("of an item, by %d: got %v, want %v", limit, got, ofOne)
			}
		}
	}
	for item, want := range map[keys.Item]uint64{{}: 12, org(1): 4, org(7): 0} {
		if n, err := s.CountKEKs(ctx, p.env, item); err != nil || n != want {
			t.Errorf("count of %v: %d, %v; want %d", item, n, err, want)
		}
	}
	_, err := s.KEKs(ctx, p.env, keys.Item{}, "../kek", 10)
	mustBe(t, "a cursor that is none", err, keys.ErrUnknownCursor)

	// One KEK's record does not do for another.
	key := etcd.KeyKEK(p.env, all[4])
	genuine := p.rawGet(t, key)
	p.rawPut(t, key, p.rawGet(t, etcd.KeyKEK(p.env, all[5])))
	for _, item := range []keys.Item{{}, org(1)} {
		mustFence(t, s)
		page, err := s.KEKs(ctx, p.env, item, "", 100)
		at := slices.IndexFunc(page, func(k keys.KEKAt) bool { return k.ID == all[4] })
		if err != nil || at < 0 {
			t.Fatalf("with a broken record: %d KEKs, %v", len(page), err)
		}
		mustBe(t, "a record in another's place", page[at].Err, keys.ErrTampered)
	}
	p.rawPut(t, key, genuine)
	p.mustKEKs(t, s, org(1), 100)
}

// testReplaceKEK: a record takes the place of the generation that was read, once, with its event, and comes
// back to the lists that lost it.
func testReplaceKEK(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	r, generation, err := s.KEK(ctx, p.env, c.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.KV().Delete(ctx, p.client.Abs(etcd.PrefixKEKs(p.env, p.environment.ItemIndex("organization_id", "org_1"))+string(c.KeyID))); err != nil {
		t.Fatal(err)
	}
	if got := p.mustKEKs(t, s, org(1), 10); len(got) != 0 {
		t.Errorf("without its entry: %v", got)
	}
	next := *r
	next.Versions, next.RotatedAt, next.Primary = 2, p.ids.Now(), 7
	mustBe(t, "a generation that never was", s.ReplaceKEK(ctx, next, generation+1, p.event(events.KEKRotated, "no")), keys.ErrConflict)
	if err := s.ReplaceKEK(ctx, next, generation, p.event(events.KEKRotated, string(c.KeyID))); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "a generation that is gone", other.ReplaceKEK(ctx, next, generation, p.event(events.KEKRotated, "no")), keys.ErrConflict)
	mustFence(t, other)
	got, now, err := other.KEK(ctx, p.env, c.KeyID)
	if err != nil || now == generation || got.Versions != 2 || got.Primary != 7 || !got.RotatedAt.Equal(next.RotatedAt) {
		t.Errorf("replaced: %+v at %d, %v", got, now, err)
	}
	if got := p.mustKEKs(t, other, org(1), 10); len(got) != 1 {
		t.Errorf("with its entry again: %v", got)
	}
	if told := p.mustEvents(t, s, events.KEKRotated); len(told) != 1 {
		t.Errorf("%d events of one change, want 1", len(told))
	}
}

// testCMKs: the map is at one revision at a time, and changes with a job or not at all; a KEK is sealed again
// under the map that its slots were taken from.
func testCMKs(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	r, generation, err := s.KEK(ctx, p.env, c.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	job := p.newJob(keys.AttachJob, keys.Scope{Item: org(1)})
	m := &keys.CMKMap{CMKs: []keys.CMK{{ID: keys.CMKID(p.ids.UUID()), Item: org(1), KeyURI: "local:x", State: keys.CMKAttaching, Job: job.ID}}}
	begin := keys.CMKChange{Map: m, Job: &job, Events: []events.Event{p.event(events.JobCreated, string(job.ID))}}
	revision, err := s.ChangeCMKs(ctx, begin)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.ChangeCMKs(ctx, begin)
	mustBe(t, "the same change again", err, keys.ErrConflict)
	mustFence(t, other)
	got, at, err := other.CMKMap(ctx, p.env)
	if err != nil || len(got.CMKs) != 1 || got.CMKs[0] != m.CMKs[0] || at != revision {
		t.Fatalf("the map: %+v at %d, %v; want it at %d", got, at, err, revision)
	}

	next := *r
	next.Versions, next.RotatedAt, next.Primary = 2, p.ids.Now(), 7
	mustBe(t, "under a map that never was", s.ResealKEK(ctx, next, generation, at+1, p.event(events.KEKRotated, "no")), keys.ErrConflict)
	mustBe(t, "in a generation that never was", s.ResealKEK(ctx, next, generation+1, at, p.event(events.KEKRotated, "no")), keys.ErrConflict)
	if err := other.ResealKEK(ctx, next, generation, at, p.event(events.KEKRotated, string(c.KeyID))); err != nil {
		t.Fatal(err)
	}

	// A change takes job and map along, or neither.
	job.State = keys.JobSucceeded
	end := keys.CMKChange{Map: &keys.CMKMap{}, MapRevision: at, Job: &job, JobRevision: revision}
	for what, edit := range map[string]func(*keys.CMKChange){
		"a map that changed meanwhile":   func(c *keys.CMKChange) { c.MapRevision-- },
		"a job that was saved meanwhile": func(c *keys.CMKChange) { c.JobRevision-- },
	} {
		late := end
		edit(&late)
		_, err := s.ChangeCMKs(ctx, late)
		mustBe(t, what, err, keys.ErrConflict)
	}
	if _, err := s.ChangeCMKs(ctx, end); err != nil {
		t.Fatal(err)
	}
	mustFence(t, other)
	if got, now, err := other.CMKMap(ctx, p.env); err != nil || len(got.CMKs) != 0 || now <= at {
		t.Errorf("the empty map: %+v at %d, %v", got, now, err)
	}
	if found, err := other.Job(ctx, p.env, job.ID); err != nil || found.Job.State != keys.JobSucceeded {
		t.Errorf("the job: %+v, %v", found, err)
	}
	if err := other.Tell(ctx, p.env, p.event(events.BYOKVerified, "told")); err != nil {
		t.Fatal(err)
	}
	if told := p.mustEvents(t, s, events.JobCreated, events.KEKRotated, events.BYOKVerified); len(told) != 3 {
		t.Errorf("%d events, want 3", len(told))
	}
}

// newJob is one of an administrator.
func (p *place) newJob(kind keys.JobKind, scope keys.Scope) keys.Job {
	return keys.Job{
		ID: keys.JobID(p.ids.UUID()), Environment: p.env, Kind: kind, Scope: scope, CreatedAt: time.Now().UTC(), State: keys.JobQueued,
		Actor: keys.JobActor{ID: "key_1", Source: "api"}, Node: "node-1", Index: 7,
	}
}

// testJobs: a job is at one revision at a time, whoever puts it.
func testJobs(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	first, second := p.newJob(keys.RewrapJob, keys.Scope{}), p.newJob(keys.RotateJob, keys.Scope{Item: org(1)})
	_, err := s.Job(ctx, p.env, first.ID)
	mustBe(t, "a job before its creation", err, keys.ErrNoJob)
	e := p.event(events.JobCreated, string(first.ID))
	revision, err := s.PutJob(ctx, first, 0, &e)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.PutJob(ctx, first, 0, nil)
	mustBe(t, "the same job again", err, keys.ErrConflict)
	if _, err := other.PutJob(ctx, second, 0, nil); err != nil {
		t.Fatal(err)
	}
	first.State, first.Owner, first.Cursor, first.Counts = keys.JobRunning, "node-2", "object/x", keys.Counts{Total: 9, Done: 3}
	next, err := other.PutJob(ctx, first, revision, nil)
	if err != nil || next <= revision {
		t.Fatalf("progress: revision %d after %d, %v", next, revision, err)
	}
	_, err = s.PutJob(ctx, first, revision, nil)
	mustBe(t, "a job that was saved meanwhile", err, keys.ErrConflict)
	for _, store := range []*etcd.Store{s, other} {
		mustFence(t, store)
		all, err := store.Jobs(ctx, p.env)
		if err != nil || len(all) != 2 || all[0].Job.ID != first.ID || all[0].Revision != next || all[0].Job.Counts != first.Counts || all[1].Job.ID != second.ID {
			t.Errorf("jobs: %+v, %v", all, err)
		}
	}
	found, err := other.Job(ctx, p.env, second.ID)
	if err != nil || found.Job.Scope != second.Scope {
		t.Fatalf("job: %+v, %v", found, err)
	}
	stale := found
	stale.Revision--
	mustBe(t, "removal of a job as it never was", s.RemoveJob(ctx, stale), keys.ErrConflict)
	if err := s.RemoveJob(ctx, found); err != nil {
		t.Fatal(err)
	}
	mustFence(t, other)
	_, err = other.Job(ctx, p.env, second.ID)
	mustBe(t, "a job that was removed", err, keys.ErrNoJob)
	if told := p.mustEvents(t, s, events.JobCreated); len(told) != 1 {
		t.Errorf("%d events, want 1", len(told))
	}
	// One job's record does not do for another: those that are right are told all the same.
	if _, err := s.PutJob(ctx, second, 0, nil); err != nil {
		t.Fatal(err)
	}
	p.rawPut(t, etcd.KeyJob(p.env, second.ID), p.rawGet(t, etcd.KeyJob(p.env, first.ID)))
	mustFence(t, s)
	all, err := s.Jobs(ctx, p.env)
	mustBe(t, "a job in another's place", err, keys.ErrTampered)
	if len(all) != 1 || all[0].Job.ID != first.ID {
		t.Errorf("beside it: %+v", all)
	}
}

// testShreds: from the transaction that begins a shred its marker stands for everybody, and it goes with the
// one that ends it; a tombstone takes the pointer with it, so that the context is free.
func testShreds(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	items := map[string]string{"organization_id": "org_1", "region": "eu"}
	c := p.mustKEK(t, s, items)
	p.mustKEK(t, s, map[string]string{"organization_id": "org_2"})
	job := p.newJob(keys.ShredJob, keys.Scope{Item: org(1)})
	if err := s.BeginShred(ctx, job, p.event(events.JobCreated, string(job.ID))); err != nil {
		t.Fatal(err)
	}
	shredding := func(want bool) {
		t.Helper()
		for _, store := range []*etcd.Store{other, s} {
			mustFence(t, store)
			if got, err := store.Shredding(ctx, p.env, items); err != nil || got != want {
				t.Errorf("shredding: %v, %v; want %v", got, err, want)
			}
			if got, err := store.Shredding(ctx, p.env, map[string]string{"organization_id": "org_2"}); err != nil || got {
				t.Errorf("shredding another item: %v, %v", got, err)
			}
		}
	}
	shredding(true)
	again := p.newJob(keys.ShredJob, keys.Scope{Item: org(1)})
	mustBe(t, "a second shred", other.BeginShred(ctx, again, p.event(events.JobCreated, "no")), keys.ErrShredding)
	mustBe(t, "a KEK under shred", other.CreateKEK(ctx, p.newKEK(map[string]string{"organization_id": "org_1"})), keys.ErrConflict)

	tombstone := keys.KEKRecord{Environment: p.env, KeyID: c.KeyID, Items: items, CreatedAt: p.ids.Now(), ShreddedAt: p.ids.Now()}
	mustBe(t, "a tombstone of another generation", s.Shred(ctx, tombstone, c.Generation-1, p.event(events.KEKDeleted, "no")), keys.ErrConflict)
	if err := s.Shred(ctx, tombstone, c.Generation, p.event(events.KEKDeleted, string(c.KeyID))); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "a second tombstone", other.Shred(ctx, tombstone, c.Generation, p.event(events.KEKDeleted, "no")), keys.ErrConflict)
	mustFence(t, other)
	if r, _, err := other.KEK(ctx, p.env, c.KeyID); err != nil || r.ShreddedAt.IsZero() {
		t.Errorf("the tombstone: %+v, %v", r, err)
	}
	_, err := other.KEKOf(ctx, p.env, mustContext(t, items))
	mustBe(t, "the KEK of its context", err, keys.ErrKEKNotFound)

	at, err := other.Job(ctx, p.env, job.ID)
	if err != nil {
		t.Fatal(err)
	}
	job.State, job.EndedAt = keys.JobSucceeded, time.Now().UTC()
	_, err = s.EndShred(ctx, job, at.Revision-1, p.event(events.JobEnded, "no"))
	mustBe(t, "the end of a job as it never was", err, keys.ErrConflict)
	shredding(true)
	if _, err := s.EndShred(ctx, job, at.Revision, p.event(events.JobEnded, string(job.ID))); err != nil {
		t.Fatal(err)
	}
	shredding(false)
	if err := other.CreateKEK(ctx, p.newKEK(items)); err != nil {
		t.Errorf("a new KEK for the context: %v", err)
	}
	if err := other.BeginShred(ctx, again, p.event(events.JobCreated, string(again.ID))); err != nil {
		t.Errorf("another shred: %v", err)
	}
	for kind, want := range map[events.Type]int{events.JobCreated: 2, events.KEKDeleted: 1, events.JobEnded: 1} {
		if told := p.mustEvents(t, s, kind); len(told) != want {
			t.Errorf("%d events %s, want %d", len(told), kind, want)
		}
	}
}
