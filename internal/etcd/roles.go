package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/events"
)

// Role implements access.KeyStore: from memory, as API keys.
func (s *Store) Role(ctx context.Context, env access.EnvironmentID, name access.Role) (access.RoleRecord, int64, error) {
	if !plainPart(string(name)) {
		return access.RoleRecord{}, 0, access.ErrNoRole
	}
	it, err := s.lookup(ctx, keyRole(env, name))
	if err != nil {
		return access.RoleRecord{}, 0, err
	}
	if !it.exists() {
		return access.RoleRecord{}, 0, access.ErrNoRole
	}
	record, err := open[access.RoleRecord](s, env, it)
	if err != nil {
		return access.RoleRecord{}, it.revision, admissionError(err)
	}
	return *record, it.revision, nil
}

// Roles implements admission.Store.
func (s *Store) Roles(ctx context.Context, env access.EnvironmentID) ([]admission.RoleAt, error) {
	items, err := s.steering(ctx, keyRole(env, ""))
	if err != nil {
		return nil, err
	}
	all := make([]admission.RoleAt, 0, len(items))
	for _, it := range items {
		record, err := open[access.RoleRecord](s, env, it)
		if err == nil && keyRole(record.Environment, record.Name) != it.key {
			err = admission.ErrTampered
		}
		if err != nil {
			return nil, admissionError(err)
		}
		all = append(all, admission.RoleAt{Record: record, Revision: it.revision})
	}
	return all, nil
}

// ChangeRole implements admission.Store.
func (s *Store) ChangeRole(ctx context.Context, ch admission.RoleChange) error {
	key := keyRole(ch.Environment, ch.Name)
	c := change{
		env: ch.Environment, events: []events.Event{ch.Event}, when: []clientv3.Cmp{s.unchanged(key, ch.Revision)},
		then: []clientv3.Op{clientv3.OpDelete(s.client.abs(key))},
	}
	if ch.Record != nil {
		if err := s.room.forWrite(); err != nil {
			return err
		}
		op, err := s.put(ch.Environment, key, *ch.Record)
		if err != nil {
			return err
		}
		c.then = []clientv3.Op{op}
	}
	return s.steer(ctx, c)
}
