package etcd

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DefaultLockTTL is how long locks outlive a process that is gone.
const DefaultLockTTL = 30 * time.Second

// session is the one lease of this process that its locks are bound to: a lease for each would be two more
// writes. It is made when the first lock is taken. Locks save work and no more, so nothing here waits for
// a lease to be sure of it.
type session struct {
	client *Client
	log    *slog.Logger
	ttl    time.Duration
	// life ends with the store, which waits for work.
	life context.Context
	work sync.WaitGroup

	mu sync.Mutex
	// lease is 0 if there is none; end stops keeping it alive. Guarded by mu.
	lease clientv3.LeaseID
	end   context.CancelFunc
}

var errEnding = errors.New("this process is ending")

// current is the lease, made if there is none.
func (s *session) current(ctx context.Context) (clientv3.LeaseID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != 0 {
		return s.lease, nil
	}
	if s.life.Err() != nil {
		return 0, down(errEnding)
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	granted, err := s.client.kv.Grant(ctx, int64((s.ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, down(err)
	}
	life, end := context.WithCancel(s.life)
	alive, err := s.client.kv.KeepAlive(life, granted.ID)
	if err != nil {
		end()
		return 0, down(err)
	}
	s.lease, s.end = granted.ID, end
	s.work.Go(func() {
		for range alive { // the answers say nothing but that it lives
		}
		if s.life.Err() != nil {
			return // close revokes it, and has to know it for that
		}
		if life.Err() == nil {
			s.log.Warn("lease of this process's locks has ended; the next lock makes another")
		}
		s.forget(granted.ID)
	})
	return s.lease, nil
}

// forget makes the next lock ask for another lease.
func (s *session) forget(lease clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == lease && lease != 0 {
		s.end()
		s.lease = 0
	}
}

// close gives the locks up, so that nobody waits for them. It is called when the life of the store has ended.
func (s *session) close() {
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	s.work.Wait()
	if lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := s.client.kv.Revoke(ctx, lease); err != nil {
		s.log.Debug("give up the lease of locks", "error", err)
	}
}
