package etcd_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/idempotency"
	"culvert/internal/secret"
	"culvert/keys"
)

// retryOf is a request under an Idempotency-Key.
func retryOf(key, body string) *idempotency.Request {
	return &idempotency.Request{Method: "POST", Path: "/jobs", Key: key, Body: secret.New([]byte(body))}
}

// putOnce stores a job of its own under a request, as a call does that makes one.
func (p *place) putOnce(t *testing.T, s *etcd.Store, r *idempotency.Request) (keys.JobID, error) {
	t.Helper()
	job := p.newJob(keys.RewrapJob, keys.Scope{})
	job.KeyURI = strings.Repeat("u", 3000) // so that a proxy knows it for a write
	e := p.event(events.JobCreated, string(job.ID))
	pending := &idempotency.Pending{Request: r}
	pending.Make(string(job.ID))
	_, err := s.PutJob(idempotency.With(t.Context(), pending), job, 0, &e)
	return job.ID, err
}

// TestOnceAtOnce: of requests under one key that come to two replicas at once one stores something, and everybody
// finds the same; another key is another request. One whose answer is lost makes no second one.
func TestOnceAtOnce(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	proxy := etcdtest.NewProxy(t, endpoint)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
	behind := *p
	behind.client = etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	s, lossy := p.mustStore(t), behind.mustStore(t)

	made := make([]keys.JobID, 8)
	var group sync.WaitGroup
	for i := range made {
		group.Go(func() {
			id, err := p.putOnce(t, []*etcd.Store{s, lossy}[i%2], retryOf("k", "body"))
			switch {
			case err == nil:
				made[i] = id
			case !errors.Is(err, idempotency.ErrRepeated):
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	group.Wait()
	made = slices.DeleteFunc(made, func(id keys.JobID) bool { return id == "" })
	if len(made) != 1 {
		t.Fatalf("%d requests have made a job", len(made))
	}
	p.mustFind(t, lossy, "k", string(made[0]))
	if ids, same, err := s.FirstRequest(t.Context(), p.env, retryOf("k", "another")); err != nil || len(ids) != 1 || same {
		t.Errorf("another body: %v, the same: %v, %v", ids, same, err)
	}
	if ids, _, err := s.FirstRequest(t.Context(), p.env, retryOf("unused", "body")); err != nil || len(ids) != 0 {
		t.Errorf("another key: %v, %v", ids, err)
	}
	proxy.Arm(etcdtest.LoseReply)
	first, err := p.putOnce(t, lossy, retryOf("lost", "body"))
	proxy.Arm(0)
	if proxy.Struck(etcdtest.LoseReply) == 0 {
		t.Error("no answer was lost")
	}
	if again, repeated := p.putOnce(t, s, retryOf("lost", "body")); repeated == nil && err != nil {
		first = again // nothing had been stored
	} else if !errors.Is(repeated, idempotency.ErrRepeated) {
		t.Errorf("%v, then %v", err, repeated)
	}
	p.mustFind(t, s, "lost", string(first))
	if n := p.count(t, "job/"); n != 2 {
		t.Errorf("%d jobs of two requests", n)
	}
}

// mustFind checks what a request under a key is said to have made.
func (p *place) mustFind(t *testing.T, s *etcd.Store, key, id string) {
	t.Helper()
	ids, same, err := s.FirstRequest(t.Context(), p.env, retryOf(key, "body"))
	if err != nil || !same || len(ids) != 1 || ids[0] != id {
		t.Errorf("%s has made %v, the same body: %v, want %s: %v", key, ids, same, id, err)
	}
}
