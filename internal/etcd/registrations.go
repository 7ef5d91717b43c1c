package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
)

// Registration is what a store knows of the state directory of a replica. It is made at the directory's
// first start and never removed: who asks later whether the trail is whole has to know whose parts there
// are.
type Registration struct {
	Node string `cbor:"1,keyasint"`
	// Host and Dir are where the directory was at first, for people who look for it.
	Host string    `cbor:"2,keyasint"`
	Dir  string    `cbor:"3,keyasint"`
	At   time.Time `cbor:"4,keyasint"`
}

// Register remembers a state directory in every environment, and tells whether it is new in one. One that
// is known is left as it is. The error is an outage; after one it may be called again.
//
// Environments that are made later learn of it when this process opens them.
func (s *Store) Register(ctx context.Context, r Registration) (first bool, err error) {
	s.newcomers.registration.Store(&r)
	for _, env := range s.environments.IDs() {
		made, err := s.registerIn(ctx, env, r)
		if err != nil {
			return false, err
		}
		first = first || made
	}
	return first, nil
}

func (s *Store) registerIn(ctx context.Context, env access.EnvironmentID, r Registration) (bool, error) {
	key := keyRegistered(env, r.Node)
	op, err := s.put(env, key, r)
	if err != nil {
		return false, err
	}
	made, err := s.putAbsent(ctx, key, op)
	if err != nil {
		return false, fmt.Errorf("register node %s: %w", r.Node, err)
	}
	return made, nil
}

func (s *Store) putAbsent(ctx context.Context, key string, op clientv3.Op) (bool, error) {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	resp, err := s.client.kv.Txn(ctx).If(s.absent(key)).Then(op).Commit()
	if err != nil {
		return false, unsure(err)
	}
	return resp.Succeeded, nil
}

// Registrations are the state directories that ever were, in the order of their node ids. The error is
// [keys.ErrTampered] if one of them is not what was stored.
func (s *Store) Registrations(ctx context.Context, env access.EnvironmentID) ([]Registration, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.get(ctx, s.client.abs(keyRegistered(env, "")), clientv3.WithPrefix())
	if err != nil {
		return nil, down(err)
	}
	all := make([]Registration, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		if err := s.authenticate(env, s.client.rel(kv.Key), kv.Value, &all[i]); err != nil {
			return nil, fmt.Errorf("registration %s: %w", lastOf(s.client.rel(kv.Key)), err)
		}
	}
	return all, nil
}
