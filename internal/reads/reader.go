package reads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
)

const (
	// batchRecords and batchBytes bound what is read of the log at once.
	batchRecords = 500
	batchBytes   = 4 << 20
	// tellEvents is how many events one transaction has; etcd's own limit is 128 operations.
	tellEvents = 100
	// passedRecords is behind how many records without an event the place is stored: a start reads them again.
	passedRecords = 10_000
	// perSecond is how many events there are in a second at most: what reads may cost those who change something.
	perSecond = 1000
	// pollInterval is how often it is looked for new records, and longestPause how long a fault holds that up.
	pollInterval = time.Second
	longestPause = 10 * time.Second
	// closeTime bounds the last round.
	closeTime = 3 * time.Second
)

// Config is what a [Reader] needs.
type Config struct {
	// Log, Store and Logger are required.
	Log    *audit.Log
	Store  Store
	Logger *slog.Logger
	// Environments are those there are, at least one. The first one stays the first.
	Environments func() []access.EnvironmentID
	// Report is told of a place that is not what was stored; default none.
	Report func(ctx context.Context, env access.EnvironmentID)
	// Poll is how often it is looked for new records; default a second.
	Poll time.Duration
	// Now defaults to [time.Now].
	Now func() time.Time
}

// Reader makes events of the reads in the log of a node, until it is closed. A node has one at a time.
type Reader struct {
	config Config
	cancel context.CancelFunc
	ended  sync.WaitGroup
	// needed is the lowest index that it has to see yet.
	needed atomic.Uint64

	// The fields below belong to its goroutine. follower is nil until it is known where to begin; places are those of
	// the environments that it has met.
	follower *audit.Follower
	places   map[access.EnvironmentID]*place
	missing  uint64
	failures int
}

// place is a stored place. The one of the first environment is moved last: every record below it is done with in
// all of them, so a start begins there, and passes over what the others have.
type place struct {
	Place
	revision int64
}

// Open begins where this node came to, or at the end of the log, if it is asked for the first time.
func Open(ctx context.Context, c Config) (*Reader, error) {
	if c.Log == nil || c.Store == nil || c.Logger == nil || c.Environments == nil || len(c.Environments()) == 0 {
		return nil, errors.New("reads: reader needs Log, Store, Logger and Environments")
	}
	if c.Report == nil {
		c.Report = func(context.Context, access.EnvironmentID) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Poll = cmp.Or(c.Poll, pollInterval)
	r := &Reader{config: c}
	if err := r.begin(ctx); err != nil {
		return nil, fmt.Errorf("events of reads: %w", err)
	}
	life, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.ended.Go(func() { r.run(life) })
	return r, nil
}

// Forget is said where there are to be no events of reads: what is read from now on is not told of later.
func Forget(ctx context.Context, store Store, environments []access.EnvironmentID, node string) error {
	for _, env := range environments {
		_, revision, err := store.ReadsPlace(ctx, env, node)
		if revision > 0 {
			err = store.ForgetReads(ctx, env, node)
		}
		if err != nil && !errors.Is(err, keys.ErrTampered) {
			return fmt.Errorf("forget the place of events of reads: %w", err)
		}
	}
	return nil
}

// Needed is the lowest index that is not done with: what retention has to leave.
func (r *Reader) Needed() uint64 { return r.needed.Load() }

// Close tells of what is left, if that takes no time, and ends. The rest waits for the next start.
func (r *Reader) Close() {
	r.cancel()
	r.ended.Wait()
}

func (r *Reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := r.round(ctx)
		if err != nil {
			wait = r.failed(ctx, err)
		} else {
			r.failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if _, err := r.round(last); err != nil {
		r.config.Logger.LogAttrs(last, slog.LevelDebug, "the last reads are told of by the next start", slog.Any("error", err))
	}
}

// failed goes back to what is stored, and says how long to wait.
func (r *Reader) failed(ctx context.Context, err error) time.Duration {
	r.follower = nil
	if r.failures++; r.failures == 1 && ctx.Err() == nil && outage.Of(err) == nil { // readiness tells of outages
		r.config.Logger.LogAttrs(ctx, slog.LevelWarn, "events of reads wait", slog.Any("error", err))
	}
	return min(r.config.Poll*time.Duration(r.failures), longestPause)
}

// begin finds the place. A node that has none begins with what comes from now on, and says so at once: what is
// read next must not be lost if the process is killed before there is anything to tell of.
func (r *Reader) begin(ctx context.Context) error {
	r.places = map[access.EnvironmentID]*place{}
	end := r.config.Log.Size()
	first, err := r.place(ctx, r.first(), end)
	if err != nil {
		return err
	}
	if first.revision == 0 || first.Next > end {
		first.Next = end
		if err := r.tell(ctx, first, end, nil); err != nil {
			return err
		}
	}
	r.follower, r.missing = r.config.Log.Follow(first.Next), 0
	r.needed.Store(first.Next)
	return nil
}

func (r *Reader) first() access.EnvironmentID { return r.config.Environments()[0] }

// place is that of an environment; one that has none begins with the records that are read next.
func (r *Reader) place(ctx context.Context, env access.EnvironmentID, next uint64) (*place, error) {
	if p := r.places[env]; p != nil {
		return p, nil
	}
	stored, revision, err := r.config.Store.ReadsPlace(ctx, env, r.config.Log.Node())
	switch {
	case errors.Is(err, keys.ErrTampered):
		r.config.Logger.LogAttrs(ctx, slog.LevelError, "the place of events of reads is not what was stored; they begin with what is read from now on",
			slog.String("environment", string(env)))
		r.config.Report(ctx, env)
		stored = Place{Next: r.config.Log.Size()}
	case err != nil:
		return nil, err
	case revision == 0:
		stored = Place{Next: next}
	}
	stored.Environment, stored.Node = env, r.config.Log.Node()
	p := &place{stored, revision}
	r.places[env] = p
	if err != nil {
		err = r.tell(ctx, p, p.Next, nil)
	}
	return p, err
}

// round tells of one piece of the log, and says how long to wait before the next.
func (r *Reader) round(ctx context.Context) (time.Duration, error) {
	if r.follower == nil {
		if err := r.begin(ctx); err != nil {
			return 0, err
		}
	}
	from := r.follower.Next()
	leaves, err := r.follower.Read(batchRecords, batchBytes)
	if err != nil {
		return 0, err
	}
	if n := r.follower.Missing(); n > r.missing {
		r.config.Logger.LogAttrs(ctx, slog.LevelWarn, "records of the audit log are missing, and what they say was read is no event", slog.Uint64("records", n-r.missing))
		r.missing = n
	}
	told, err := r.events(ctx, leaves, from)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, env := range r.order(told) {
		n += len(told[env])
		if err := r.tellAll(ctx, r.places[env], told[env]); err != nil {
			return 0, err
		}
	}
	if n > 0 || len(leaves) == batchRecords {
		return time.Duration(n) * time.Second / perSecond, nil
	}
	return r.config.Poll, nil
}

// events are those of some records by environment, without those that are done with.
func (r *Reader) events(ctx context.Context, leaves []audit.Leaf, from uint64) (map[access.EnvironmentID][]events.Event, error) {
	told := map[access.EnvironmentID][]events.Event{}
	known, now := r.config.Environments(), r.config.Now()
	for i := range leaves {
		e, is, err := eventOf(&leaves[i].Record, now)
		if err != nil {
			return nil, err
		}
		env := leaves[i].EnvironmentID
		if !is || !slices.Contains(known, env) {
			continue
		}
		p, err := r.place(ctx, env, from)
		if err != nil {
			return nil, err
		}
		if leaves[i].Index >= p.Next {
			told[env] = append(told[env], e)
		}
	}
	return told, nil
}

// order puts the first environment last, and among those that have anything to be stored, if its place is far behind.
func (r *Reader) order(told map[access.EnvironmentID][]events.Event) []access.EnvironmentID {
	first := r.first()
	var order []access.EnvironmentID
	for env := range told {
		if env != first {
			order = append(order, env)
		}
	}
	slices.Sort(order)
	if len(told[first]) > 0 || r.follower.Next() >= r.places[first].Next+passedRecords {
		order = append(order, first)
	}
	return order
}

// tellAll stores events in as many transactions as they take, the last one with the place behind all that was read.
func (r *Reader) tellAll(ctx context.Context, p *place, told []events.Event) error {
	for len(told) > tellEvents {
		if err := r.tell(ctx, p, told[tellEvents-1].Index+1, told[:tellEvents]); err != nil {
			return err
		}
		told = told[tellEvents:]
	}
	return r.tell(ctx, p, r.follower.Next(), told)
}

func (r *Reader) tell(ctx context.Context, p *place, next uint64, told []events.Event) error {
	moved := p.Place
	moved.Next = next
	revision, err := r.config.Store.TellReads(ctx, moved, p.revision, told)
	if err != nil {
		return err
	}
	p.Place, p.revision = moved, revision
	if p.Environment == r.first() {
		r.needed.Store(next)
	}
	return nil
}
