package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

// dueEntry says that a grant is to be looked at; its key says which one, and when.
type dueEntry struct{}

// ClaimDue implements pipes.Store: entries up to now move to until, all of them or none. An entry that
// fails its MAC is taken like any other, because it says nothing that the grant's own record does not say
// better; to leave it would stop all behind it.
func (s *Store) ClaimDue(ctx context.Context, env access.EnvironmentID, now, until time.Time, limit int) ([]pipes.GrantID, error) {
	from := s.client.abs(kindDue + "/" + string(env) + "/")
	end := s.client.abs(prefixDue(env, now.Add(time.Millisecond)))
	found, err := s.fetchRange(ctx, from, end, int64(limit))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	c := change{env: env}
	var claimed []pipes.GrantID
	seen := map[pipes.GrantID]bool{}
	for _, it := range found {
		id := pipes.GrantID(lastOf(it.key))
		c.when = append(c.when, s.unchanged(it.key, it.revision))
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(it.key)))
		if seen[id] { // a transaction puts a key once
			continue
		}
		seen[id] = true
		if !plainPart(string(id)) {
			continue // no key of ours
		}
		op, err := s.put(env, keyClaimed(env, until, id), dueEntry{})
		if err != nil {
			return nil, err
		}
		c.then = append(c.then, op)
		claimed = append(claimed, id)
	}
	if _, err := s.commitUnchanged(ctx, c); err != nil {
		if errors.Is(err, keys.ErrConflict) {
			err = pipes.ErrConflict
		}
		return nil, err
	}
	return claimed, nil
}

// ReleaseDue implements pipes.Store.
func (s *Store) ReleaseDue(ctx context.Context, claim pipes.Claim, id pipes.GrantID, again time.Time) error {
	env := claim.Environment
	c := change{env: env, then: []clientv3.Op{clientv3.OpDelete(s.client.abs(keyClaimed(env, claim.Until, id)))}}
	if !again.IsZero() && !again.Equal(claim.Until) {
		op, err := s.put(env, keyClaimed(env, again, id), dueEntry{})
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
	}
	_, err := s.commitUnchanged(ctx, c)
	return err
}
