package keys_test

import (
	"context"
	"sync"

	"culvert/internal/access"
	"culvert/keys"
)

// hostileStore is the real store behind someone who edits what it answers, as a writer of etcd who
// also had the MAC key could: what keys refuses here, it refuses by itself.
type hostileStore struct {
	keys.Store

	mu    sync.Mutex // guards what follows
	kek   func(*keys.KEKRecord, int64) (*keys.KEKRecord, int64, error)
	kekOf func(keys.ID) (keys.ID, error)
}

// onKEK edits the answers of KEK from now on; nil ends it.
func (s *hostileStore) onKEK(edit func(r *keys.KEKRecord, generation int64) (*keys.KEKRecord, int64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kek = edit
}

// onKEKOf edits the answers of KEKOf from now on; nil ends it.
func (s *hostileStore) onKEKOf(edit func(keys.ID) (keys.ID, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kekOf = edit
}

func (s *hostileStore) KEK(ctx context.Context, env access.EnvironmentID, id keys.ID) (*keys.KEKRecord, int64, error) {
	r, generation, err := s.Store.KEK(ctx, env, id)
	s.mu.Lock()
	edit := s.kek
	s.mu.Unlock()
	if err != nil || edit == nil {
		return r, generation, err
	}
	edited := *r
	return edit(&edited, generation)
}

func (s *hostileStore) KEKOf(ctx context.Context, env access.EnvironmentID, c keys.Context) (keys.ID, error) {
	id, err := s.Store.KEKOf(ctx, env, c)
	s.mu.Lock()
	edit := s.kekOf
	s.mu.Unlock()
	if err != nil || edit == nil {
		return id, err
	}
	return edit(id)
}
