package keys_test

import (
	"errors"
	"fmt"
	"time"

	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// worker does one step of a plan after the other. Objects are changed by the worker who made them.
type worker struct {
	*atOnce
	name  string
	count int
	own   []*thing
}

func (w *worker) step(s plannedStep) {
	switch s.What {
	case "create":
		w.create(s)
	case "update":
		w.update(s)
	case "delete":
		w.remove(s)
	case "data key":
		w.dataKey(s)
	case "read", "decrypt":
		if found := w.all(""); len(found) > 0 {
			w.look(s.Replica, found[s.Number%len(found)])
		}
	case "rotate":
		w.rotate(s)
	case "rotate all":
		w.job(s, keys.JobRequest{Kind: keys.RotateJob, Scope: scopeOf(w.org(s))})
	case "rewrap":
		w.job(s, keys.JobRequest{Kind: keys.RewrapJob, Scope: scopeOf(w.org(s)), Rate: 1000 * (s.Number % 3)})
	case "re-encrypt":
		w.job(s, keys.JobRequest{Kind: keys.ReencryptJob, Scope: scopeOf(w.org(s))})
	case "shred":
		w.shred(s)
	case "crash":
		from := w.truth.begin()
		w.crash(s.Replica, s.Number)
		w.truth.answered(from, "crash", func(span) {})
	case "stall":
		// Now and then longer than a fence waits before it starts the watch anew.
		d := time.Duration(5*s.Number) * time.Millisecond
		if s.Number == 20 {
			d = 1200 * time.Millisecond
		}
		from := w.truth.begin()
		w.stall(d)
		w.truth.answered(from, "stall", func(span) {})
	}
}

func (w *worker) org(s plannedStep) string { return fmt.Sprintf("run %d org %d", w.run, s.Org) }

func scopeOf(org string) keys.Scope {
	return keys.Scope{Item: keys.Item{Name: "organization_id", Value: org}}
}

// next is a value that nothing else has.
func (w *worker) next() string {
	w.count++
	return fmt.Sprintf("%s value %d", w.name, w.count)
}

// mine is an object of this worker that it has not removed; nil if there is none.
func (w *worker) mine(s plannedStep) *thing {
	if len(w.own) == 0 {
		return nil
	}
	return w.own[s.Number%len(w.own)]
}

func (w *worker) create(s plannedStep) {
	w.on(s.Replica, func(r *vaulttest.Stack) {
		t, value := &thing{org: w.org(s)}, w.next()
		from := w.truth.begin()
		m, err := r.Vault.Create(w.t.Context(), r.Call(), vault.CreateRequest{
			Name: value, Value: vaulttest.Value(value), Context: vaulttest.MustContext(w.t, "organization_id", t.org),
		})
		w.truth.answered(from, "create", func(s span) {
			t.object, t.kek, t.made = m.ID, m.KeyID, s
			w.truth.made(t, value, unlessUnknown(err))
		})
		if err == nil {
			w.own = append(w.own, t)
		}
	})
}

// unlessUnknown takes the outcome that nobody knows of for a refusal: what may have been created has no id
// to be asked for by.
func unlessUnknown(err error) error {
	if isUnknown(err) {
		return keys.ErrConflict
	}
	return err
}

func (w *worker) update(s plannedStep) {
	t := w.mine(s)
	if t == nil {
		return
	}
	w.on(s.Replica, func(r *vaulttest.Stack) {
		value, from := w.next(), w.truth.begin()
		_, err := r.Vault.Update(w.t.Context(), r.Call(), vault.UpdateRequest{ID: t.object, Value: vaulttest.Value(value)})
		w.truth.answered(from, "update", func(s span) { w.truth.updated(t, value, s, err) })
	})
}

// remove needs no key: it goes through whatever became of that.
func (w *worker) remove(s plannedStep) {
	t := w.mine(s)
	if t == nil {
		return
	}
	w.own[s.Number%len(w.own)] = w.own[len(w.own)-1]
	w.own = w.own[:len(w.own)-1]
	w.on(s.Replica, func(r *vaulttest.Stack) {
		from := w.truth.begin()
		w.truth.answered(from, "delete begins", func(s span) { t.removed = span{s.from, never} })
		_, err := r.Vault.Delete(w.t.Context(), r.Call(), vault.DeleteRequest{ID: t.object})
		w.truth.answered(from, "delete", func(s span) {
			switch {
			case err == nil:
				t.removed = s
			case !nothingDone(err) && !isUnknown(err):
				w.truth.problem("delete of %s: %v", t.object, err)
			}
		})
	})
}

func (w *worker) dataKey(s plannedStep) {
	w.on(s.Replica, func(r *vaulttest.Stack) {
		t := &thing{org: w.org(s)}
		from := w.truth.begin()
		k, err := r.Vault.CreateDataKey(w.t.Context(), r.Call(), vaulttest.MustContext(w.t, "organization_id", t.org))
		value := ""
		if err == nil {
			value, t.blob = string(k.Key.Reveal()), k.Blob
			var header keys.BlobHeader
			header, err = r.Keys.ParseDataKey(k.Blob)
			t.kek = header.KeyID
		}
		w.truth.answered(from, "data key", func(s span) {
			t.made = s
			w.truth.made(t, value, unlessUnknown(err))
		})
	})
}

func (w *worker) rotate(s plannedStep) {
	found := w.all("")
	if len(found) == 0 {
		return
	}
	t := found[s.Number%len(found)]
	w.on(s.Replica, func(r *vaulttest.Stack) {
		from := w.truth.begin()
		_, err := r.Operations.RotateKEK(w.t.Context(), r.Call(), t.kek)
		w.truth.answered(from, "rotate", func(s span) {
			switch {
			case err == nil && w.truth.isDead(t.kek, s):
				w.truth.problem("KEK %s, which was destroyed before, was rotated", t.kek)
			case err != nil && !isUnknown(err):
				w.truth.refused("rotate", t, s, err)
			}
		})
	})
}

// job makes a job that runs beside what comes next.
func (w *worker) job(s plannedStep, request keys.JobRequest) {
	w.on(s.Replica, func(r *vaulttest.Stack) {
		from := w.truth.begin()
		j, err := r.Operations.CreateJob(w.t.Context(), r.Call(), request)
		w.truth.answered(from, string(request.Kind)+" job", func(span) {
			if err != nil && !nothingDone(err) && !isUnknown(err) {
				w.truth.problem("%s job: %v", request.Kind, err)
			}
		})
		w.keep(j.ID, err)
	})
}

func (w *worker) keep(job keys.JobID, err error) {
	if err == nil {
		w.mu.Lock()
		w.jobs = append(w.jobs, job)
		w.mu.Unlock()
	}
}

// shred looks, as soon as it is acknowledged, at all there is of the organization, on both replicas.
func (w *worker) shred(s plannedStep) {
	d := &orgShred{org: w.org(s), ended: never}
	w.on(s.Replica, func(r *vaulttest.Stack) {
		from := w.truth.begin()
		// Before it is answered it may be felt.
		w.truth.answered(from, "shred begins", func(s span) {
			d.told = span{s.from, never}
			w.truth.shreds = append(w.truth.shreds, d)
		})
		j, err := r.Operations.CreateJob(w.t.Context(), r.Call(), shredOf(d.org))
		w.truth.answered(from, "shred", func(s span) {
			switch {
			case err == nil:
				d.job, d.told = j.ID, s
				w.truth.shredded(d)
			case errors.Is(err, keys.ErrShredding), nothingDone(err):
				w.truth.notShredded(d)
			case !isUnknown(err):
				w.truth.problem("shred of %s: %v", d.org, err)
			}
		})
		w.keep(j.ID, err)
	})
	if d.job == "" {
		return
	}
	for _, t := range w.all(d.org) {
		w.look(s.Number%2, t)
		w.look(1-s.Number%2, t)
	}
	if s.Number%2 == 0 {
		w.await(d.job)
	}
}

// await waits for the end of a job and notes when that was.
func (r *atOnce) await(id keys.JobID) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var j keys.Job
		var err error
		from := r.truth.begin()
		r.on(0, func(s *vaulttest.Stack) { j, err = s.Operations.Job(r.t.Context(), s.Call(), id) })
		ended := err == nil && !j.EndedAt.IsZero()
		late := time.Now().After(deadline)
		r.truth.answered(from, "look at a job", func(s span) {
			switch {
			case ended && j.State != keys.JobSucceeded:
				r.truth.problem("%s job ended as %s, %s, with %+v", j.Kind, j.State, j.Reason, j.Counts)
			case !ended && late:
				r.truth.problem("%s job does not end: %+v, %v", j.Kind, j, err)
			}
			for _, d := range r.truth.shreds {
				if ended && d.job == id {
					d.ended = min(d.ended, s.to)
				}
			}
		})
		if ended || late {
			return
		}
	}
}

// settle waits for all jobs and looks at everything on both replicas. What is left after one rewrap more is
// what there would be if all had been done one after the other: nothing living is stale.
func (r *atOnce) settle() {
	for _, id := range r.jobs {
		r.await(id)
	}
	for org := range 2 {
		w := &worker{atOnce: r}
		// Until there is one: etcd may be away for a moment.
		for made := len(r.jobs); len(r.jobs) == made && len(r.truth.problems) == 0; {
			w.job(plannedStep{Org: org}, keys.JobRequest{Kind: keys.RewrapJob, Scope: scopeOf(fmt.Sprintf("run %d org %d", r.run, org))})
		}
		if len(r.truth.problems) > 0 {
			return
		}
		r.await(r.jobs[len(r.jobs)-1])
	}
	for _, t := range r.all("") {
		first, second := r.look(0, t), r.look(1, t)
		if first != second {
			r.complain("the thing %s%x opens on one replica only (%v, %v)", t.object, t.blob, first, second)
		}
		if first && t.blob == nil {
			r.on(1, func(s *vaulttest.Stack) { r.mustBeFresh(s, t) })
		}
	}
}

// mustBeFresh looks whether all versions of an object are under the current version of its KEK.
func (r *atOnce) mustBeFresh(s *vaulttest.Stack, t *thing) {
	ctx, env := r.t.Context(), s.Environment.ID()
	err := s.Store.Fence(ctx)
	if err != nil {
		return // etcd is away for a moment
	}
	h, err := s.Store.Header(ctx, env, t.object)
	if err != nil {
		r.complain("header of %s: %v", t.object, err)
		return
	}
	k, _, err := s.Store.KEK(ctx, env, h.KeyID)
	if err != nil {
		r.complain("KEK %s: %v", h.KeyID, err)
		return
	}
	for i := range h.Versions {
		if k.Stale(h.Versions[i].WrappedDEK) {
			r.complain("version %d of %s is stale after a rewrap", h.Versions[i].Sequence, t.object)
		}
	}
}

func (r *atOnce) complain(format string, args ...any) {
	r.truth.mu.Lock()
	defer r.truth.mu.Unlock()
	r.truth.problem(format, args...)
}
