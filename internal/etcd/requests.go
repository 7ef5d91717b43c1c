package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// requestShare is the part of the quota that request records may take: 1/10.
const requestShare = 10

// expectRequest makes a create conditional on its Idempotency-Key being new, and stores the record of
// it. Records stand under the UTC day of the replica that wrote them, so yesterday and tomorrow are
// compared too: a retry after midnight, or on a replica whose clock is ahead, finds them. It returns
// the keys it looks at, in the order of the probes it adds.
func (s *Store) expectRequest(c *change, e *keys.Environment, idem *vault.IdempotencyRecord, now time.Time) ([]string, error) {
	if idem == nil {
		return nil, nil
	}
	if err := s.room.forRequests(); err != nil {
		return nil, err
	}
	index := e.RequestIndex(idem.Method, idem.Path, idem.Key)
	var at []string
	for _, days := range []int{-1, 0, 1} {
		key := prefixRequests(c.env, now.AddDate(0, 0, days)) + index
		at = append(at, key)
		c.when = append(c.when, s.absent(key))
		c.probes = append(c.probes, clientv3.OpGet(s.client.abs(key)))
	}
	op, err := s.put(c.env, at[1], idem.Request)
	if err != nil {
		return nil, err
	}
	c.then = append(c.then, op)
	return at, nil
}

// replayed is the request record that made a create fail, or nil. probes are those of the keys.
func (s *Store) replayed(env access.EnvironmentID, at []string, probes []*etcdserverpb.RangeResponse) (*vault.Request, error) {
	for i, key := range at {
		if kv := firstOf(probes[len(probes)-len(at)+i]); kv != nil {
			return open[vault.Request](s, env, newItem(key, kv))
		}
	}
	return nil, nil
}

// expireRequests removes the days that no retry can ask for any more: everything before yesterday, as
// ranges, so that its cost does not depend on how many there were.
func (s *Store) expireRequests(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for _, env := range s.environments.IDs() {
			yesterday := prefixRequests(env, time.Now().AddDate(0, 0, -1))
			first := s.client.abs(kindRequest + "/" + string(env) + "/")
			callCtx, cancel := bounded(ctx, readTimeout)
			_, err := s.client.kv.Delete(callCtx, first, clientv3.WithRange(s.client.abs(yesterday)))
			cancel()
			if err != nil && ctx.Err() == nil {
				s.log.Warn("remove request records of past days", "error", err)
			}
		}
		s.room.countRequests(ctx, s)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
