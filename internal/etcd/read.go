package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/pipes"
)

// lookup reads one key: from memory where the watch keeps it current, else from etcd. It never returns
// nil: a key that does not exist is an item that does not exist.
func (s *Store) lookup(ctx context.Context, key string) (*item, error) {
	if !s.feed.current() {
		return s.fetch(ctx, key)
	}
	kind := kindOf(key)
	if mirrored(kind) {
		return s.mirror.get(key), nil
	}
	if !cached(kind) {
		return s.fetch(ctx, key)
	}
	if it := s.cache.get(key); it != nil {
		return it, nil
	}
	filling := s.cache.begin(key)
	it, err := s.fetch(ctx, key)
	s.cache.finish(key, filling, it)
	return it, err
}

// fetch reads one key from etcd, linearizably.
func (s *Store) fetch(ctx context.Context, key string) (*item, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.get(ctx, s.client.abs(key))
	if err != nil {
		return nil, down(err)
	}
	if len(resp.Kvs) == 0 {
		return newItem(key, nil), nil
	}
	return newItem(key, resp.Kvs[0]), nil
}

// readAt looks up one record. parts are what a caller's text contributes to the key.
func readAt[T any](ctx context.Context, s *Store, env access.EnvironmentID, key string, parts ...string) (pipes.At[T], error) {
	for _, part := range parts {
		if !plainPart(part) {
			return pipes.At[T]{}, pipes.ErrNotFound
		}
	}
	it, err := s.lookup(ctx, key)
	if err != nil {
		return pipes.At[T]{}, err
	}
	if !it.exists() {
		return pipes.At[T]{}, pipes.ErrNotFound
	}
	record, err := open[T](s, env, it)
	return pipes.At[T]{Record: record, Revision: it.revision}, err
}

func openAll[T any](s *Store, env access.EnvironmentID, items []*item) ([]pipes.At[T], error) {
	all := make([]pipes.At[T], 0, len(items))
	for _, it := range items {
		record, err := open[T](s, env, it)
		if err != nil {
			return nil, err
		}
		all = append(all, pipes.At[T]{Record: record, Revision: it.revision})
	}
	return all, nil
}

// fetchRange reads [from, end) of absolute keys from etcd, linearizably; limit 0 reads all.
func (s *Store) fetchRange(ctx context.Context, from, end string, limit int64) ([]*item, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(limit))
	if err != nil {
		return nil, down(err)
	}
	items := make([]*item, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		items = append(items, newItem(s.client.rel(kv.Key), kv))
	}
	return items, nil
}

// plainPart keeps a caller's text out of keys: slugs and ids are letters, digits, dashes, underscores.
func plainPart(text string) bool {
	if text == "" || len(text) > 64 {
		return false
	}
	for _, r := range text {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}
