package etcd

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
)

// Tail implements webhooks.Store.
func (s *Store) Tail(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]events.Stored, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	at, err := s.lastEpoch(ctx, env)
	if err != nil {
		return nil, err
	}
	whole, err := s.lookup(ctx, keyArchive(env))
	if err != nil {
		return nil, err
	}
	begins, err := s.archiveIn(env, whole)
	if err != nil {
		return nil, err
	}
	w := eventWalk{store: s, env: env, first: begins.From, last: at.number}
	found, err := w.collect(ctx, after, limit)
	if errors.Is(err, events.ErrUnknownCursor) {
		// Rather an event twice than one not at all: it is not known which of its epoch were seen.
		epoch, _ := id.EventEpoch(after)
		found, err = w.goOn(ctx, nil, min(max(epoch, begins.From), at.number), limit)
	}
	if err != nil {
		return nil, err
	}
	tail := make([]events.Stored, len(found))
	for i, e := range found {
		tail[i] = e.Stored
	}
	return tail, nil
}
