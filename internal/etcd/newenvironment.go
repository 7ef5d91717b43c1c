package etcd

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/environments"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
)

// AllEnvironments implements environments.Store. It reads etcd itself: it is asked seldom, and the moment of the list
// is what a creation is compared with.
func (s *Store) AllEnvironments(ctx context.Context) ([]*keys.Environment, int64, error) {
	readCtx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.get(readCtx, s.client.abs(kindEnv+"/"), clientv3.WithPrefix())
	if err != nil {
		return nil, 0, down(err)
	}
	all := make([]*keys.Environment, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		it := newItem(s.client.rel(kv.Key), kv)
		env := envOf(it.key)
		if err := s.newcomers.admit(ctx, env, it); err != nil {
			return nil, 0, environmentsError(err)
		}
		e, err := s.environments.Environment(env)
		if err != nil { // there is nobody here to open it
			return nil, 0, environmentsError(keys.ErrTampered)
		}
		all = append(all, e)
	}
	return all, resp.Header.Revision, nil
}

// environmentsError makes the errors of this package known to those who know environments.
func environmentsError(err error) error {
	switch {
	case errors.Is(err, keys.ErrTampered):
		return fmt.Errorf("%w: %w", environments.ErrTampered, err)
	case errors.Is(err, keys.ErrConflict):
		return fmt.Errorf("%w: %w", environments.ErrConflict, err)
	}
	return err
}

// CreateEnvironment implements environments.Store: record, first epoch, first API key and its event, and the event in
// the log of the environment that asked. It compares that no environment came after the moment, whatever its id.
func (s *Store) CreateEnvironment(ctx context.Context, c environments.Creation) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	env := c.Record.ID
	none := clientv3.Compare(clientv3.CreateRevision(s.client.abs(kindEnv+"/")), "<", c.Moment+1).WithPrefix()
	ch := change{env: c.By, events: []events.Event{c.Event}, when: []clientv3.Cmp{none}}
	ch.then = append(ch.then, clientv3.OpPut(s.client.abs(keyEpoch(env)), "1"))
	first := eventRecord{Type: c.First.Type, Data: c.First.Data, At: c.First.At, Node: c.First.Node, Index: c.First.Index}
	for key, record := range map[string]any{
		keyEnv(env): c.Record, keyAPIKey(env, c.APIKey.ID): c.APIKey,
		keyEvent(env, 1, id.Event(c.First.At, 1)): first,
	} {
		value, err := authentic(s.codec, c.Environment, key, record)
		if err != nil {
			return err
		}
		ch.then = append(ch.then, opPut(s.client.abs(key), value))
	}
	if _, err := s.commitUnchanged(ctx, ch); err != nil {
		return environmentsError(err)
	}
	// It was committed, whatever comes now: this replica goes by it, and another one opens it by itself.
	ctx = context.WithoutCancel(ctx)
	s.newcomers.take(ctx, c.Environment)
	s.epochs.count(env, 1)
	_ = s.Fence(ctx)
	return nil
}
