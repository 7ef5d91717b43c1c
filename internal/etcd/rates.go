package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
)

// environmentRate stands for the environment as a whole among the subjects of its limits; no API key's id is one word.
const environmentRate = "environment"

// TakeRate implements ratelimit.Store. The record is a window and what was taken of its budget, in clear and without
// a MAC; the next window is written over it, so there is one for each subject.
func (s *Store) TakeRate(ctx context.Context, env access.EnvironmentID, subject string, window int64, n, budget int) (int64, int, error) {
	if subject == "" {
		subject = environmentRate
	}
	key := s.client.abs(keyRate(env, subject))
	for ctx.Err() == nil {
		resp, err := s.client.kv.Get(ctx, key)
		if err != nil {
			return 0, 0, down(err)
		}
		from, taken, revision := window, 0, int64(0)
		if len(resp.Kvs) == 1 {
			revision = resp.Kvs[0].ModRevision
			if at, was, ok := parseRate(resp.Kvs[0].Value); ok && (at == window || at == window+1) {
				from, taken = at, was
			}
		}
		got := min(n, budget-taken)
		if got <= 0 {
			return from, 0, nil
		}
		put := clientv3.OpPut(key, fmt.Sprintf("%d %d", from, taken+got))
		txn, err := s.client.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(put).Commit()
		if err != nil {
			return 0, 0, unsure(err)
		}
		if txn.Succeeded {
			return from, got, nil
		}
	}
	return 0, 0, down(ctx.Err())
}

// parseRate reads a record of [Store.TakeRate]; what is none is as if it were not there.
func parseRate(value []byte) (window int64, taken int, ok bool) {
	if len(value) > 40 {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(string(value), "%d %d", &window, &taken)
	return window, taken, err == nil && n == 2 && taken >= 0
}

// Replicas implements ratelimit.Store: the replicas that this one has heard of lately.
func (s *Store) Replicas() int { return s.nodes.live() }
