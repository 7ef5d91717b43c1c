package webhooks_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/webhooks"
	"culvert/vault/vaulttest"
)

// interrupted is a store in which something happens behind the first page of a range of times.
type interrupted struct {
	webhooks.Store
	once   *sync.Once
	happen func()
}

func (s interrupted) Page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error) {
	page, err := s.Store.Page(ctx, env, q)
	if !q.RangeStart.IsZero() {
		s.once.Do(s.happen)
	}
	return page, err
}

// TestReplayFromNow: an event that comes while a replay from now on looks for its place is sent.
func TestReplayFromNow(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, nil)
	receiver := newReceiver(t, ok)
	endpoint := r.mustEndpoint(t, receiver.URL)
	r.mustObjects(t, "old")
	hooks, err := webhooks.New(webhooks.Config{
		Store: interrupted{s.Store, &sync.Once{}, func() { r.mustObjects(t, "meanwhile") }}, Environments: s.Environments,
		Gate: s.Gate, Audit: s.Audit, Egress: mustEgress(t, true),
	})
	must(t, err)
	_, err = hooks.Replay(t.Context(), r.Call(), webhooks.ReplayRequest{ID: endpoint.ID, Since: time.Now().Add(time.Hour)})
	must(t, err)
	newReplica(t, s, asIs)
	receiver.mustReceive(t, "meanwhile")
}

// TestCloseDrains: an attempt that is under way when a deliverer is closed ends as it would have, and nobody makes it
// again; one that takes too long is cut off, and made again by whoever goes on.
func TestCloseDrains(t *testing.T) {
	for name, tc := range map[string]struct {
		grace      time.Duration
		deliveries int
	}{"in time": {patience, 2}, "too late": {50 * time.Millisecond, 3}} {
		t.Run(name, func(t *testing.T) {
			s := vaulttest.New(t)
			r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Grace, c.Timing.Timeout = tc.grace, patience })
			var once sync.Once
			closed := make(chan struct{})
			receiver := newReceiver(t, func(_ http.ResponseWriter, q *http.Request, _ received) {
				once.Do(func() {
					go func() { r.deliverer.Close(); close(closed) }()
					wait := patience
					if tc.deliveries == 2 {
						wait = 300 * time.Millisecond // for what would cut it off
					}
					select {
					case <-q.Context().Done():
					case <-time.After(wait):
					}
				})
			})
			r.mustEndpoint(t, receiver.URL)
			r.mustObjects(t, "first", "second")
			<-closed
			if got := receiver.names(); len(got) != 1 {
				t.Errorf("received %q by the end, want the first", got)
			}
			newReplica(t, s.Replica(t), asIs)
			receiver.mustReceive(t, "first", "second")
			if got := len(receiver.deliveries()); got != tc.deliveries {
				t.Errorf("%d deliveries, want %d", got, tc.deliveries)
			}
		})
	}
}
