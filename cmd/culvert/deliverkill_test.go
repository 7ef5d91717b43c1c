package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// slowReceiver accepts every delivery after a moment, and notes the names of the objects.
type slowReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	names []string
}

func newSlowReceiver(t *testing.T) *slowReceiver {
	r := &slowReceiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		var e struct {
			Data struct {
				Name string `json:"kv_name"`
			} `json:"data"`
		}
		if err := json.NewDecoder(q.Body).Decode(&e); err != nil {
			return // cut off
		}
		r.mu.Lock()
		r.names = append(r.names, e.Data.Name)
		r.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}))
	t.Cleanup(r.Close)
	return r
}

// received is every delivery, and the names in the order in which each came first.
func (r *slowReceiver) received() (all, first []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.names {
		if !slices.Contains(first, name) {
			first = append(first, name)
		}
	}
	return slices.Clone(r.names), first
}

// mustReceive waits for so many different names.
func (r *slowReceiver) mustReceive(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, first := r.received()
		if len(first) >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("received %d of %d", len(first), n)
		}
	}
}

// TestKilledDeliverer kills the replica that delivers to an endpoint, in the middle: once its lock has ended, the other
// one goes on where progress was stored. Nothing is missing, the order is kept, and what came twice was under way.
func TestKilledDeliverer(t *testing.T) {
	t.Parallel()
	const (
		objects = 60
		// steps is how many deliveries one transaction stores (internal/webhooks), and one may have been in flight.
		steps = 16 + 1
		// lockTTL is how long locks outlive a process (internal/etcd).
		lockTTL = 30 * time.Second
	)
	p := MustPair(t)
	receiver := newSlowReceiver(t)
	var endpoint struct {
		ID string `json:"id"`
	}
	body := map[string]any{"endpoint_url": receiver.URL, "events": []string{"vault.data.created"}}
	if status, err := p.sides[0].api.Call(http.MethodPost, "/webhook_endpoints", nil, body, &endpoint); status != http.StatusCreated {
		t.Fatalf("make an endpoint: status %d, %v", status, err)
	}
	p.sides[0].api.write(t, "object-0")
	receiver.mustReceive(t, 1)
	p.sides[1].mustStart(t)
	want := []string{"object-0"}
	for i := range objects {
		name := fmt.Sprint("object-", i+1)
		p.sides[1].api.write(t, name)
		want = append(want, name)
	}
	_, first := receiver.received()
	receiver.mustReceive(t, min(len(first)+3, len(want)-10))
	p.sides[0].kill()

	writer := etcdtest.NewWriter(t, "/culvert", p.endpoint)
	lock := ""
	for key := range writer.MustAll(t) {
		if strings.HasPrefix(key, "webhooklock/") && strings.HasSuffix(key, "/"+endpoint.ID) {
			lock = key
		}
	}
	if lock == "" {
		t.Fatal("who delivers has no lock")
	}
	if ttl := writer.MustExpire(t, lock); ttl <= 0 || ttl > lockTTL {
		t.Errorf("the lock outlives its process by %v", ttl)
	}
	receiver.mustReceive(t, len(want))
	all, first := receiver.received()
	if !slices.Equal(first, want) {
		t.Errorf("received in the order %v, want %v", first, want)
	}
	if again := len(all) - len(want); again > steps {
		t.Errorf("%d deliveries came again, and %d can have been under way", again, steps)
	}
}
