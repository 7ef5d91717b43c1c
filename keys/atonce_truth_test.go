package keys_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
)

// truth is what must be true of all that was answered. Its clock counts: whatever was done lasted from the
// count at which it was asked for to the one at which it was answered, and of two things one came first only
// if it was answered before the other was asked for.
type truth struct {
	mu sync.Mutex
	// All below are guarded by mu.
	clock  int64
	things []*thing
	shreds []*orgShred
	// dead is since when somebody was told that a KEK is destroyed, or must be.
	dead     map[keys.ID]int64
	problems []string
	counts   map[string]int
}

// never is the answer that did not come.
const never = math.MaxInt64

// span is how long something lasted.
type span struct{ from, to int64 }

// thing is an object or a client's data key: what has a value under a KEK. Only one worker changes it.
type thing struct {
	org  string
	kek  keys.ID
	made span

	object vault.ObjectID
	blob   []byte

	// values are the object's in order, acknowledged or of an outcome nobody knows; a data key has one.
	values []string
	wrote  []span
	// removed is when its removal lasted; zero without one.
	removed span
}

// orgShred is the shred of all contexts of an organization.
type orgShred struct {
	org  string
	job  keys.JobID
	told span
	// ended is when somebody saw that its job had; never until then.
	ended int64
}

func newTruth() *truth { return &truth{dead: map[keys.ID]int64{}, counts: map[string]int{}} }

// begin is the count at which something is asked for.
func (w *truth) begin() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock++
	return w.clock
}

// answered takes the answer to what was asked for then. Note is called with the truth locked.
func (w *truth) answered(from int64, what string, note func(s span)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock++
	w.counts[what]++
	note(span{from, w.clock})
}

func (w *truth) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// dies notes that a KEK is destroyed at the latest then.
func (w *truth) dies(kek keys.ID, at int64) {
	if since, known := w.dead[kek]; !known || at < since {
		w.dead[kek] = at
	}
}

// isDead reports a KEK that was destroyed before something began.
func (w *truth) isDead(kek keys.ID, s span) bool {
	since, known := w.dead[kek]
	return known && since < s.from
}

// mayBeShredded reports that a shred can have had to do with what lasted so long.
func (w *truth) mayBeShredded(org string, made, s span) bool {
	for _, d := range w.shreds {
		if d.org == org && d.told.from < s.to && d.ended > made.from {
			return true
		}
	}
	return false
}

// shredded takes the acknowledgement of a shred: what was made before it was asked for is gone.
func (w *truth) shredded(d *orgShred) {
	for _, t := range w.things {
		if t.org == d.org && t.made.to < d.told.from {
			w.dies(t.kek, d.told.to)
		}
	}
}

// notShredded takes the refusal of a shred, which did nothing.
func (w *truth) notShredded(d *orgShred) {
	w.shreds = slices.DeleteFunc(w.shreds, func(o *orgShred) bool { return o == d })
}

// made takes a thing that was created, or the refusal to.
func (w *truth) made(t *thing, value string, err error) {
	switch {
	case err == nil:
		if w.isDead(t.kek, t.made) {
			w.problem("something new is under KEK %s, which was destroyed before", t.kek)
		}
		t.values, t.wrote = []string{value}, []span{t.made}
		w.things = append(w.things, t)
	case errors.Is(err, keys.ErrShredding), errors.Is(err, keys.ErrShredded):
		if !w.mayBeShredded(t.org, t.made, t.made) {
			w.problem("create under %s, where nothing is shredded: %v", t.org, err)
		}
	case !nothingDone(err):
		w.problem("create under %s: %v", t.org, err)
	}
}

// updated takes the answer to an update.
func (w *truth) updated(t *thing, value string, s span, err error) {
	switch {
	case err == nil:
		if w.isDead(t.kek, s) {
			w.problem("an update under KEK %s, which was destroyed before", t.kek)
		}
		t.values, t.wrote = append(t.values, value), append(t.wrote, s)
	case isUnknown(err):
		t.values, t.wrote = append(t.values, value), append(t.wrote, span{s.from, never})
	default:
		w.refused("update", t, s, err)
	}
}

// refused takes the refusal of something that needs the KEK of a thing.
func (w *truth) refused(what string, t *thing, s span, err error) {
	switch {
	case errors.Is(err, keys.ErrShredded):
		if !w.mayBeShredded(t.org, t.made, s) {
			w.problem("%s under %s, where nothing is shredded: %v", what, t.org, err)
		}
		w.dies(t.kek, s.to)
	case !nothingDone(err):
		w.problem("%s under %s: %v", what, t.org, err)
	}
}

// read takes what a read showed.
func (w *truth) read(t *thing, value string, s span, err error) {
	gone := t.removed.to != 0 && t.removed.to < s.from
	switch {
	case errors.Is(err, vault.ErrNotFound):
		if t.removed.from == 0 || t.removed.from > s.to {
			w.problem("object %s is not there, and nobody removed it", t.object)
		}
	case nothingDone(err):
	case gone:
		w.problem("object %s was removed and is there: %v", t.object, err)
	case err != nil:
		w.refused("read", t, s, err)
	case w.isDead(t.kek, s):
		w.problem("%q opens although KEK %s was destroyed before", value, t.kek)
	case !t.mayBe(value, s):
		w.problem("%q was read where one of %q was written", value, t.values)
	}
}

// mayBe reports a value that a read may show: the last one acknowledged before it, or a later one that was
// asked for before its answer.
func (t *thing) mayBe(value string, s span) bool {
	for i := len(t.values) - 1; i >= 0; i-- {
		if t.values[i] == value && t.wrote[i].from < s.to {
			return true
		}
		if t.wrote[i].to < s.from {
			return false
		}
	}
	return false
}

// nothingDone reports that etcd was not to be had for a while, as on a busy machine, or that others were
// faster too often: nothing was changed, and nothing told.
func nothingDone(err error) bool {
	return outage.Of(err) != nil && !isUnknown(err) || errors.Is(err, keys.ErrConflict) || errors.Is(err, vault.ErrConflict)
}

// isUnknown reports a change of which nobody knows whether it was made.
func isUnknown(err error) bool {
	down := outage.Of(err)
	return down != nil && down.Kind == outage.Unknown
}
