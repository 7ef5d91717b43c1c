package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// sealedForm is what is stored of the versions of an object, newest first.
type sealedForm struct {
	header *vault.Header
	values [][]byte
}

func mustSealedForm(t testing.TB, s *vaulttest.Stack, id vault.ObjectID) sealedForm {
	t.Helper()
	must(t, s.Store.Fence(t.Context()))
	h, err := s.Store.Header(t.Context(), s.Environment.ID(), id)
	must(t, err)
	f := sealedForm{header: h.Header}
	for i := range h.Versions {
		value, err := s.Store.Ciphertext(t.Context(), s.Environment.ID(), id, h.Versions[i].Sequence)
		must(t, err)
		f.values = append(f.values, value)
	}
	return f
}

// mustDiffer wants every version under another DEK, with another ciphertext and etag, and all else as it was.
func mustDiffer(t testing.TB, s *vaulttest.Stack, before, after sealedForm) {
	t.Helper()
	context := after.header.Context()
	for i := range before.header.Versions {
		one, other := before.header.Versions[i], after.header.Versions[i]
		if one.ID != other.ID || one.Sequence != other.Sequence || !one.CreatedAt.Equal(other.CreatedAt) || one.Author != other.Author || one.Size != other.Size {
			t.Errorf("version %d of %s: %+v became %+v", i, before.header.ID, one, other)
		}
		if bytes.Equal(one.WrappedDEK, other.WrappedDEK) || bytes.Equal(before.values[i], after.values[i]) || one.ETag == other.ETag || other.ETag != vault.ETag(after.values[i]) {
			t.Errorf("version %d of %s is not sealed again", i, before.header.ID)
		}
		open := func(wrapped, ciphertext []byte) (string, error) {
			value, err := s.Keys.Open(t.Context(), s.MustPermit(t, context), keys.Sealed{KeyID: after.header.KeyID, WrappedDEK: wrapped, Ciphertext: ciphertext}, after.header.Binding(&other))
			return string(value.Reveal()), err
		}
		was, err := open(one.WrappedDEK, before.values[i])
		must(t, err)
		if is, err := open(other.WrappedDEK, after.values[i]); err != nil || is != was {
			t.Errorf("version %d of %s opens to %q, %v, want %q", i, before.header.ID, is, err, was)
		}
		// The DEK that was: it opens nothing of what is stored now.
		if _, err := open(one.WrappedDEK, after.values[i]); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("the old DEK of version %d of %s opens the new ciphertext: %v", i, before.header.ID, err)
		}
	}
}

// Every version of every object in the scope gets a fresh DEK; nothing else changes, and a dry run changes nothing.
func TestReencrypt(t *testing.T) {
	s := vaulttest.New(t)
	s.MustRunner(t)
	one, other := mustObjects(t, s, 6, "organization_id", "org_1"), mustObjects(t, s, 2, "organization_id", "org_2")
	before := map[vault.ObjectID]sealedForm{}
	for _, stored := range []map[vault.ObjectID]string{one, other} {
		for id := range stored {
			before[id] = mustSealedForm(t, s, id)
		}
	}
	scope := keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_1"}}
	want := keys.Counts{Total: 8, Done: 8, Changed: 6}
	if j := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, Scope: scope, DryRun: true}).ID); j.State != keys.JobSucceeded || j.Counts != want {
		t.Errorf("dry run: %s %+v, want %+v", j.State, j.Counts, want)
	}
	for id := range one {
		if after := mustSealedForm(t, s, id); !bytes.Equal(before[id].values[0], after.values[0]) {
			t.Errorf("a dry run changed %s", id)
		}
	}
	if j := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, Scope: scope}).ID); j.State != keys.JobSucceeded || j.Counts != want {
		t.Errorf("re-encrypt: %s %+v, want %+v", j.State, j.Counts, want)
	}
	for id := range one {
		mustDiffer(t, s, before[id], mustSealedForm(t, s, id))
	}
	for id := range other {
		if after := mustSealedForm(t, s, id); !bytes.Equal(before[id].values[0], after.values[0]) {
			t.Errorf("%s is not in the scope and was changed", id)
		}
	}
	// Once more, it is done once more, by whoever runs it.
	r := s.Replica(t)
	r.MustRunner(t, impatient)
	if j := r.MustEndJob(t, r.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, All: true}).ID); j.State != keys.JobSucceeded || j.Counts.Failed != 0 || j.Counts.Done != 8 {
		t.Errorf("once more: %+v", j)
	}
	for id := range one {
		mustDiffer(t, r, before[id], mustSealedForm(t, r, id))
	}
}

// Reads, updates, deletes and rotations go on meanwhile, on another replica, and none of them fails.
func TestReencryptBesideEverythingElse(t *testing.T) {
	s := vaulttest.New(t)
	r := s.Replica(t)
	stored, busy := mustObjects(t, s, 8, "organization_id", "org_1"), mustObjects(t, s, 4, "organization_id", "org_1", "busy", "yes")
	live := startTraffic(t, r, stored)
	live.work.Go(func() {
		for n := 0; ; n++ {
			for id := range busy {
				select {
				case <-live.stop:
					return
				case <-time.After(20 * time.Millisecond): // an object that never rests is never done
				}
				if _, err := r.Vault.Update(t.Context(), r.Call(), vault.UpdateRequest{ID: id, Value: vaulttest.Value(fmt.Sprint("update ", n))}); err != nil {
					t.Errorf("update %d: %v", n, err)
					return
				}
				live.passed.Add(1)
			}
		}
	})
	for _, runner := range []*vaulttest.Stack{s, r} {
		runner.MustRunner(t, impatient)
	}
	for range 2 {
		mustRotate(t, s, kekOf(t, s, stored))
		j := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, Scope: scopeOf("org_1")}).ID)
		if j.State != keys.JobSucceeded || j.Counts.Failed != 0 {
			t.Errorf("re-encrypt: %+v", j)
		}
		for id := range stored {
			for _, v := range mustSealedForm(t, s, id).header.Versions {
				if !v.ReencryptedAt.Equal(j.CreatedAt) {
					t.Errorf("version %d of %s was not done by the job", v.Sequence, id)
				}
			}
		}
	}
	live.end(t)
	// Sealed again is wrapped under the current key too.
	if stale := mustCountStale(t, s, stored); stale != 0 {
		t.Errorf("%d versions are stale", stale)
	}
	for id := range busy {
		s.MustGet(t, id)
	}
}

// editing is the store of somebody who edits the values of one object.
type editing struct {
	keys.OperationsStore
	object atomic.Pointer[vault.ObjectID]
}

func (e *editing) HeldCiphertext(ctx context.Context, env access.EnvironmentID, h keys.Holder, at int) ([]byte, error) {
	value, err := e.OperationsStore.HeldCiphertext(ctx, env, h, at)
	if id := e.object.Load(); err == nil && id != nil && strings.HasSuffix(h.Key, string(*id)) {
		value = bytes.Clone(value)
		value[len(value)-1] ^= 1
	}
	return value, err
}

// A value that somebody edited stays as it is, is told of, and does not hold the others up; what is shredded is
// nothing to be done for.
func TestReencryptOfWhatDoesNotOpen(t *testing.T) {
	s := vaulttest.New(t)
	store := &editing{OperationsStore: s.Store}
	s.MustRunner(t, func(c *keys.RunnerConfig) { c.Store = store })
	stored := mustObjects(t, s, 3, "organization_id", "org_1")
	mustObjects(t, s, 2, "organization_id", "org_2")
	s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ShredJob, Scope: scopeOf("org_2"), Confirm: "organization_id=org_2"}).ID)
	var victim vault.ObjectID
	for id := range stored {
		victim = id
	}
	before := mustSealedForm(t, s, victim)
	store.object.Store(&victim)
	j := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, All: true}).ID)
	if want := (keys.Counts{Total: 5, Done: 5, Changed: 2, Failed: 1}); j.State != keys.JobFailed || j.Reason != "incomplete" || j.Counts != want {
		t.Errorf("%s %s %+v, want %+v", j.State, j.Reason, j.Counts, want)
	}
	if after := mustSealedForm(t, s, victim); !bytes.Equal(after.values[0], before.values[0]) || !bytes.Equal(after.header.Current().WrappedDEK, before.header.Current().WrappedDEK) {
		t.Error("what did not open was changed")
	}
}
