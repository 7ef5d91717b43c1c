package keys_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
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

// atOnceTime is for how long new plans are begun. With -rapid.checks=N all N are, however long that takes.
const atOnceTime = 12 * time.Second

// TestOperationsAtOnce: several workers, at once and on two replicas of which one has a watch that stalls,
// create, update, delete and read, use data keys, rotate, rewrap, re-encrypt and shred, while runners die in the middle
// of their jobs and others go on. What was acknowledged opens to the right value, and what was shredded
// never does, also while the shred runs.
func TestOperationsAtOnce(t *testing.T) {
	h := newHouse(t)
	checks := flag.Lookup("rapid.checks")
	began, bounded := time.Now(), checks.Value.String() == checks.DefValue
	counts, runs := map[string]int{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		work := rapid.SliceOfN(rapid.SliceOfN(drawStep(), 4, 12), 3, 5).Draw(rt, "workers")
		// A plan that failed is run again as often as rapid likes, to find a smaller one.
		if bounded && time.Since(began) > atOnceTime && !t.Failed() {
			return
		}
		runs++
		r := &atOnce{house: h, run: runs, truth: newTruth()}
		r.do(work)
		r.settle()
		for what, n := range r.truth.counts {
			counts[what] += n
		}
		if len(r.truth.problems) > 0 {
			bounded = false
			rt.Fatalf("%s", strings.Join(r.truth.problems, "\n"))
		}
	})
	t.Logf("%d plans: %v", runs, counts)
	for _, what := range []string{"create", "update", "delete", "read", "data key", "decrypt", "rotate", "rotate job", "rewrap job", "reencrypt job", "shred", "crash", "stall"} {
		if counts[what] == 0 && runs >= 20 { // a slow machine gets to fewer, which may lack one
			t.Errorf("no %s in %d plans", what, runs)
		}
	}
}

// plannedStep is what a worker does next. The numbers choose among what there is by then.
type plannedStep struct {
	What    string
	Replica int
	Org     int
	Number  int
	Pause   time.Duration
}

func drawStep() *rapid.Generator[plannedStep] {
	return rapid.Custom(func(rt *rapid.T) plannedStep {
		return plannedStep{
			What: rapid.SampledFrom([]string{
				"create", "create", "create", "update", "update", "update", "delete", "read", "data key", "decrypt",
				"rotate", "rotate", "rotate all", "rewrap", "rewrap", "re-encrypt", "shred", "crash", "stall",
			}).Draw(rt, "what"),
			Replica: rapid.IntRange(0, 1).Draw(rt, "replica"), Org: rapid.IntRange(0, 1).Draw(rt, "org"), Number: rapid.IntRange(0, 20).Draw(rt, "number"),
			Pause: time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(rt, "pause")) * time.Millisecond,
		}
	})
}

// house is two replicas, in whose seats others sit after a crash. It outlives a plan.
type house struct {
	t     *testing.T
	first *vaulttest.Stack
	seats [2]*seat
	// open is closed when the watch of the second seat may go on; nil while it does.
	open atomic.Pointer[chan struct{}]
}

// seat is the place of one replica. It is locked for reading by whoever uses that, so that the next one
// takes it between two calls.
type seat struct {
	mu      sync.RWMutex
	replica *vaulttest.Stack
	runner  *keys.Runner
	store   *mortal
	// crashing is held by who lets the replica die.
	crashing sync.Mutex
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, first: vaulttest.New(t), seats: [2]*seat{{}, {}}}
	for i := range h.seats {
		h.sit(i)
	}
	return h
}

// sit puts a new replica and its runner into a seat.
func (h *house) sit(i int) {
	s := h.seats[i]
	s.replica = h.first.Replica(h.t, func(c *vaulttest.Config) {
		if i == 1 {
			c.HoldWatch = h.holdWatch
		}
	})
	s.store = &mortal{OperationsStore: s.replica.Store, dead: make(chan struct{})}
	s.runner = s.replica.MustRunner(h.t, func(c *keys.RunnerConfig) {
		// One often takes the other for dead although it lives.
		c.Store, c.Takeover = s.store, []time.Duration{20 * time.Millisecond, 100 * time.Millisecond}[i]
	})
}

func (h *house) holdWatch(ctx context.Context) {
	if open := h.open.Load(); open != nil {
		select {
		case <-*open:
		case <-ctx.Done():
		}
	}
}

// stall stops the watch of the second seat for a while, unless it is stopped already.
func (h *house) stall(d time.Duration) {
	open := make(chan struct{})
	if !h.open.CompareAndSwap(nil, &open) {
		return
	}
	time.Sleep(d)
	h.open.Store(nil)
	close(open)
}

// crash lets the runner of a seat die after this many changes more, or soon, and puts another replica there,
// which remembers nothing.
func (h *house) crash(i, after int) {
	s := h.seats[i]
	s.crashing.Lock()
	defer s.crashing.Unlock()
	s.store.dieAfter(after)
	select {
	case <-s.store.dead:
	case <-time.After(20 * time.Millisecond):
		s.store.die()
	}
	s.runner.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.replica
	h.sit(i)
	old.Store.Close()
}

// mortal is the store of a runner whose process is killed: nothing of it gets through any more, and it gives
// no job up. Of the last change it is not told.
type mortal struct {
	keys.OperationsStore
	// left is how many changes more there are; 0 is any number.
	left atomic.Int64
	once sync.Once
	dead chan struct{}
}

func (m *mortal) dieAfter(n int) { m.left.Store(int64(n) + 1) }

func (m *mortal) die() { m.once.Do(func() { close(m.dead) }) }

// change lets a change through to the store, if somebody lives to ask for it.
func (m *mortal) change(do func() error) error {
	gone := &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown}
	select {
	case <-m.dead:
		return gone
	default:
	}
	err := do()
	if m.left.Load() > 0 && m.left.Add(-1) == 0 {
		m.die()
		return gone
	}
	return err
}

func (m *mortal) Rewrap(ctx context.Context, env access.EnvironmentID, h keys.Holder, deks [][]byte, c []keys.Conditions) error {
	return m.change(func() error { return m.OperationsStore.Rewrap(ctx, env, h, deks, c) })
}

func (m *mortal) Reencrypt(ctx context.Context, env access.EnvironmentID, h keys.Holder, at int, s keys.Sealed, job time.Time, c keys.Conditions) error {
	return m.change(func() error { return m.OperationsStore.Reencrypt(ctx, env, h, at, s, job, c) })
}

func (m *mortal) ReplaceKEK(ctx context.Context, r keys.KEKRecord, generation int64, e events.Event) error {
	return m.change(func() error { return m.OperationsStore.ReplaceKEK(ctx, r, generation, e) })
}

func (m *mortal) Shred(ctx context.Context, r keys.KEKRecord, generation int64, e events.Event) error {
	return m.change(func() error { return m.OperationsStore.Shred(ctx, r, generation, e) })
}

func (m *mortal) PutJob(ctx context.Context, j keys.Job, revision int64, e *events.Event) (next int64, err error) {
	err = m.change(func() error {
		next, err = m.OperationsStore.PutJob(ctx, j, revision, e)
		return err
	})
	return next, err
}

func (m *mortal) EndShred(ctx context.Context, j keys.Job, revision int64, e events.Event) (next int64, err error) {
	err = m.change(func() error {
		next, err = m.OperationsStore.EndShred(ctx, j, revision, e)
		return err
	})
	return next, err
}

// atOnce is one plan that is carried out.
type atOnce struct {
	*house
	run   int
	truth *truth

	mu sync.Mutex
	// jobs are all that were made. Guarded by mu.
	jobs []keys.JobID
}

// do lets all workers do their steps.
func (r *atOnce) do(work [][]plannedStep) {
	var all sync.WaitGroup
	for n, steps := range work {
		w := &worker{atOnce: r, name: fmt.Sprintf("run %d worker %d", r.run, n)}
		all.Go(func() {
			for _, s := range steps {
				time.Sleep(s.Pause)
				w.step(s)
			}
		})
	}
	all.Wait()
}

// on does something on the replica of a seat.
func (r *atOnce) on(i int, do func(s *vaulttest.Stack)) {
	seat := r.seats[i]
	seat.mu.RLock()
	defer seat.mu.RUnlock()
	do(seat.replica)
}

// look reads a thing on one replica and judges what it shows.
func (r *atOnce) look(i int, t *thing) (opens bool) {
	r.on(i, func(s *vaulttest.Stack) {
		from, value, what := r.truth.begin(), "", "read"
		var err error
		if t.blob != nil {
			what = "decrypt"
			var k vault.DataKey
			if k, err = s.Vault.DecryptDataKey(r.t.Context(), s.Call(), t.blob); err == nil {
				value = string(k.Key.Reveal())
			}
		} else {
			var o vault.Object
			if o, err = s.Vault.Get(r.t.Context(), s.Call(), t.object); err == nil {
				value = string(o.Value.Reveal())
			}
		}
		r.truth.answered(from, what, func(s span) { r.truth.read(t, value, s, err) })
		opens = err == nil
	})
	return opens
}

// all are the things of an organization, of every one if it is empty.
func (r *atOnce) all(org string) (found []*thing) {
	r.truth.mu.Lock()
	defer r.truth.mu.Unlock()
	for _, t := range r.truth.things {
		if org == "" || t.org == org {
			found = append(found, t)
		}
	}
	return found
}
