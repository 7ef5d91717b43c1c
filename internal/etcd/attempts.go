package etcd

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

// Standing implements pipes.Reader.
func (s *Store) Standing(ctx context.Context, env access.EnvironmentID, id pipes.GrantID) (pipes.Standing, error) {
	var found pipes.Standing
	if !plainPart(string(id)) {
		return found, pipes.ErrNotFound
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	attempt, lock := keyAttempt(env, id), keyLock(env, id)
	resp, err := s.client.kv.Txn(ctx).Then(clientv3.OpGet(s.client.abs(attempt)), clientv3.OpGet(s.client.abs(lock))).Commit()
	if err != nil {
		return found, down(err)
	}
	if kv := firstOf(resp.Responses[1].GetResponseRange()); kv != nil {
		node, process, _ := strings.Cut(string(kv.Value), " ")
		found.Lock = pipes.Lock{Holder: pipes.Holder{Node: node, Process: process}, Revision: kv.ModRevision}
	}
	if kv := firstOf(resp.Responses[0].GetResponseRange()); kv != nil {
		found.Attempt, err = s.attemptIn(env, newItem(attempt, kv))
	}
	return found, err
}

// Attempts implements pipes.Reader.
func (s *Store) Attempts(ctx context.Context, env access.EnvironmentID) ([]pipes.At[pipes.Attempt], error) {
	prefix := keyAttempt(env, "")
	items, err := s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), 0)
	if err != nil {
		return nil, err
	}
	var all []pipes.At[pipes.Attempt]
	var broken error
	for _, it := range items {
		at, err := s.attemptIn(env, it)
		if err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		all = append(all, at)
	}
	return all, broken
}

// attemptIn opens an attempt, which has to be the one of its key.
func (s *Store) attemptIn(env access.EnvironmentID, it *item) (pipes.At[pipes.Attempt], error) {
	record, err := open[pipes.Attempt](s, env, it)
	if err == nil && keyAttempt(env, record.Grant) != it.key {
		err = keys.ErrTampered
	}
	if err != nil {
		return pipes.At[pipes.Attempt]{}, err
	}
	return pipes.At[pipes.Attempt]{Record: record, Revision: it.revision}, nil
}

// PutAttempt implements pipes.Store. Its transactions have no events: an attempt carries its progress.
func (s *Store) PutAttempt(ctx context.Context, p pipes.Step) (int64, error) {
	if err := s.room.forWrite(); err != nil && !p.Remove && p.Lock != pipes.LockReleased {
		return 0, err
	}
	// A lease that etcd has forgotten is known by trying, and then there is another one.
	for range 2 {
		revision, err := s.putAttempt(ctx, p)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return revision, err
		}
	}
	return 0, pipes.ErrConflict
}

func (s *Store) putAttempt(ctx context.Context, p pipes.Step) (int64, error) {
	attempt, lock := keyAttempt(p.Environment, p.Attempt.Grant), keyLock(p.Environment, p.Attempt.Grant)
	c := change{env: p.Environment, when: []clientv3.Cmp{s.unchanged(attempt, p.Revision)}}
	if p.GrantAt != 0 {
		c.when = append(c.when, s.unchanged(keyGrant(p.Environment, p.Attempt.Grant), p.GrantAt))
	}
	if p.Remove {
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(attempt)))
	} else {
		op, err := s.put(p.Environment, attempt, p.Attempt)
		if err != nil {
			return 0, err
		}
		c.then = append(c.then, op)
	}
	var lease clientv3.LeaseID
	switch p.Lock {
	case pipes.LockTaken:
		var err error
		if lease, err = s.session.current(ctx); err != nil {
			return 0, err
		}
		c.when = append(c.when, s.unchanged(lock, p.LockAt))
		c.then = append(c.then, clientv3.OpPut(s.client.abs(lock), p.Attempt.Owner+" "+p.Attempt.Process, clientv3.WithLease(lease)))
	case pipes.LockReleased:
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(lock)))
	}
	revision, err := s.commitUnchanged(ctx, c)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.session.forget(lease)
	}
	if errors.Is(err, keys.ErrConflict) {
		err = pipes.ErrConflict
	}
	return revision, err
}

// conclude takes a grant's attempt and lock away.
func (b *changeBuilder) conclude(id pipes.GrantID, attemptAt int64) {
	attempt := keyAttempt(b.env, id)
	if attemptAt != 0 {
		b.change.when = append(b.change.when, b.store.unchanged(attempt, attemptAt))
		// Like a record of the change: it is the answer to who was in the way.
		b.change.probes = append(b.change.probes, clientv3.OpGet(b.store.client.abs(attempt), clientv3.WithKeysOnly()))
		b.revisions = append(b.revisions, attemptAt)
	}
	for _, key := range []string{attempt, keyLock(b.env, id)} {
		b.change.then = append(b.change.then, clientv3.OpDelete(b.store.client.abs(key)))
	}
}
