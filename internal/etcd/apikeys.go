package etcd

import (
	"context"
	"fmt"

	"culvert/internal/access"
)

// APIKey implements access.KeyStore: from memory, since every replica holds all API keys.
func (s *Store) APIKey(ctx context.Context, env access.EnvironmentID, id string) (access.KeyRecord, int64, error) {
	it, err := s.lookup(ctx, keyAPIKey(env, id))
	if err != nil {
		return access.KeyRecord{}, 0, err
	}
	if !it.exists() {
		return access.KeyRecord{}, 0, access.ErrNoKey
	}
	record, err := open[access.KeyRecord](s, env, it)
	if err != nil {
		return access.KeyRecord{}, 0, err
	}
	return *record, it.revision, nil
}

// CreateAPIKey stores a new API key; one with the same id is left as it is. It returns once the key
// can be used on this replica; on others it can as soon as their fence sees it. After an outage of kind
// Unknown the caller simply does it again.
func (s *Store) CreateAPIKey(ctx context.Context, record access.KeyRecord) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	key := keyAPIKey(record.Environment, record.ID)
	op, err := s.put(record.Environment, key, record)
	if err != nil {
		return err
	}
	sendCtx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	if _, err := s.client.kv.Txn(sendCtx).If(s.absent(key)).Then(op).Commit(); err != nil {
		return fmt.Errorf("store API key: %w", unsure(err))
	}
	return s.Fence(ctx)
}
