package etcd

import (
	"context"
	"crypto/hmac"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/idempotency"
	"culvert/keys"
	"culvert/vault"
)

// requestShare is the part of the quota that request records may take: 1/10.
const requestShare = 10

// requestKeys are the places where the record of a request may be. Records stand under the UTC day of the replica
// that wrote them, so yesterday and tomorrow are looked at too: a retry after midnight, or on a replica whose clock is
// ahead, finds them. The second is today's.
func requestKeys(e *keys.Environment, method, path, key string, now time.Time) []string {
	index := e.RequestIndex(method, path, key)
	var at []string
	for _, days := range []int{-1, 0, 1} {
		at = append(at, prefixRequests(e.ID(), now.AddDate(0, 0, days))+index)
	}
	return at
}

// placed is the record of a request, of whatever kind, and what places it.
type placed struct {
	request *idempotency.Request
	record  any
}

// expectNew makes a change conditional on its Idempotency-Key being new, and stores the record of it. It returns the
// keys it looks at, in the order of the probes it adds.
func (s *Store) expectNew(c *change, e *keys.Environment, p placed, now time.Time) ([]string, error) {
	if err := s.room.forRequests(); err != nil {
		return nil, err
	}
	at := requestKeys(e, p.request.Method, p.request.Path, p.request.Key, now)
	for _, key := range at {
		c.when = append(c.when, s.absent(key))
		c.probes = append(c.probes, clientv3.OpGet(s.client.abs(key)))
	}
	op, err := s.put(c.env, at[1], p.record)
	if err != nil {
		return nil, err
	}
	c.then = append(c.then, op)
	return at, nil
}

// expectRequest is that for the create of an object.
func (s *Store) expectRequest(c *change, e *keys.Environment, idem *vault.IdempotencyRecord, now time.Time) ([]string, error) {
	if idem == nil {
		return nil, nil
	}
	return s.expectNew(c, e, placed{&idempotency.Request{Method: idem.Method, Path: idem.Path, Key: idem.Key}, idem.Request}, now)
}

// requestOf makes the change of a call under an Idempotency-Key conditional on its being new, and stores with it what
// the change makes. Where the key is not new, the call is told [idempotency.ErrRepeated].
func (s *Store) requestOf(ctx context.Context, c *change) error {
	pending := idempotency.Of(ctx)
	if pending == nil {
		return nil
	}
	e, err := s.environments.Environment(c.env)
	if err != nil {
		return err
	}
	c.requests, err = s.expectNew(c, e, placed{pending.Request, idempotency.Record{
		BodyMAC: e.BodyMAC(pending.Request.Body), IDs: pending.IDs,
	}}, time.Now())
	return err
}

// repeated reports that one of the keys of a change's request is taken; the probes at the end are theirs.
func (c *change) repeated(done outcome) bool {
	if done.committed || len(c.requests) == 0 || len(done.probes) < len(c.requests) {
		return false
	}
	for _, probe := range done.probes[len(done.probes)-len(c.requests):] {
		if firstOf(probe) != nil {
			return true
		}
	}
	return false
}

// FirstRequest implements trail.Requests, from etcd and at one moment: it is asked after a change has failed.
func (s *Store) FirstRequest(ctx context.Context, env access.EnvironmentID, r *idempotency.Request) ([]string, bool, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	places := requestKeys(e, r.Method, r.Path, r.Key, time.Now())
	var reads []clientv3.Op
	for _, key := range places {
		reads = append(reads, clientv3.OpGet(s.client.abs(key)))
	}
	resp, err := s.client.kv.Txn(ctx).Then(reads...).Commit()
	if err != nil {
		return nil, false, down(err)
	}
	for i, key := range places {
		kv := firstOf(resp.Responses[i].GetResponseRange())
		if kv == nil {
			continue
		}
		first, err := open[idempotency.Record](s, env, newItem(key, kv))
		if err != nil {
			return nil, false, err
		}
		return first.IDs, hmac.Equal(first.BodyMAC, e.BodyMAC(r.Body)), nil
	}
	return nil, false, nil
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

// firstCreate is the record of the create that an Idempotency-Key stands for already; nil if there is none.
func (s *Store) firstCreate(ctx context.Context, env access.EnvironmentID, idem *vault.IdempotencyRecord) (*vault.Request, error) {
	if idem == nil {
		return nil, nil
	}
	e, err := s.environments.Environment(env)
	if err != nil {
		return nil, err
	}
	for _, key := range requestKeys(e, idem.Method, idem.Path, idem.Key, time.Now()) {
		it, err := s.fetch(ctx, key)
		if err != nil {
			return nil, err
		}
		if it.exists() {
			return open[vault.Request](s, env, it)
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
