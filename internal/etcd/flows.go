package etcd

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"culvert/internal/access"
	"culvert/pipes"
)

// Flow implements pipes.Reader.
func (s *Store) Flow(ctx context.Context, env access.EnvironmentID, id pipes.FlowID) (pipes.At[pipes.Flow], error) {
	return readAt[pipes.Flow](ctx, s, env, keyFlow(env, id), string(id))
}

// Flows implements pipes.Reader. A flow's id begins with its time of creation.
func (s *Store) Flows(ctx context.Context, env access.EnvironmentID, from, to time.Time) ([]pipes.At[pipes.Flow], error) {
	bound := func(t time.Time) string {
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(t)) // fails in the year 10889
		return s.client.abs(keyFlow(env, pipes.FlowID(id.String())))
	}
	items, err := s.fetchRange(ctx, bound(from), bound(to), 0)
	if err != nil {
		return nil, err
	}
	return openAll[pipes.Flow](s, env, items)
}
