package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
)

const (
	// batchEvents is how many events a worker reads at once.
	batchEvents = 100
	// stepDeliveries is how many attempts one transaction stores: what a crash makes the receiver see twice.
	stepDeliveries = 16
	// stepInterval bounds how long an attempt waits for others to be stored with it.
	stepInterval = time.Second
	// passedEvents is behind how many events that the endpoint does not want its progress is stored.
	passedEvents = 1000
	// leaveTimeout bounds what a worker does at its end, when the store may be gone.
	leaveTimeout = 5 * time.Second
)

// worker delivers to one endpoint, while this replica has its lock. All but the channel belongs to the goroutine of
// run.
type worker struct {
	*Deliverer
	window   *window
	env      access.EnvironmentID
	endpoint EndpointID
	// life ends at once when the endpoint is gone, and some time behind the deliverer's going when it is closed.
	life    context.Context
	stop    context.CancelFunc
	changed chan struct{}

	// progress is as it was stored at revision, and with what is in deliveries, letters and passed not stored yet.
	progress   Progress
	revision   int64
	deliveries []Delivery
	letters    []Letter
	passed     int
	// since is when the first of them came.
	since time.Time
	// lost says that the progress was reported as not what was stored.
	lost bool
}

func newWorker(d *Deliverer, in *window, id EndpointID) *worker {
	w := &worker{Deliverer: d, window: in, env: in.env, endpoint: id, changed: make(chan struct{}, 1)}
	w.life, w.stop = context.WithCancel(d.life)
	return w
}

func (w *worker) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// run delivers until the endpoint is gone or the process ends. While another replica has the lock it only asks for
// it now and then.
func (w *worker) run() {
	defer w.stop()
	defer w.leave()
	for !w.ending() {
		wait, err := w.round()
		if err != nil && w.life.Err() == nil {
			w.explain(err)
		}
		w.sleep(wait)
	}
}

// ending reports that no attempt is to begin any more.
func (w *worker) ending() bool { return w.going.Err() != nil || w.life.Err() != nil }

// explain says why a worker does not get on. Errors of receivers are no matter of the log, but of the deliveries.
func (w *worker) explain(err error) {
	level := slog.LevelWarn
	if outage.Of(err) != nil || errors.Is(err, keys.ErrConflict) || errors.Is(err, ErrNoEndpoint) {
		level = slog.LevelDebug // readiness tells of etcd; the others are over by the next round
	}
	w.log.LogAttrs(w.life, level, "webhook deliveries wait", slog.String("environment", string(w.env)),
		slog.String("endpoint", string(w.endpoint)), slog.Any("error", err))
}

// sleep waits for a change, and no longer than a time.
func (w *worker) sleep(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.life.Done():
	case <-w.going.Done():
	case <-w.changed:
	case <-timer.C:
	}
}

// leave stores what was sent, so that nobody sends it again, and gives the lock back for others not to wait for
// its lease.
func (w *worker) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.life), leaveTimeout)
	defer cancel()
	if err := w.save(ctx); err != nil {
		w.log.LogAttrs(ctx, slog.LevelDebug, "webhook deliveries not stored", slog.String("endpoint", string(w.endpoint)), slog.Any("error", err))
	}
	_ = w.store.UnlockEndpoint(ctx, w.env, w.endpoint, w.holder) // it ends with the lease in any case
}

// round does what there is to do, and says how long to wait for more.
func (w *worker) round() (time.Duration, error) {
	mine, err := w.store.LockEndpoint(w.life, w.env, w.endpoint, w.holder)
	if err != nil || !mine {
		return w.poll, err
	}
	if err := w.refresh(); err != nil {
		return w.poll, err
	}
	goOn, err := w.deliver()
	if errors.Is(err, keys.ErrConflict) {
		w.forget()
		return 0, nil
	}
	if err != nil || !goOn {
		return w.pause(), err
	}
	return 0, nil
}

// pause is until the next attempt is due, and no longer than the time after which a worker looks for a replay.
func (w *worker) pause() time.Duration {
	if wait := w.progress.NextAt.Sub(w.now()); wait > 0 {
		return min(wait, w.poll)
	}
	return w.poll
}

// refresh reads the progress again: it was replayed, or another replica went on. What this worker has not stored
// goes on from what it read.
func (w *worker) refresh() error {
	p, revision, err := w.store.Progress(w.life, w.env, w.endpoint)
	lost := errors.Is(err, keys.ErrTampered)
	if lost && !w.lost {
		w.Deliverer.report(w.life, w.env, w.endpoint)
	}
	w.lost = lost
	if err != nil {
		return err
	}
	if revision != w.revision {
		w.forget()
		w.progress, w.revision = p, revision
	}
	return nil
}

// forget drops what is not stored. The events of it are sent once more.
func (w *worker) forget() { w.deliveries, w.letters, w.passed, w.revision = nil, nil, 0, 0 }

// deliver sends what is behind the cursor in order, until an attempt fails. goOn says that there may be more to do
// at once.
func (w *worker) deliver() (goOn bool, err error) {
	// Nothing is sent while what was sent before cannot be stored.
	if err := w.save(w.life); err != nil || w.now().Before(w.progress.NextAt) {
		return false, err
	}
	batch, known := w.window.behind(w.progress.Cursor, batchEvents)
	if !known {
		if batch, err = w.store.Tail(w.life, w.env, w.progress.Cursor, batchEvents); err != nil {
			return false, err
		}
	}
	for i := range batch {
		endpoint, err := w.current()
		if err != nil || endpoint == nil || w.ending() {
			return false, err
		}
		failed, err := w.one(endpoint, batch[i:])
		if err != nil {
			return false, err
		}
		if failed {
			return w.progress.NextAt.IsZero(), w.save(w.life)
		}
		if len(w.deliveries) >= stepDeliveries || len(w.deliveries) > 0 && w.now().Sub(w.since) >= stepInterval {
			if err := w.save(w.life); err != nil {
				return false, err
			}
		}
	}
	if len(batch) == batchEvents {
		return true, nil
	}
	return false, w.save(w.life)
}

// one deals with the first event of rest.
func (w *worker) one(endpoint *Endpoint, rest []events.Stored) (failed bool, err error) {
	e := &rest[0]
	if !endpoint.wants(e.Type) {
		w.progress = w.progress.passed(e)
		w.passed++
		return false, nil
	}
	a, err := w.attempt(endpoint, e)
	if err != nil {
		return false, err
	}
	if !a.accepted() {
		w.fail(endpoint, rest, a)
		return true, nil
	}
	w.progress = w.progress.accepted(e, a.at)
	return false, nil
}

// current is the endpoint as it is now: whatever was acknowledged before an attempt holds for it. nil if it is to
// be sent nothing.
func (w *worker) current() (*Endpoint, error) {
	if err := w.store.Fence(w.life); err != nil {
		return nil, err
	}
	e, err := w.store.Endpoint(w.life, w.env, w.endpoint)
	switch {
	case errors.Is(err, ErrNoEndpoint), errors.Is(err, keys.ErrTampered): // the supervisor tells of it
		return nil, nil
	case err != nil:
		return nil, err
	case e.Disabled:
		return nil, nil
	}
	return e, nil
}

// attempt sends one event. During a rotation's overlap a receiver that may have taken it for a forgery is sent it
// again at once, signed first with the other secret.
func (w *worker) attempt(endpoint *Endpoint, e *events.Stored) (attempt, error) {
	env, err := w.environments.Environment(w.env)
	if err != nil {
		return attempt{}, err
	}
	signers := endpoint.signers(env, w.now())
	if len(signers) == 2 && w.progress.Previous {
		signers[0], signers[1] = signers[1], signers[0]
	}
	a := w.send(endpoint, e, signers)
	if len(signers) == 2 && a.refusedAsForged() && w.life.Err() == nil {
		signers[0], signers[1] = signers[1], signers[0]
		if a = w.send(endpoint, e, signers); a.accepted() {
			w.progress.Previous = !w.progress.Previous
		}
	}
	// What was cut off because the endpoint is gone or the process ends is no failure of the receiver.
	return a, w.life.Err()
}

// send makes an attempt and notes it.
func (w *worker) send(endpoint *Endpoint, e *events.Stored, signers []keys.WebhookSigner) attempt {
	a := w.sender.send(w.life, endpoint.URL, e, signers)
	if w.life.Err() != nil && !a.accepted() {
		return a
	}
	if len(w.deliveries) == 0 {
		w.since = w.now()
	}
	w.progress.Deliveries++
	w.deliveries = append(w.deliveries, Delivery{
		Number: w.progress.Deliveries, EventID: e.ID, Event: e.Type, At: a.at.UTC(), Status: a.status, Reason: a.reason, Latency: a.latency,
	})
	if a.accepted() {
		w.count(CountAccepted)
	} else {
		w.count(CountFailed)
	}
	return a
}

// fail notes that the first event of rest was not accepted. If its time is over, it is a dead letter; and if the
// one before it was one too, all that follow and have waited as long are.
func (w *worker) fail(endpoint *Endpoint, rest []events.Stored, a attempt) {
	again := w.progress.Died
	next, dead := w.progress.refused(&rest[0], a.at, w.timing)
	w.progress = next
	if !dead {
		return
	}
	w.bury(&rest[0], a)
	if !again {
		return
	}
	due := w.progress.NextAt
	for i := 1; i < len(rest) && len(w.letters) < stepDeliveries; i++ {
		e := &rest[i]
		switch {
		case a.at.Before(w.progress.deadline(e, w.timing)):
			return
		case endpoint.wants(e.Type):
			w.progress = w.progress.buried(e)
			w.bury(e, a)
		default:
			w.progress = w.progress.passed(e)
		}
		w.progress.NextAt = due
	}
}

// bury notes a dead letter.
func (w *worker) bury(e *events.Stored, a attempt) {
	w.letters = append(w.letters, Letter{
		EventID: e.ID, Event: e.Type, EventAt: e.At, At: a.at.UTC(), Attempts: w.progress.Failures, Status: a.status, Reason: a.reason,
	})
	w.count(CountDead)
	w.log.LogAttrs(w.life, slog.LevelWarn, "webhook event given up", slog.String("environment", string(w.env)),
		slog.String("endpoint", string(w.endpoint)), slog.String("event", e.ID), slog.String("reason", string(a.reason)), slog.Int("status", a.status))
}

// save stores what is not stored yet. That events were passed over is worth a transaction only if they were many:
// a crash has them looked at again.
func (w *worker) save(ctx context.Context) error {
	if len(w.deliveries) == 0 && len(w.letters) == 0 && w.passed < passedEvents {
		return nil
	}
	revision, err := w.store.Step(ctx, Step{Progress: w.progress, Revision: w.revision, Deliveries: w.deliveries, Letters: w.letters})
	if err != nil {
		return err
	}
	w.deliveries, w.letters, w.passed, w.revision = nil, nil, 0, revision
	return nil
}
