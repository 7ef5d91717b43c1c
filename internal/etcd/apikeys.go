package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/keys"
)

// APIKey implements access.KeyStore: from memory, since every replica holds all API keys.
// An environment that was made meanwhile is opened for its first key: a key id that names an environment of which
// there is no record costs a look into memory, as any other.
func (s *Store) APIKey(ctx context.Context, env access.EnvironmentID, id string) (access.KeyRecord, int64, error) {
	if err := s.newcomers.meet(ctx, env); err != nil {
		return access.KeyRecord{}, 0, admissionError(err)
	}
	it, err := s.lookup(ctx, keyAPIKey(env, id))
	if err != nil {
		return access.KeyRecord{}, 0, err
	}
	if !it.exists() {
		return access.KeyRecord{}, 0, access.ErrNoKey
	}
	record, err := open[access.KeyRecord](s, env, it)
	if err != nil {
		return access.KeyRecord{}, 0, admissionError(err)
	}
	return *record, it.revision, nil
}

// admissionError makes the errors of this package known to those who know no keys.
func admissionError(err error) error {
	switch {
	case errors.Is(err, keys.ErrTampered):
		return fmt.Errorf("%w: %w", admission.ErrTampered, err)
	case errors.Is(err, keys.ErrConflict):
		return fmt.Errorf("%w: %w", admission.ErrConflict, err)
	}
	return err
}

// APIKeys implements admission.Store.
func (s *Store) APIKeys(ctx context.Context, env access.EnvironmentID) (all []admission.KeyAt, broken []string, err error) {
	items, err := s.steering(ctx, keyAPIKey(env, ""))
	if err != nil {
		return nil, nil, err
	}
	for _, it := range items {
		record, err := open[access.KeyRecord](s, env, it)
		if err != nil || keyAPIKey(record.Environment, record.ID) != it.key {
			broken = append(broken, lastOf(it.key))
			continue
		}
		all = append(all, admission.KeyAt{Record: record, Revision: it.revision})
	}
	return all, broken, nil
}

// steering are the records of a mirrored kind with a prefix, in order of their keys.
func (s *Store) steering(ctx context.Context, prefix string) ([]*item, error) {
	current := s.feed.current() // asked first: what is listed before may be older
	items := s.mirror.list(prefix)
	if !current {
		return s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), 0)
	}
	slices.SortFunc(items, func(a, b *item) int { return strings.Compare(a.key, b.key) })
	return items, nil
}

// ChangeAPIKeys implements admission.Store.
func (s *Store) ChangeAPIKeys(ctx context.Context, ch admission.KeyChange) error {
	if !ch.Protects {
		if err := s.room.forWrite(); err != nil {
			return err
		}
	}
	env := ch.Environment
	c := change{env: env, events: ch.Events}
	for _, k := range ch.Put {
		key := keyAPIKey(env, k.Record.ID)
		op, err := s.put(env, key, *k.Record)
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
		c.when = append(c.when, s.unchanged(key, k.Revision))
	}
	for _, k := range ch.Remove {
		key := keyAPIKey(env, k.Record.ID)
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(key)), clientv3.OpDelete(s.client.abs(keyAPIKeyUse(env, k.Record.ID))))
		c.when = append(c.when, s.unchanged(key, k.Revision))
	}
	for _, k := range ch.Stay {
		c.when = append(c.when, s.unchanged(keyAPIKey(env, k.Record.ID), k.Revision))
	}
	if ch.RoleRevision != 0 {
		c.when = append(c.when, s.unchanged(keyRole(env, ch.Role), ch.RoleRevision))
	}
	return s.steer(ctx, c)
}

// steer commits a change of steering records, and returns once this replica goes by it.
func (s *Store) steer(ctx context.Context, c change) error {
	if _, err := s.commitUnchanged(ctx, c); err != nil {
		return admissionError(err)
	}
	// It was committed, whatever the fence says: requests here have fences of their own.
	_ = s.Fence(context.WithoutCancel(ctx))
	return nil
}

// keyUse is when an API key was used last.
type keyUse struct {
	At time.Time `cbor:"1,keyasint"`
}

// LastUse implements admission.Store.
func (s *Store) LastUse(ctx context.Context, env access.EnvironmentID, keyID string) (time.Time, error) {
	it, err := s.lookup(ctx, keyAPIKeyUse(env, keyID))
	if err != nil || !it.exists() {
		return time.Time{}, err
	}
	use, err := open[keyUse](s, env, it)
	if err != nil {
		return time.Time{}, admissionError(err)
	}
	return use.At, nil
}

// PutLastUse implements admission.Store. It has no event: it is nothing that anybody asked for. A record that is not
// what was stored is written anew.
func (s *Store) PutLastUse(ctx context.Context, u access.Use) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	key := keyAPIKeyUse(u.Environment, u.KeyID)
	it, err := s.lookup(ctx, key)
	if err != nil {
		return err
	}
	if it.exists() {
		if last, err := open[keyUse](s, u.Environment, it); err == nil && !last.At.Before(u.At) {
			return nil
		}
	}
	op, err := s.put(u.Environment, key, keyUse{u.At})
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	// The key has to be there: its removal takes the use along.
	exists := clientv3.Compare(clientv3.CreateRevision(s.client.abs(keyAPIKey(u.Environment, u.KeyID))), ">", 0)
	if _, err := s.client.kv.Txn(ctx).If(s.unchanged(key, it.revision), exists).Then(op).Commit(); err != nil {
		return fmt.Errorf("store the last use of an API key: %w", unsure(err))
	}
	return nil
}

// CreateAPIKey stores a new API key; one with the same id is left as it is. It returns once the key
// can be used on this replica; on others it can as soon as their fence sees it. After an outage of kind
// Unknown the caller simply does it again. It is for keys that no caller asks for: those have an event.
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
