package etcd

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

// revokingEntry says that the revocation of its key is pending: the queue, without what has ended.
type revokingEntry struct {
	Account pipes.AccountID `cbor:"1,keyasint"`
}

// Revocation implements pipes.Reader.
func (s *Store) Revocation(ctx context.Context, env access.EnvironmentID, id pipes.AccountID) (pipes.At[pipes.Revocation], error) {
	found, err := readAt[pipes.Revocation](ctx, s, env, keyRevocation(env, id), string(id))
	if err == nil && (found.Record.ID != id || found.Record.Environment != env) {
		return pipes.At[pipes.Revocation]{}, keys.ErrTampered
	}
	return found, err
}

// Revocations implements pipes.Reader.
func (s *Store) Revocations(ctx context.Context, env access.EnvironmentID, after pipes.AccountID, limit int) ([]pipes.At[pipes.Revocation], error) {
	items, err := s.behind(ctx, keyRevocation(env, ""), string(after), limit)
	if err != nil {
		return nil, err
	}
	return openAll[pipes.Revocation](s, env, items)
}

// Revoking implements pipes.Reader.
func (s *Store) Revoking(ctx context.Context, env access.EnvironmentID, after pipes.AccountID, limit int) (ids []pipes.AccountID, next pipes.AccountID, err error) {
	items, err := s.behind(ctx, keyRevoking(env, ""), string(after), limit)
	if err != nil {
		return nil, "", err
	}
	var broken error
	for _, it := range items {
		id := pipes.AccountID(lastOf(it.key))
		if len(items) == limit {
			next = id
		}
		if _, err := open[revokingEntry](s, env, it); err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		ids = append(ids, id)
	}
	return ids, next, broken
}

// Retired implements pipes.Reader.
func (s *Store) Retired(ctx context.Context, env access.EnvironmentID) ([]pipes.At[pipes.Integration], error) {
	items, err := s.behind(ctx, keyRetired(env, ""), "", 0)
	if err != nil {
		return nil, err
	}
	all, err := openAll[pipes.Integration](s, env, items)
	for i, found := range all {
		if keyRetired(found.Record.Environment, found.Record.ID) != items[i].key {
			return nil, keys.ErrTampered
		}
	}
	return all, err
}

// behind reads up to limit keys of a prefix with ids behind after; 0 reads all.
func (s *Store) behind(ctx context.Context, prefix, after string, limit int) ([]*item, error) {
	from := s.client.abs(prefix)
	if after != "" {
		from = s.client.abs(prefix+after) + "\x00"
	}
	return s.fetchRange(ctx, from, s.client.end(prefix), int64(limit))
}

// revocation adds a revocation, and its place in the queue for as long as it is pending.
func (b *changeBuilder) revocation(r *pipes.Put[pipes.Revocation]) {
	addPut(b, keyRevocation(b.env, r.Record.ID), r)
	ended := r.Remove || r.Record.State != pipes.RevocationPending
	b.index(keyRevoking(b.env, r.Record.ID), revokingEntry{Account: r.Record.ID}, ended)
}
