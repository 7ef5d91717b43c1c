package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// A job that was cancelled leaves a CMK half attached, and says so; either way it is gone on with.
func TestAttachAgain(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	for i := range 6 {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
	}
	job, err := s.Operations.AttachCMK(t.Context(), s.Call(), keys.AttachRequest{Item: one.item(), Key: one.arn, Rate: 1})
	must(t, err)
	s.MustRunner(t)
	_, err = s.Operations.CancelJob(t.Context(), s.Call(), job.ID)
	must(t, err)
	mustCMK(t, s, job.CMK, keys.CMKAttaching)
	if again := one.mustBegin(t, s); again.CMK != job.CMK || s.MustEndJob(t, again.ID).State != keys.JobSucceeded {
		t.Errorf("attached again: %+v", again)
	}
	one.mustBeUnder(t, s, true)
	detach, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: job.CMK, Rate: 1})
	must(t, err)
	_, err = s.Operations.CancelJob(t.Context(), s.Call(), detach.ID)
	must(t, err)
	mustCMK(t, s, job.CMK, keys.CMKDetaching)
	// What is made meanwhile does not escape.
	fresh := mustStoredKEK(t, s, "organization_id", "org_1", "n", "new")
	info, err := s.Operations.KEK(t.Context(), s.Call(), fresh)
	if err != nil || len(info.RootKeys) != 2 {
		t.Errorf("a new KEK: %+v, %v", info, err)
	}
	one.mustAttach(t, s)
	one.mustBeUnder(t, s, true)
}

// dyingSeal is the store of a node that is killed in the middle of attaching.
type dyingSeal struct{ dying }

func (d *dyingSeal) ResealKEK(ctx context.Context, r keys.KEKRecord, generation, mapRevision int64, e events.Event) error {
	if err := d.gone(); err != nil {
		return err
	}
	err := d.OperationsStore.ResealKEK(ctx, r, generation, mapRevision, e)
	if d.left.Add(-1) == 0 {
		close(d.dead)
		return &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown} // it was done, and nobody is told
	}
	return err
}

func (d *dyingSeal) ChangeCMKs(ctx context.Context, c keys.CMKChange) (int64, error) {
	if err := d.gone(); err != nil {
		return 0, err
	}
	return d.OperationsStore.ChangeCMKs(ctx, c)
}

// A node that dies in the middle leaves the job to others, of which two may run it at once: each KEK is sealed
// again once.
func TestAttachOutlivesItsNode(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	const contexts = 12
	for i := range contexts {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
	}
	for _, verb := range []string{"attach", "detach"} {
		node := s.Replica(t)
		first := &dyingSeal{dying{OperationsStore: node.Store, dead: make(chan struct{})}}
		first.left.Store(5)
		runner := node.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = first })
		var job keys.Job
		if verb == "attach" {
			job = one.mustBegin(t, s)
		} else {
			var err error
			job, err = s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: mustOnlyCMK(t, s).ID})
			must(t, err)
		}
		select {
		case <-first.dead:
		case <-time.After(time.Minute):
			t.Fatal("the first node did not get as far as to die")
		}
		var others []*keys.Runner
		for range 2 {
			others = append(others, s.Replica(t).MustRunner(t, impatient))
		}
		if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded || ended.Counts.Failed != 0 {
			t.Errorf("%s ended as %+v", verb, ended)
		}
		if n := one.mustBeUnder(t, s, verb == "attach"); n != contexts {
			t.Errorf("%d KEKs of %d", n, contexts)
		}
		for _, r := range append(others, runner) {
			r.Close()
		}
	}
	if told := mustEventsOf(t, s, events.KEKRotated); len(told) != 2*contexts {
		t.Errorf("%d events of %d KEKs, each sealed again twice", len(told), contexts)
	}
	if told := mustEventsOf(t, s, events.BYOKDeleted); len(told) != 1 {
		t.Errorf("%d events of the end", len(told))
	}
}

// KEKs that are made on two replicas while a key is attached, and while it is detached, neither escape it nor
// are left under it, and nobody who makes one waits.
func TestNoKEKEscapes(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one, late := all[0], s.Replica(t, func(c *vaulttest.Config) { c.WatchDelay = 20 * time.Millisecond })
	for i := range 10 {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint("before ", i))
	}
	late.MustRunner(t)
	busy := func(during func()) {
		t.Helper()
		var stop atomic.Bool
		var creators sync.WaitGroup
		for _, r := range []*vaulttest.Stack{s, late} {
			creators.Go(func() {
				for ; !stop.Load(); time.Sleep(5 * time.Millisecond) { // the machine has other work
					if _, err := create(t, r, "organization_id", "org_1", "n", r.IDs.UUID()); err != nil {
						t.Errorf("create meanwhile: %v", err)
						return
					}
				}
			})
		}
		during()
		stop.Store(true)
		creators.Wait()
	}
	var attached keys.CMK
	busy(func() { attached = one.mustAttach(t, s) })
	if n := one.mustBeUnder(t, s, true); n <= 10 {
		t.Error("nothing was made meanwhile")
	}
	busy(func() {
		job, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: attached.ID})
		must(t, err)
		if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded {
			t.Errorf("detaching ended as %+v", ended)
		}
	})
	one.mustBeUnder(t, s, false)
}

// What is under a key that is gone cannot be detached, only shredded; then the item is free of it.
func TestDeadCMK(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	s.MustRunner(t)
	for i := range 4 {
		mustStoredKEK(t, s, "organization_id", "org_1", "n", fmt.Sprint(i))
	}
	cmk := one.mustAttach(t, s)
	one.kms.ScheduleDeletion(one.arn)
	if _, err := s.Operations.VerifyCMK(t.Context(), s.Call(), cmk.ID); !isCMKRefused(err) {
		t.Errorf("verify: %v", err)
	}
	detach := func() (keys.Job, error) {
		return s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: cmk.ID})
	}
	if _, err := detach(); !isCMKRefused(err) {
		t.Errorf("detach: %v", err)
	}
	mustCMK(t, s, cmk.ID, keys.CMKAttached)

	// The key dies while it is detached.
	one.kms.Enable(one.arn)
	decrypts := 0
	one.kms.Policy(one.arn, func(op string, _ map[string]string) bool {
		if op == "Decrypt" {
			decrypts++
		}
		return decrypts <= 2 // the trial's and one more
	})
	job, err := detach()
	must(t, err)
	if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobFailed || ended.Reason != "cmk_refused" {
		t.Errorf("detaching ended as %+v", ended)
	}
	mustCMK(t, s, cmk.ID, keys.CMKDetaching)
	if _, err := create(t, s, "organization_id", "org_1", "n", "new"); !isCMKRefused(err) {
		t.Errorf("create: %v", err)
	}

	s.MustEndJob(t, s.MustJob(t, shredOf("org_1")).ID)
	job, err = detach()
	must(t, err)
	if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded {
		t.Errorf("detaching after the shred ended as %+v", ended)
	}
	if _, err := create(t, s, "organization_id", "org_1", "n", "new"); err != nil {
		t.Errorf("create in the end: %v", err)
	}
}

// heldSeal is a store whose first seal waits until it is let go.
type heldSeal struct {
	keys.OperationsStore
	once    sync.Once
	reached chan struct{}
	letGo   chan struct{}
	late    atomic.Pointer[error]
}

func (h *heldSeal) ResealKEK(ctx context.Context, r keys.KEKRecord, generation, mapRevision int64, e events.Event) error {
	mine := false
	h.once.Do(func() {
		mine = true
		close(h.reached)
		<-h.letGo
	})
	err := h.OperationsStore.ResealKEK(ctx, r, generation, mapRevision, e)
	if mine {
		h.late.Store(&err)
	}
	return err
}

// A node that hears late that its job was cancelled brings nothing back under a key that was detached meanwhile.
func TestLateSealChangesNothing(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	id := mustStoredKEK(t, s, "organization_id", "org_1")
	node := s.Replica(t)
	slow := &heldSeal{OperationsStore: node.Store, reached: make(chan struct{}), letGo: make(chan struct{})}
	runner := node.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = slow })
	job := one.mustBegin(t, s)
	select {
	case <-slow.reached:
	case <-time.After(time.Minute):
		t.Fatal("the job does not get as far as to seal")
	}
	_, err := s.Operations.CancelJob(t.Context(), s.Call(), job.ID)
	must(t, err)
	s.MustRunner(t)
	detach, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: job.CMK})
	must(t, err)
	if ended := s.MustEndJob(t, detach.ID); ended.State != keys.JobSucceeded {
		t.Fatalf("detaching ended as %+v", ended)
	}
	close(slow.letGo)
	runner.Close()
	if late := slow.late.Load(); late == nil || !errors.Is(*late, keys.ErrConflict) {
		t.Errorf("the late seal: %v", late)
	}
	if n := one.mustBeUnder(t, s, false); n != 1 {
		t.Errorf("%d KEKs", n)
	}
	info, err := s.Operations.KEK(t.Context(), s.Call(), id)
	if err != nil || info.Versions != 1 {
		t.Errorf("the KEK: %+v, %v", info, err)
	}
}

// beside is a store beside which something happens before each change of the map.
type beside struct {
	keys.OperationsStore
	happens func()
}

func (b *beside) ChangeCMKs(ctx context.Context, c keys.CMKChange) (int64, error) {
	b.happens()
	return b.OperationsStore.ChangeCMKs(ctx, c)
}

// What is made in the moment before a key is attached, released or gone is as what is made before or after.
func TestMadeInTheLastMoment(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one, made := all[0], 0
	s.MustRunner(t, func(c *keys.RunnerConfig) {
		c.Store = &beside{s.Store, func() {
			made++
			if _, err := create(t, s, "organization_id", "org_1", "n", fmt.Sprint(made)); err != nil {
				t.Error(err)
			}
		}}
	})
	cmk := one.mustAttach(t, s)
	if n := one.mustBeUnder(t, s, true); n != 1 {
		t.Errorf("%d KEKs were made beside attaching, want 1", n)
	}
	job, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: cmk.ID})
	must(t, err)
	if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded {
		t.Errorf("detaching ended as %+v", ended)
	}
	if n := one.mustBeUnder(t, s, false); n != 3 {
		t.Errorf("%d KEKs, want 3: one more before the release, and one before the end", n)
	}
}
