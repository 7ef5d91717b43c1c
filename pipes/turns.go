package pipes

import (
	"context"
	"sync"
	"time"
)

// Bounds of the refreshes, and of the first tokens of clients that are installed, that are under way at once in this
// process. One provider that hangs must not take all of them, and thousands of grants that are due together, as after
// an outage, must not be as many connections at once.
const (
	maxTurns            = 256
	maxTurnsIntegration = 32
)

// turns are permissions to ask a provider for a token. They save resources; correctness never rests on them.
type turns struct {
	each int
	all  chan struct{}

	mu sync.Mutex
	// queues are those of the integrations that somebody has a turn of or waits for; guarded by mu.
	queues map[IntegrationID]*queue
}

// queue is one integration's.
type queue struct {
	slots chan struct{}
	// users have a turn or wait for one; guarded by the mutex of turns.
	users int
}

func newTurns(each, all int) *turns {
	return &turns{each: each, all: make(chan struct{}, all), queues: map[IntegrationID]*queue{}}
}

// take waits for a turn until the context ends; done gives it back. waited tells that it was not free at
// once. nil means that there was none.
func (t *turns) take(ctx context.Context, id IntegrationID) (done func(), waited bool) {
	q := t.enter(id)
	leave := func() { t.leave(id, q) }
	// The integration's first: whoever waits here keeps nothing that others could use.
	first, ok := place(ctx, q.slots)
	if !ok {
		leave()
		return nil, true
	}
	second, ok := place(ctx, t.all)
	if !ok {
		<-q.slots
		leave()
		return nil, true
	}
	return func() {
		<-t.all
		<-q.slots
		leave()
	}, first || second
}

// place takes one in a channel.
func place(ctx context.Context, c chan struct{}) (waited, ok bool) {
	select {
	case c <- struct{}{}:
		return false, true
	default:
	}
	select {
	case c <- struct{}{}:
		return true, true
	case <-ctx.Done():
		return true, false
	}
}

func (t *turns) enter(id IntegrationID) *queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[id]
	if q == nil {
		q = &queue{slots: make(chan struct{}, t.each)}
		t.queues[id] = q
	}
	q.users++
	return q
}

func (t *turns) leave(id IntegrationID, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(t.queues, id)
	}
}

// turn is a refresh's. One that nobody waits for takes a free turn or none: the next vend begins it again,
// and it must not pile up. The error is a [ProviderError].
func (r *refreshing) turn(ctx context.Context) (done func(), waited bool, err error) {
	b := r.broker
	patience := b.timing.wait
	if r.behind {
		patience = 0
	}
	return b.takeTurn(ctx, r.integration, patience)
}

// takeTurn waits so long for a turn of an integration, or until this process ends. The error is a
// [ProviderError].
func (b *Broker) takeTurn(ctx context.Context, i *Integration, patience time.Duration) (done func(), waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(b.refreshes.open, cancel)()
	done, waited = b.turns.take(ctx, i.ID)
	if done == nil {
		return nil, true, &ProviderError{Slug: i.Slug, RetryAfter: time.Second, Err: ErrProvider}
	}
	return done, waited, nil
}
