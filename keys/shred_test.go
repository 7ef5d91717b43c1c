package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// shredOf asks for the shred of an organization.
func shredOf(org string) keys.JobRequest {
	return keys.JobRequest{
		Kind: keys.ShredJob, Scope: keys.Scope{Item: keys.Item{Name: "organization_id", Value: org}}, Confirm: "organization_id=" + org,
	}
}

// A shred holds on every replica from the answer to its request on, before anything of it has run; when it
// has, a new value under the item has a new KEK, and everything else is as it was.
func TestShred(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t, func(c *vaulttest.Config) { c.WatchDelay = 50 * time.Millisecond })
	ctx := t.Context()
	doomed := mustObjects(t, s, 3, "organization_id", "org_1")
	also := mustObjects(t, s, 2, "organization_id", "org_1", "region", "eu")
	others := mustObjects(t, s, 4, "organization_id", "org_2")
	old := kekOf(t, s, doomed)
	c := vaulttest.MustContext(t, "organization_id", "org_1")
	data, err := s.Vault.CreateDataKey(ctx, s.Call(), c)
	must(t, err)
	mustCountStale(t, other, doomed) // its caches are warm

	job := s.MustJob(t, shredOf("org_1"))
	refused := func(when string) {
		t.Helper()
		for _, r := range []*vaulttest.Stack{s, other} {
			for _, stored := range []map[vault.ObjectID]string{doomed, also} {
				for id := range stored {
					if _, err := r.Vault.Get(ctx, r.Call(), id); !errors.Is(err, keys.ErrShredded) {
						t.Errorf("%s: get: %v, want %v", when, err, keys.ErrShredded)
					}
					if _, err := r.Vault.Update(ctx, r.Call(), vault.UpdateRequest{ID: id, Value: vaulttest.Value("new")}); !errors.Is(err, keys.ErrShredded) {
						t.Errorf("%s: update: %v, want %v", when, err, keys.ErrShredded)
					}
				}
			}
			if _, err := r.Vault.DecryptDataKey(ctx, r.Call(), data.Blob); !errors.Is(err, keys.ErrShredded) {
				t.Errorf("%s: decrypt: %v, want %v", when, err, keys.ErrShredded)
			}
			if _, err := r.Operations.RotateKEK(ctx, r.Call(), old); !errors.Is(err, keys.ErrShredded) {
				t.Errorf("%s: rotate: %v, want %v", when, err, keys.ErrShredded)
			}
			mustCountStale(t, r, others)
		}
	}
	create := func(pairs ...string) (vault.Metadata, error) {
		return other.Vault.Create(ctx, other.Call(), vault.CreateRequest{
			Name: "new " + other.IDs.UUID(), Value: vaulttest.Value("new"), Context: vaulttest.MustContext(t, pairs...),
		})
	}
	refused("while it waits")
	for _, pairs := range [][]string{{"organization_id", "org_1"}, {"organization_id", "org_1", "region", "us"}} {
		if _, err := create(pairs...); !errors.Is(err, keys.ErrShredding) {
			t.Errorf("create under %v: %v, want %v", pairs, err, keys.ErrShredding)
		}
	}
	if _, err := create("organization_id", "org_3"); err != nil {
		t.Errorf("create under another item: %v", err)
	}
	if _, err := s.Operations.CreateJob(ctx, s.Call(), shredOf("org_1")); !errors.Is(err, keys.ErrShredding) {
		t.Errorf("a second shred: %v, want %v", err, keys.ErrShredding)
	}
	if _, err := s.Operations.CancelJob(ctx, s.Call(), job.ID); !errors.Is(err, keys.ErrNotCancellable) {
		t.Errorf("cancel: %v, want %v", err, keys.ErrNotCancellable)
	}

	other.MustRunner(t)
	ended := s.MustEndJob(t, job.ID)
	if ended.State != keys.JobSucceeded || ended.Counts.Changed != 2 || ended.Counts.Unreadable != 5 || ended.Counts.Failed != 0 ||
		ended.Counts.Done != ended.Counts.Total || !ended.CachesUntil.After(ended.EndedAt) ||
		!ended.BackupsBefore().Equal(ended.EndedAt) || ended.HistoryUntil.Before(ended.StartedAt) || ended.HistoryUntil.After(ended.EndedAt) {
		t.Errorf("the job ended as %+v", ended)
	}
	refused("when it is done")
	if told := mustEventsOf(t, s, events.KEKDeleted); len(told) != 2 {
		t.Errorf("%d events of destroyed KEKs, want 2", len(told))
	}
	info, err := s.Operations.KEK(ctx, s.Call(), old)
	if err != nil || info.State != keys.KEKShredded || info.Versions != 0 || !info.ShreddedAt.Equal(ended.StartedAt) {
		t.Errorf("the KEK: %+v, %v", info, err)
	}
	fresh, err := create("organization_id", "org_1")
	must(t, err)
	if fresh.KeyID == old {
		t.Error("a new value has the KEK that was destroyed")
	}
	s.MustGet(t, fresh.ID)
	// Another shred finds what is new and counts no more than that.
	again := s.MustEndJob(t, s.MustJob(t, shredOf("org_1")).ID)
	if again.State != keys.JobSucceeded || again.Counts.Changed != 1 || again.Counts.Unreadable != 1 {
		t.Errorf("the second shred ended as %+v", again)
	}
	if _, err := other.Vault.Get(ctx, other.Call(), fresh.ID); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("get after the second shred: %v, want %v", err, keys.ErrShredded)
	}
	mustCountStale(t, other, others)
}

func TestShredIsConfirmed(t *testing.T) {
	s := vaulttest.New(t)
	s.MustRunner(t)
	stored := mustObjects(t, s, 2, "organization_id", "org_1")
	var invalid *keys.InvalidError
	for _, change := range []func(r *keys.JobRequest){
		func(r *keys.JobRequest) { r.Confirm = "" },
		func(r *keys.JobRequest) { r.Confirm = "organization_id=org_2" },
		func(r *keys.JobRequest) { r.Confirm += " " },
		func(r *keys.JobRequest) { r.Scope = keys.Scope{KeyID: kekOf(t, s, stored)} },
		func(r *keys.JobRequest) { r.Scope, r.All, r.Confirm = keys.Scope{}, true, "=" },
	} {
		r := shredOf("org_1")
		change(&r)
		if _, err := s.Operations.CreateJob(t.Context(), s.Call(), r); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an InvalidError", r, err)
		}
	}
	dry := shredOf("org_1")
	dry.Confirm, dry.DryRun = "", true
	ended := s.MustEndJob(t, s.MustJob(t, dry).ID)
	if ended.State != keys.JobSucceeded || ended.Counts.Changed != 1 || ended.Counts.Unreadable != 2 {
		t.Errorf("dry run: %+v", ended)
	}
	mustCountStale(t, s, stored)
	s.MustEndJob(t, s.MustJob(t, shredOf("org_1")).ID)
	for id := range stored {
		if _, err := s.Vault.Get(t.Context(), s.Call(), id); !errors.Is(err, keys.ErrShredded) {
			t.Errorf("the twin: %v, want %v", err, keys.ErrShredded)
		}
	}
}

// dyingShred is the store of a node that is killed in the middle of a shred.
type dyingShred struct {
	dying
}

func (d *dyingShred) Shred(ctx context.Context, r keys.KEKRecord, generation int64, e events.Event) error {
	if err := d.gone(); err != nil {
		return err
	}
	err := d.OperationsStore.Shred(ctx, r, generation, e)
	if d.left.Add(-1) == 0 {
		close(d.dead)
		return &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown} // it was done, and nobody is told
	}
	return err
}

// A node that dies in the middle of a shred leaves it to another; each KEK is destroyed, and told of, once.
func TestShredOutlivesItsNode(t *testing.T) {
	s := vaulttest.New(t)
	other := s.Replica(t)
	const contexts = 12
	for i := range contexts {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
	}
	lives := mustStoredKEK(t, s, "organization_id", "org_2")
	first := &dyingShred{dying{OperationsStore: s.Store, dead: make(chan struct{})}}
	first.left.Store(5)
	s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = first })
	job := s.MustJob(t, shredOf("org_1"))
	select {
	case <-first.dead:
	case <-time.After(time.Minute):
		t.Fatal("the first node did not get as far as to die")
	}
	other.MustRunner(t)
	ended := other.MustEndJob(t, job.ID)
	if ended.State != keys.JobSucceeded || ended.Counts.Unreadable != contexts || ended.Counts.Failed != 0 {
		t.Errorf("the job ended as %+v", ended)
	}
	if told := mustEventsOf(t, s, events.KEKDeleted); len(told) != contexts {
		t.Errorf("%d events of %d destroyed KEKs", len(told), contexts)
	}
	if _, err := s.Operations.RotateKEK(t.Context(), s.Call(), lives); err != nil {
		t.Errorf("the KEK of another item: %v", err)
	}
}

// remembering is a store whose history cannot be forgotten for a while.
type remembering struct {
	keys.OperationsStore
	asked atomic.Int64
}

func (r *remembering) Compact(ctx context.Context) error {
	if r.asked.Add(1) < 3 {
		return &outage.Error{Dependency: outage.Etcd}
	}
	return r.OperationsStore.Compact(ctx)
}

// A shred has not ended before history has: its receipt says so.
func TestShredIsForgotten(t *testing.T) {
	s := vaulttest.New(t)
	mustObjects(t, s, 1, "organization_id", "org_1")
	store := &remembering{OperationsStore: s.Store}
	s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = store })
	request := shredOf("org_1")
	request.DryRun = true
	if dry := s.MustEndJob(t, s.MustJob(t, request).ID); !dry.HistoryUntil.IsZero() || !dry.BackupsBefore().IsZero() || store.asked.Load() != 0 {
		t.Errorf("a dry run asked for it %d times and ended as %+v", store.asked.Load(), dry)
	}
	ended := s.MustEndJob(t, s.MustJob(t, shredOf("org_1")).ID)
	if ended.State != keys.JobSucceeded || ended.HistoryUntil.IsZero() || store.asked.Load() != 3 {
		t.Errorf("the job asked for it %d times and ended as %+v", store.asked.Load(), ended)
	}
}

// A store that says nothing of markers would let a KEK be used on: its error is one.
func TestMarkersThatCannotBeRead(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{WrapKeys: func(k keys.Store) keys.Store { return unmarked{k} }})
	healthy := s.Replica(t, func(c *vaulttest.Config) { c.WrapKeys = nil })
	stored := mustObjects(t, healthy, 1, "organization_id", "org_1")
	for id := range stored {
		if _, err := s.Vault.Get(t.Context(), s.Call(), id); outage.Of(err) == nil {
			t.Errorf("without an answer about markers: %v, want an outage", err)
		}
		healthy.MustGet(t, id)
	}
}

type unmarked struct{ keys.Store }

func (unmarked) Shredding(context.Context, access.EnvironmentID, map[string]string) (bool, error) {
	return false, &outage.Error{Dependency: outage.Etcd}
}

// Whatever is done in whatever order, on two replicas of which one hears of everything late: what was
// acknowledged opens on both, and what was shredded never does.
func TestOperationsInAnyOrder(t *testing.T) {
	s := vaulttest.New(t)
	late := s.Replica(t, func(c *vaulttest.Config) { c.WatchDelay = 5 * time.Millisecond })
	for _, r := range []*vaulttest.Stack{s, late} {
		r.MustRunner(t, impatient)
	}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		d := &keyDriver{rt: rt, t: t, replicas: []*vaulttest.Stack{s, late}, run: run}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			rapid.SampledFrom([]func(){d.create, d.create, d.update, d.rotate, d.rewrap, d.shred}).Draw(rt, "step")()
		}
		d.check()
	})
}

// keyDriver does things to keys and remembers what must be true.
type keyDriver struct {
	rt       *rapid.T
	t        *testing.T
	replicas []*vaulttest.Stack
	run      int
	objects  []*drivenObject
}

type drivenObject struct {
	id       vault.ObjectID
	kek      keys.ID
	org      string
	value    string
	shredded bool
}

func (d *keyDriver) replica() *vaulttest.Stack {
	return rapid.SampledFrom(d.replicas).Draw(d.rt, "replica")
}

func (d *keyDriver) org() string {
	return fmt.Sprintf("run %d org %d", d.run, rapid.IntRange(1, 2).Draw(d.rt, "org"))
}

// object is one that was made before; nil if there is none.
func (d *keyDriver) object() *drivenObject {
	if len(d.objects) == 0 {
		return nil
	}
	return rapid.SampledFrom(d.objects).Draw(d.rt, "object")
}

func (d *keyDriver) create() {
	r, o := d.replica(), &drivenObject{org: d.org(), value: fmt.Sprint("created ", len(d.objects))}
	m, err := r.Vault.Create(d.t.Context(), r.Call(), vault.CreateRequest{
		Name: r.IDs.UUID(), Value: vaulttest.Value(o.value), Context: vaulttest.MustContext(d.t, "organization_id", o.org),
	})
	if err != nil {
		d.rt.Fatalf("create: %v", err)
	}
	o.id, o.kek = m.ID, m.KeyID
	for _, before := range d.objects {
		if before.org == o.org && before.shredded == (before.kek == o.kek) {
			d.rt.Fatalf("an object has the KEK %s, one before it %s, shredded: %v", o.kek, before.kek, before.shredded)
		}
	}
	d.objects = append(d.objects, o)
}

func (d *keyDriver) update() {
	o, r := d.object(), d.replica()
	if o == nil {
		return
	}
	value := o.value + "+"
	_, err := r.Vault.Update(d.t.Context(), r.Call(), vault.UpdateRequest{ID: o.id, Value: vaulttest.Value(value)})
	switch {
	case o.shredded && !errors.Is(err, keys.ErrShredded), !o.shredded && err != nil:
		d.rt.Fatalf("update of an object, shredded: %v: %v", o.shredded, err)
	case err == nil:
		o.value = value
	}
}

func (d *keyDriver) rotate() {
	o, r := d.object(), d.replica()
	if o == nil {
		return
	}
	if _, err := r.Operations.RotateKEK(d.t.Context(), r.Call(), o.kek); o.shredded != errors.Is(err, keys.ErrShredded) || !o.shredded && err != nil {
		d.rt.Fatalf("rotation, shredded: %v: %v", o.shredded, err)
	}
}

// rewrap leaves its job running beside what comes next.
func (d *keyDriver) rewrap() {
	d.replica().MustJob(d.t, keys.JobRequest{Kind: keys.RewrapJob, Scope: keys.Scope{Item: keys.Item{Name: "organization_id", Value: d.org()}}})
}

func (d *keyDriver) shred() {
	org, r := d.org(), d.replica()
	job := r.MustJob(d.t, shredOf(org))
	for _, o := range d.objects {
		o.shredded = o.shredded || o.org == org
	}
	d.check() // from the answer on
	if ended := r.MustEndJob(d.t, job.ID); ended.State != keys.JobSucceeded {
		d.rt.Fatalf("shred: %+v", ended)
	}
}

func (d *keyDriver) check() {
	for _, r := range d.replicas {
		for _, o := range d.objects {
			got, err := r.Vault.Get(d.t.Context(), r.Call(), o.id)
			switch {
			case o.shredded && !errors.Is(err, keys.ErrShredded):
				d.rt.Fatalf("a shredded object: %v", err)
			case !o.shredded && (err != nil || !got.Value.Equal(vaulttest.Value(o.value))):
				d.rt.Fatalf("an object does not open to what was acknowledged: %v", err)
			}
		}
	}
}
