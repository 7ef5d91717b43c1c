package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/reads"
	"culvert/keys"
)

// ReadsPlace implements reads.Store.
func (s *Store) ReadsPlace(ctx context.Context, env access.EnvironmentID, node string) (reads.Place, int64, error) {
	it, err := s.fetch(ctx, keyReadsAt(env, node))
	if err != nil || !it.exists() {
		return reads.Place{}, 0, err
	}
	found, err := open[reads.Place](s, env, it)
	if err == nil && (found.Environment != env || found.Node != node) {
		err = keys.ErrTampered
	}
	if err != nil {
		return reads.Place{}, it.revision, err
	}
	return *found, it.revision, nil
}

// TellReads implements reads.Store.
func (s *Store) TellReads(ctx context.Context, p reads.Place, revision int64, told []events.Event) (int64, error) {
	if err := s.room.forWrite(); err != nil {
		return 0, err
	}
	key := keyReadsAt(p.Environment, p.Node)
	op, err := s.put(p.Environment, key, p)
	if err != nil {
		return 0, err
	}
	return s.commitUnchanged(ctx, change{
		env: p.Environment, events: told, when: []clientv3.Cmp{s.unchanged(key, revision)}, then: []clientv3.Op{op},
	})
}

// ForgetReads implements reads.Store.
func (s *Store) ForgetReads(ctx context.Context, env access.EnvironmentID, node string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	if _, err := s.client.kv.Delete(ctx, s.client.abs(keyReadsAt(env, node))); err != nil {
		return down(err)
	}
	return nil
}
