package webhooks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/keys"
)

// pollInterval is how often a replica looks for endpoints and events that no signal told it of.
const pollInterval = 2 * time.Second

// DelivererConfig is what a [Deliverer] needs.
type DelivererConfig struct {
	// Store, Environments, Egress and Logger are required.
	Store        Store
	Environments *keys.Environments
	Egress       *connectors.Egress
	Logger       *slog.Logger
	// Timing defaults to [DefaultTiming].
	Timing Timing
	// Poll defaults to two seconds.
	Poll time.Duration
	// Grace is how long Close waits for attempts that are under way; default five seconds.
	Grace time.Duration
	// Count is told of every attempt and every dead letter; default none.
	Count func(Counted)
	// Report is told of an endpoint whose record, or progress, is not what was stored: once, until it was seen
	// whole again; default none.
	Report func(ctx context.Context, env access.EnvironmentID, id EndpointID)
	// Now defaults to [time.Now].
	Now func() time.Time
}

// Counted is what happened, for a metric.
type Counted string

// What is counted.
const (
	CountAccepted Counted = "accepted"
	CountFailed   Counted = "failed"
	CountDead     Counted = "dead_letter"
)

// Deliverer sends the events of every environment to their endpoints, until it is closed. Any number of replicas may
// have one; they share the endpoints by their locks.
type Deliverer struct {
	store        Store
	environments *keys.Environments
	sender       *sender
	log          *slog.Logger
	timing       Timing
	poll         time.Duration
	count        func(Counted)
	report       func(context.Context, access.EnvironmentID, EndpointID)
	now          func() time.Time
	// holder is this life of this process, for locks.
	holder string

	// going ends when Close is called: no attempt begins any more. life ends a grace later, and with it what is
	// still under way.
	going, life context.Context
	stop, cut   context.CancelFunc
	grace       time.Duration
	work        sync.WaitGroup
}

// NewDeliverer checks the config and begins.
func NewDeliverer(c DelivererConfig) (*Deliverer, error) {
	if c.Store == nil || c.Environments == nil || c.Egress == nil || c.Logger == nil {
		return nil, errors.New("webhooks: a deliverer needs Store, Environments, Egress and Logger")
	}
	if c.Timing == (Timing{}) {
		c.Timing = DefaultTiming()
	}
	if c.Timing.Timeout <= 0 || c.Timing.First <= 0 || c.Timing.Longest < c.Timing.First || c.Timing.For <= 0 {
		return nil, errors.New("webhooks: times of deliveries must be above zero, and the longest not below the first")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Count == nil {
		c.Count = func(Counted) {}
	}
	if c.Report == nil {
		c.Report = func(context.Context, access.EnvironmentID, EndpointID) {}
	}
	life, cut := context.WithCancel(context.Background())
	going, stop := context.WithCancel(life)
	d := &Deliverer{
		life: life, cut: cut, going: going, stop: stop, grace: cmp.Or(c.Grace, closeGrace),
		store: c.Store, environments: c.Environments, log: c.Logger, timing: c.Timing, poll: cmp.Or(c.Poll, pollInterval),
		sender: newSender(c.Egress, c.Timing.Timeout, c.Now), count: c.Count, report: c.Report, now: c.Now, holder: rand.Text(),
	}
	d.work.Go(func() { d.run(going) })
	return d, nil
}

// run keeps a supervisor for each environment.
func (d *Deliverer) run(ctx context.Context) {
	begun := map[access.EnvironmentID]bool{}
	tick := time.NewTicker(d.poll)
	defer tick.Stop()
	for {
		for _, env := range d.environments.IDs() {
			if !begun[env] {
				begun[env] = true
				d.work.Go(func() { d.supervise(ctx, env) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// closeGrace is long for an answer, and short of what a stop may take.
const closeGrace = 5 * time.Second

// Close stops all workers. An attempt that is under way has some time to end, and what it came to is stored: cut
// off, it would be made again by whoever goes on, and the receiver would have had the event twice.
func (d *Deliverer) Close() {
	d.stop()
	cut := time.AfterFunc(d.grace, d.cut)
	d.work.Wait()
	cut.Stop()
	d.cut()
	d.sender.close()
}

// gather is how long a supervisor lets changes come together before it looks.
const gather = 50 * time.Millisecond

// supervise keeps a worker for each endpoint of an environment that is enabled. One that is not any more is
// stopped at once, in the middle of an attempt if need be.
func (d *Deliverer) supervise(ctx context.Context, env access.EnvironmentID) {
	changed, stop := d.store.WatchLog(env)
	defer stop()
	tick := time.NewTicker(d.poll)
	defer tick.Stop()
	team := &team{deliverer: d, env: env, window: &window{store: d.store, env: env}, workers: map[EndpointID]*worker{}}
	defer team.running.Wait()
	for {
		if err := team.look(ctx); err != nil && ctx.Err() == nil {
			d.log.LogAttrs(ctx, slog.LevelWarn, "webhook endpoints or events cannot be read",
				slog.String("environment", string(env)), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			time.Sleep(gather)
		case <-tick.C:
		}
	}
}

// team is the workers of an environment. It belongs to the goroutine of its supervisor.
type team struct {
	deliverer *Deliverer
	env       access.EnvironmentID
	window    *window
	workers   map[EndpointID]*worker
	// damaged are the endpoints that were reported.
	damaged []EndpointID
	running sync.WaitGroup
}

// look reads what is new and has the workers look at it.
func (t *team) look(ctx context.Context) error {
	all, _, err := t.deliverer.store.Endpoints(ctx, t.env)
	if err != nil {
		return err
	}
	t.dismiss(all)
	t.tell(ctx, all.Damaged)
	enabled := slices.DeleteFunc(slices.Clone(all.List), func(e Endpoint) bool { return e.Disabled })
	if len(enabled) == 0 {
		return nil
	}
	err = t.window.extend(ctx)
	t.assign(enabled)
	return err
}

// tell reports the damaged endpoints that were not before.
func (t *team) tell(ctx context.Context, damaged []EndpointID) {
	for _, id := range damaged {
		if !slices.Contains(t.damaged, id) {
			t.deliverer.log.LogAttrs(ctx, slog.LevelError, "the record of a webhook endpoint is not what was stored; nothing is sent to it until it is deleted and made again",
				slog.String("environment", string(t.env)), slog.String("endpoint", string(id)))
			t.deliverer.report(ctx, t.env, id)
		}
	}
	t.damaged = damaged
}

// dismiss stops the workers of endpoints that are gone or disabled.
func (t *team) dismiss(all *Endpoints) {
	for id, w := range t.workers {
		if e := all.find(id); e == nil || e.Disabled {
			w.stop()
			delete(t.workers, id)
		}
	}
}

// assign wakes the workers there are, and starts those there are not.
func (t *team) assign(enabled []Endpoint) {
	for _, e := range enabled {
		w := t.workers[e.ID]
		if w == nil {
			w = newWorker(t.deliverer, t.window, e.ID)
			t.workers[e.ID] = w
			t.running.Go(w.run)
		}
		w.wake()
	}
}
