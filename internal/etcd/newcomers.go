package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/keys"
)

// newcomers opens environments that were made after this process began. The watch shows their records; the root key
// opens them, which may be far away, so that happens beside the watch and not in it. Whoever comes with an API key
// of one that is not open yet opens it, and everybody else waits for that.
type newcomers struct {
	store *Store
	open  func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error)
	// arrived wakes run; capacity 1.
	arrived chan struct{}
	// registration is what [Store.Register] was told; nil before.
	registration atomic.Pointer[Registration]

	// turn is held by whoever opens one; capacity 1.
	turn chan struct{}
	mu   sync.Mutex // guards refused, for the time of a map operation
	// refused are those that could not be opened.
	refused map[access.EnvironmentID]refusedEnvironment
}

// refusedEnvironment is why a record could not be opened, and when. A broken record stays broken; where a root key
// did not answer, it is asked again after a second, however many callers have an API key of that environment.
type refusedEnvironment struct {
	revision int64
	at       time.Time
	err      error
}

// openAgain is how long an environment stays refused.
const openAgain = time.Second

func newNewcomers(s *Store, open func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error)) *newcomers {
	return &newcomers{
		store: s, open: open, arrived: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		refused: map[access.EnvironmentID]refusedEnvironment{},
	}
}

// look has run look at all records soon.
func (n *newcomers) look() {
	select {
	case n.arrived <- struct{}{}:
	default:
	}
}

// run opens what the watch shows until the context ends.
func (n *newcomers) run(ctx context.Context) {
	tick := time.NewTicker(openAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.arrived:
		case <-tick.C:
			if !n.waiting() {
				continue
			}
		}
		there := map[access.EnvironmentID]bool{}
		for _, it := range n.store.mirror.list(kindEnv + "/") {
			there[envOf(it.key)] = true
			_ = n.meet(ctx, envOf(it.key)) // it is remembered, told in the log, and by readiness
		}
		n.forget(there)
	}
}

// forget lets go of refused environments whose record has gone.
func (n *newcomers) forget(there map[access.EnvironmentID]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.refused, func(env access.EnvironmentID, _ refusedEnvironment) bool { return !there[env] })
}

// waiting tells that some environment is refused.
func (n *newcomers) waiting() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.refused) > 0
}

// meet returns once an environment is open, if there is one of that id. Errors: [keys.ErrTampered], and an outage,
// which it is too if the root key that opens the environment is not at hand here: its API keys are as good as before.
func (n *newcomers) meet(ctx context.Context, env access.EnvironmentID) error {
	if n.open == nil || n.isOpen(env) {
		return nil
	}
	it, err := n.store.lookup(ctx, keyEnv(env))
	if err != nil || !it.exists() {
		return err
	}
	return n.admit(ctx, env, it)
}

// admit opens the environment whose record was read.
func (n *newcomers) admit(ctx context.Context, env access.EnvironmentID, it *item) error {
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return fmt.Errorf("open environment %s: %w", env, ctx.Err())
	}
	if n.open == nil || n.isOpen(env) {
		return nil
	}
	if known := n.known(env, it.revision); known != nil {
		return known
	}
	opened, err := openEnvironment(n.store.codec, it.key, it.value, func(r keys.EnvironmentRecord) (*keys.Environment, error) {
		return n.open(ctx, r)
	})
	if errors.Is(err, keys.ErrRefused) && outage.Of(err) == nil {
		err = &outage.Error{Dependency: outage.RootKey, Kind: outage.Unavailable, Cause: err}
	}
	if err != nil {
		if ctx.Err() == nil {
			n.refuse(ctx, env, it.revision, err)
		}
		return err
	}
	n.take(ctx, opened)
	return nil
}

func (n *newcomers) isOpen(env access.EnvironmentID) bool {
	_, err := n.store.environments.Environment(env)
	return err == nil
}

// known is why a record was refused a moment ago, or for good.
func (n *newcomers) known(env access.EnvironmentID, revision int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.refused[env]
	if ok && r.revision == revision && (errors.Is(r.err, keys.ErrTampered) || time.Since(r.at) < openAgain) {
		return r.err
	}
	return nil
}

func (n *newcomers) refuse(ctx context.Context, env access.EnvironmentID, revision int64, err error) {
	n.mu.Lock()
	before, again := n.refused[env]
	n.refused[env] = refusedEnvironment{revision, time.Now(), err}
	n.mu.Unlock()
	if !again || before.revision != revision {
		n.store.log.ErrorContext(ctx, "an environment that was made meanwhile cannot be opened",
			slog.String("environment", string(env)), slog.Any("error", err))
	}
}

// take has the process work for an environment from now on: everything that goes through all of them finds it the
// next time.
func (n *newcomers) take(ctx context.Context, e *keys.Environment) {
	n.store.environments.Add(e)
	n.mu.Lock()
	delete(n.refused, e.ID())
	n.mu.Unlock()
	n.store.indexes.met(e.ID())
	n.store.log.InfoContext(ctx, "environment opened", slog.String("environment", string(e.ID())), slog.String("name", e.Name()))
	if r := n.registration.Load(); r != nil {
		if _, err := n.store.registerIn(ctx, e.ID(), *r); err != nil {
			// It is made up for by the next start.
			n.store.log.WarnContext(ctx, "state directory not registered in an environment",
				slog.String("environment", string(e.ID())), slog.Any("error", err))
		}
	}
}

// degraded tells of environments that this replica does not serve.
func (n *newcomers) degraded() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	for env, r := range n.refused {
		why := "its record is not what was stored"
		if errors.Is(r.err, keys.ErrRefused) {
			why = "its root key is not at hand"
		} else if outage.Of(r.err) != nil {
			why = "the root key does not answer"
		}
		lines = append(lines, fmt.Sprintf("environment %s cannot be opened: %s", env, why))
	}
	slices.Sort(lines)
	return lines
}
