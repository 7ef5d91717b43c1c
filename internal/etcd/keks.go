package etcd

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// kekPointer leads from a key context to its KEK.
type kekPointer struct {
	KeyID keys.ID `cbor:"1,keyasint"`
}

// KEK implements keys.Store. The KEK generation is the revision of the record.
func (s *Store) KEK(ctx context.Context, env access.EnvironmentID, id keys.ID) (*keys.KEKRecord, int64, error) {
	if !plainID(string(id)) {
		return nil, 0, keys.ErrKEKNotFound
	}
	it, err := s.lookup(ctx, keyKEK(env, id))
	if err != nil {
		return nil, 0, err
	}
	if !it.exists() {
		return nil, 0, keys.ErrKEKNotFound
	}
	record, err := open[keys.KEKRecord](s, env, it)
	if err != nil {
		return nil, 0, err
	}
	return record, it.revision, nil
}

// KEKOf implements keys.Store.
func (s *Store) KEKOf(ctx context.Context, env access.EnvironmentID, c keys.Context) (keys.ID, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return "", err
	}
	it, err := s.lookup(ctx, keyKEKOf(env, e.ContextIndex(c)))
	if err != nil {
		return "", err
	}
	if !it.exists() {
		return "", keys.ErrKEKNotFound
	}
	pointer, err := open[kekPointer](s, env, it)
	if err != nil {
		return "", err
	}
	return pointer.KeyID, nil
}

// CMKMapRevision implements keys.Store.
func (s *Store) CMKMapRevision(ctx context.Context, env access.EnvironmentID, c keys.Context) (int64, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return 0, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	for name, value := range c.Items() {
		marker, err := s.lookup(ctx, keyShred(env, e.ItemIndex(name, value)))
		if err != nil {
			return 0, err
		}
		if marker.exists() {
			if err := s.vouch(env, marker); err != nil {
				return 0, err
			}
			return 0, keys.ErrShredding
		}
	}
	it, err := s.lookup(ctx, keyCMKMap(env))
	if err != nil {
		return 0, err
	}
	if it.exists() {
		if err := s.vouch(env, it); err != nil {
			return 0, err
		}
	}
	return it.revision, nil
}

// vouch checks the MAC of a record whose content is not needed. A guard that fails stops the creation:
// taken as absent it would let a KEK escape a customer's key.
func (s *Store) vouch(env access.EnvironmentID, it *item) error {
	var content any
	return s.authenticate(env, it.key, it.value, &content)
}

// CreateKEK implements keys.Store.
func (s *Store) CreateKEK(ctx context.Context, conditions keys.Conditions) error {
	if conditions.Create == nil {
		return errors.New("etcd: CreateKEK without a creation")
	}
	if err := s.forGrowth(); err != nil {
		return err
	}
	c := change{env: conditions.Environment}
	if err := s.expectKEK(&c, conditions); err != nil {
		return err
	}
	done, err := s.commit(ctx, c)
	if err != nil || done.committed {
		return err
	}
	return keys.ErrConflict
}

// expectKEK makes a change conditional on the KEK being as the value was sealed under: shred, rotation
// and another replica's creation become a conflict. A KEK that does not exist yet is created with it.
func (s *Store) expectKEK(c *change, conditions keys.Conditions) error {
	env := conditions.Environment
	kek := keyKEK(env, conditions.KeyID)
	if conditions.Create == nil {
		c.when = append(c.when, clientv3.Compare(clientv3.ModRevision(s.client.abs(kek)), "=", conditions.Generation))
		return nil
	}
	e, err := s.environments.Environment(env)
	if err != nil {
		return err
	}
	created := conditions.Create
	pointer := keyKEKOf(env, e.ContextIndex(created.Record.Context()))
	c.when = append(c.when, s.absent(kek), s.absent(pointer),
		clientv3.Compare(clientv3.ModRevision(s.client.abs(keyCMKMap(env))), "=", created.CMKMapRevision))
	for name, value := range created.Record.Items {
		c.when = append(c.when, s.absent(keyShred(env, e.ItemIndex(name, value))))
	}
	record, err := s.put(env, kek, created.Record)
	if err != nil {
		return err
	}
	to, err := s.put(env, pointer, kekPointer{KeyID: conditions.KeyID})
	if err != nil {
		return err
	}
	c.then = append(c.then, record, to)
	// The KEK comes before the object that it was made for.
	c.events = append([]events.Event{created.Event}, c.events...)
	return nil
}
