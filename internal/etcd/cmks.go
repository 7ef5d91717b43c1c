package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// CMKMap implements keys.Store, from memory while the watch is current. A map that fails its integrity check
// is an error: taken as absent it would let a KEK escape a customer's key.
func (s *Store) CMKMap(ctx context.Context, env access.EnvironmentID) (*keys.CMKMap, int64, error) {
	it, err := s.lookup(ctx, keyCMKMap(env))
	if err != nil {
		return nil, 0, err
	}
	if !it.exists() {
		return &keys.CMKMap{}, 0, nil
	}
	m, err := open[keys.CMKMap](s, env, it)
	if err != nil {
		return nil, 0, err
	}
	return m, it.revision, nil
}

// ChangeCMKs implements keys.OperationsStore. The map stays once there was one: who removes the last CMK
// leaves an empty map, whose revision KEKs that are made go on comparing.
func (s *Store) ChangeCMKs(ctx context.Context, ch keys.CMKChange) (int64, error) {
	if ch.JobRevision == 0 {
		if err := s.room.forWrite(); err != nil {
			return 0, err
		}
	}
	env := ch.Job.Environment
	job := keyJob(env, ch.Job.ID)
	op, err := s.put(env, job, *ch.Job)
	if err != nil {
		return 0, err
	}
	c := change{env: env, events: ch.Events, then: []clientv3.Op{op}, when: []clientv3.Cmp{
		s.unchanged(job, ch.JobRevision),
	}}
	if ch.Map != nil {
		if op, err = s.put(env, keyCMKMap(env), *ch.Map); err != nil {
			return 0, err
		}
		c.then = append(c.then, op)
		c.when = append(c.when, s.unchanged(keyCMKMap(env), ch.MapRevision))
	}
	return s.commitUnchanged(ctx, c)
}

// ResealKEK implements keys.OperationsStore.
func (s *Store) ResealKEK(ctx context.Context, r keys.KEKRecord, generation, mapRevision int64, ev events.Event) error {
	return s.replaceKEK(ctx, r, generation, ev, s.unchanged(keyCMKMap(r.Environment), mapRevision))
}

// Tell implements keys.OperationsStore.
func (s *Store) Tell(ctx context.Context, env access.EnvironmentID, ev events.Event) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	_, err := s.commitUnchanged(ctx, change{env: env, events: []events.Event{ev}})
	return err
}
