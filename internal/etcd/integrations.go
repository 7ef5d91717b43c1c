package etcd

import (
	"context"
	"slices"
	"strings"

	"culvert/internal/access"
	"culvert/pipes"
)

// Integration implements pipes.Reader.
func (s *Store) Integration(ctx context.Context, env access.EnvironmentID, slug string, o pipes.Ownership) (pipes.At[pipes.Integration], error) {
	return readAt[pipes.Integration](ctx, s, env, keyIntegration(env, slug, o), slug, string(o))
}

// Integrations implements pipes.Reader: from memory while the watch is current.
func (s *Store) Integrations(ctx context.Context, env access.EnvironmentID) ([]pipes.At[pipes.Integration], error) {
	prefix := kindIntegration + "/" + string(env) + "/"
	current := s.feed.current() // asked first: what is listed before may be older
	items := s.mirror.list(prefix)
	if !current {
		var err error
		if items, err = s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), 0); err != nil {
			return nil, err
		}
	}
	all, err := openAll[pipes.Integration](s, env, items)
	slices.SortFunc(all, func(a, b pipes.At[pipes.Integration]) int {
		return strings.Compare(string(a.Record.ID), string(b.Record.ID))
	})
	return all, err
}
