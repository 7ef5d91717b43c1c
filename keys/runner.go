package keys

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
)

const (
	// pollInterval is how often a runner looks for jobs; saveInterval how often a job saves its progress,
	// which is also its heartbeat.
	pollInterval = time.Second
	saveInterval = time.Second
	// takeover is after how long without a save an owner is taken for dead. It is above what one step may
	// wait for a root key and for etcd; if it is wrong, two nodes run the job and get the same result.
	takeover = 20 * time.Second
	// giveUpTimeout bounds what a stop waits for each job to be given up.
	giveUpTimeout = 2 * time.Second
	// maxRunning bounds the jobs that one node runs at once.
	maxRunning = 4
	// stepPage is how many records a job reads at once: its memory does not depend on how many there are.
	stepPage = 100
)

// RunnerConfig is what a [Runner] needs.
type RunnerConfig struct {
	// Keys, Store, Audit, Logger and Node (this replica's id) are required.
	Keys   *Keys
	Store  OperationsStore
	Audit  *audit.Log
	Logger *slog.Logger
	Node   string
	// Poll, Save and Takeover default to a second, a second and twenty.
	Poll, Save, Takeover time.Duration
}

// Runner runs jobs on one node, of whatever environment, until it is closed, and begins those that are due by a
// schedule. Any number of nodes may have one. Between its looks for jobs it has what expired leave the cache of its
// [Keys].
type Runner struct {
	keys  *Keys
	store OperationsStore
	audit *audit.Log
	log   *slog.Logger
	node  string

	poll, save, takeover time.Duration

	stop context.CancelFunc
	work sync.WaitGroup

	mu sync.Mutex // guards mine, for the time of a map operation
	// mine are the jobs that run here.
	mine map[JobID]bool
	// seen are the other nodes' running jobs. They belong to the goroutine of run.
	seen map[JobID]sighting
	// stuck is when a schedule could not be followed, by this node's clock. It belongs to that goroutine, too.
	stuck map[access.EnvironmentID]time.Time
}

// sighting is when a job was first seen at a revision, by this node's clock.
type sighting struct {
	revision int64
	at       time.Time
}

// NewRunner checks the config and begins.
func NewRunner(c RunnerConfig) (*Runner, error) {
	if c.Keys == nil || c.Store == nil || c.Audit == nil || c.Logger == nil || c.Node == "" {
		return nil, errors.New("keys: a runner needs Keys, Store, Audit, Logger and Node")
	}
	life, stop := context.WithCancel(context.Background())
	r := &Runner{
		keys: c.Keys, store: c.Store, audit: c.Audit, log: c.Logger, node: c.Node, stop: stop,
		poll: cmp.Or(c.Poll, pollInterval), save: cmp.Or(c.Save, saveInterval), takeover: cmp.Or(c.Takeover, takeover),
		mine: map[JobID]bool{}, seen: map[JobID]sighting{}, stuck: map[access.EnvironmentID]time.Time{},
	}
	r.work.Go(func() { r.run(life) })
	return r, nil
}

// Close stops at the next step of every job, which another node or the next start goes on with.
func (r *Runner) Close() {
	r.stop()
	r.work.Wait()
}

func (r *Runner) run(ctx context.Context) {
	tick := time.NewTicker(r.poll)
	defer tick.Stop()
	swept := time.Now()
	for {
		if cache := r.keys.cache; cache != nil && time.Since(swept) >= sweepInterval {
			cache.sweep(r.keys.now())
			swept = time.Now()
		}
		for _, env := range r.keys.environments.IDs() {
			jobs, err := r.store.Jobs(ctx, env)
			if err != nil && !errors.Is(err, ErrTampered) {
				continue // readiness tells of etcd
			}
			for _, j := range jobs {
				r.consider(ctx, j)
			}
			r.follow(ctx, env)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// consider takes a job over if nobody runs it.
func (r *Runner) consider(ctx context.Context, found JobAt) {
	if found.Job.ended() || !found.Job.Kind.known() || !r.able(ctx, found.Job) || !r.free(found.Job) || !r.orphaned(found) {
		return
	}
	next := *found.Job
	next.Owner = r.node
	next.Beat++
	next.State = JobRunning
	next.Restarted = !next.StartedAt.IsZero()
	if next.StartedAt.IsZero() {
		next.StartedAt = r.keys.now().UTC()
	}
	revision, err := r.store.PutJob(ctx, next, found.Revision, nil)
	if err != nil {
		return // another node was faster, or etcd is away: the next look tells
	}
	r.mu.Lock()
	r.mine[next.ID] = true
	r.mu.Unlock()
	delete(r.seen, next.ID)
	r.work.Go(func() {
		defer func() {
			r.mu.Lock()
			delete(r.mine, next.ID)
			r.mu.Unlock()
		}()
		r.do(ctx, next, revision)
	})
}

// able reports that this node has what the job needs: one that moves KEKs to a root key which is not at hand
// here is for another node.
func (r *Runner) able(ctx context.Context, j *Job) bool {
	if j.Kind != RewrapRootJob {
		return true
	}
	_, err := r.keys.roots.Key(ctx, j.RootKey)
	return err == nil
}

// free reports that this node does not run the job, and may run one more. A shred waits for no other.
func (r *Runner) free(j *Job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.mine[j.ID] && (len(r.mine) < maxRunning || j.Kind == ShredJob)
}

// orphaned reports that a job has no owner, because it is new or was given up, or one that seems to be dead. One
// that has this very node as its owner was left by the process before this one, or failed a moment ago.
func (r *Runner) orphaned(j JobAt) bool {
	if j.Job.State == JobQueued || j.Job.Owner == "" || j.Job.Owner == r.node {
		return true
	}
	if s, ok := r.seen[j.Job.ID]; !ok || s.revision != j.Revision {
		r.seen[j.Job.ID] = sighting{j.Revision, time.Now()}
		return false
	}
	return time.Since(r.seen[j.Job.ID].at) >= r.takeover
}

// do runs a job to its end, or as far as it gets: what stops it for a while, an outage, leaves it to the
// next look.
func (r *Runner) do(ctx context.Context, job Job, revision int64) {
	log := r.log.With(slog.String("job", string(job.ID)), slog.String("kind", string(job.Kind)))
	w := &worker{Runner: r, job: job, revision: revision, saved: time.Now(), limiter: rate.NewLimiter(rate.Inf, 1)}
	if job.Rate > 0 {
		w.limiter = rate.NewLimiter(rate.Limit(job.Rate), 1)
	}
	log.LogAttrs(ctx, slog.LevelInfo, "job runs here", slog.Uint64("done", job.Counts.Done))
	err := w.run(ctx)
	switch {
	case err == nil:
		log.LogAttrs(ctx, slog.LevelInfo, "job ended", slog.String("state", string(w.job.State)), slog.Uint64("done", w.job.Counts.Done),
			slog.Uint64("changed", w.job.Counts.Changed), slog.Uint64("failed", w.job.Counts.Failed))
	case ctx.Err() != nil:
		w.giveUp(ctx)
		log.LogAttrs(ctx, slog.LevelInfo, "job is left to another node")
	case errors.Is(err, errNotOurs):
		log.LogAttrs(ctx, slog.LevelInfo, "job no longer runs here")
	default:
		log.LogAttrs(ctx, slog.LevelWarn, "job waits", slog.Any("error", err))
	}
}

// errNotOurs means that a job was cancelled, or is another node's by now.
var errNotOurs = errors.New("keys: the job is not this node's any more")

// worker is a job that runs. It belongs to one goroutine.
type worker struct {
	*Runner
	job      Job
	revision int64
	// saved is when progress was last saved, by this node's clock.
	saved   time.Time
	limiter *rate.Limiter
}

// run carries a job out and stores its end.
func (w *worker) run(ctx context.Context) error {
	// What was acknowledged before the job is seen by every step.
	if err := w.store.Fence(ctx); err != nil {
		return err
	}
	var err error
	switch w.job.Kind {
	case RewrapJob:
		err = w.rewrap(ctx)
	case ReencryptJob:
		err = w.reencrypt(ctx)
	case RewrapRootJob:
		if err = w.rewrapRoot(ctx); err == nil {
			err = w.forget(ctx)
		}
	case RotateJob:
		err = w.rotate(ctx)
	case VerifyJob:
		if err = w.verify(ctx); err == nil {
			return w.endVerify(ctx)
		}
	case ShredJob:
		if err = w.shred(ctx); err == nil {
			return w.endShred(ctx)
		}
	case AttachJob:
		if err = w.attach(ctx); err == nil {
			err = w.forget(ctx)
		}
	case DetachJob:
		if err = w.detach(ctx); err == nil {
			return w.endDetach(ctx)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrCMKRefused):
		return w.end(ctx, "cmk_refused")
	case errors.Is(err, ErrTampered), errors.Is(err, ErrNoEnvironment):
		return w.end(ctx, "integrity_failure") // waiting would not help
	default:
		return err
	}
	if w.job.Counts.Failed > 0 {
		return w.end(ctx, "incomplete")
	}
	return w.end(ctx, "")
}

// end stores how the job ended; reason is empty if it succeeded.
func (w *worker) end(ctx context.Context, reason string) error {
	w.job.State, w.job.Reason, w.job.EndedAt = JobSucceeded, reason, w.keys.now().UTC()
	if reason != "" {
		w.job.State = JobFailed
	}
	e, err := w.job.event(events.JobEnded, w.job.EndedAt)
	if err != nil {
		return err
	}
	return w.put(ctx, &e)
}

// giveUp lets another node go on at once. Without it, it would do so after a while.
func (w *worker) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
	defer cancel()
	w.job.Owner = ""
	_ = w.put(ctx, nil)
}

// step is called for every record before it is looked at: it waits for the job's rate.
func (w *worker) step(ctx context.Context) error { return w.limiter.Wait(ctx) }

// done notes that a record was looked at, and saves the progress if it is time. failed is what kept the
// record from being changed: it does not stop the others, but an outage stops the job for a while.
func (w *worker) done(ctx context.Context, cursor string, changed bool, failed error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The KMS of one customer is not waited for by what is about others.
	if down := outage.Of(failed); down != nil && down.Dependency != outage.CMK || w.stops(failed) {
		return failed
	}
	if failed != nil {
		w.job.Counts.Failed++
		w.log.LogAttrs(ctx, slog.LevelWarn, "job left a record as it is", slog.String("job", string(w.job.ID)),
			slog.String("record", shown(cursor)), slog.Any("error", failed))
	}
	if changed {
		w.job.Counts.Changed++
	}
	w.job.Counts.Done++
	if isOurs(cursor) { // else who takes over looks at it once more
		w.job.Cursor = cursor
	}
	if time.Since(w.saved) < w.save {
		return nil
	}
	return w.put(ctx, nil)
}

// put saves the job. The error is errNotOurs if it is not at the revision that this node left it.
func (w *worker) put(ctx context.Context, e *events.Event) error {
	w.job.Beat++
	revision, err := w.store.PutJob(ctx, w.job, w.revision, e)
	if errors.Is(err, ErrConflict) {
		return errNotOurs
	}
	if err != nil {
		return err
	}
	w.revision, w.saved = revision, time.Now()
	return nil
}

// width is how many records are changed at once. Those of a rewrap share transactions, so it has more of them.
// A job with a rate takes no more than are due in a hundredth of a second: progress is saved in between,
// however slow it is meant to be.
func (w *worker) width() int {
	width := 8
	switch w.job.Kind {
	case RewrapJob:
		width = stepPage / 5 // more makes it faster, and reads slower that wait behind it
	case ReencryptJob:
		width = 4 // each holds a value, and several forms of it
	}
	if w.job.Rate > 0 {
		width = min(width, max(w.job.Rate/100, 1))
	}
	return width
}

// env is the job's environment.
func (w *worker) env() access.EnvironmentID { return w.job.Environment }

// again runs a round of a change until it does not conflict, with current reads from the second on.
func (w *worker) again(ctx context.Context, round func() error) error {
	for attempt := range changeAttempts {
		if attempt > 0 {
			if err := w.store.Fence(ctx); err != nil {
				return err
			}
		}
		if err := round(); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}
