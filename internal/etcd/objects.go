package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/vault"
)

// nameRecord is the name index: the name itself stands in it so that its MAC binds it.
type nameRecord struct {
	Name string         `cbor:"1,keyasint"`
	ID   vault.ObjectID `cbor:"2,keyasint"`
}

// Header implements vault.Reader.
func (s *Store) Header(ctx context.Context, env access.EnvironmentID, id vault.ObjectID) (vault.Stored, error) {
	if !plainID(string(id)) {
		return vault.Stored{}, vault.ErrNotFound
	}
	it, err := s.lookup(ctx, keyObject(env, id))
	if err != nil {
		return vault.Stored{}, err
	}
	return s.stored(env, it)
}

func (s *Store) stored(env access.EnvironmentID, it *item) (vault.Stored, error) {
	if !it.exists() {
		return vault.Stored{}, vault.ErrNotFound
	}
	h, err := open[vault.Header](s, env, it)
	if err != nil {
		return vault.Stored{}, err
	}
	if len(h.Versions) == 0 {
		return vault.Stored{}, keys.ErrTampered
	}
	return vault.Stored{Header: h, Revision: it.revision}, nil
}

// HeaderByName implements vault.Reader. The two lookups of the fast path may see two moments; if they
// do not fit together, both are read from etcd at one revision, so that a name that was taken all the
// time is never answered with "not found".
func (s *Store) HeaderByName(ctx context.Context, env access.EnvironmentID, name string) (vault.Stored, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return vault.Stored{}, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	key := keyName(env, e.NameIndex(name))
	it, err := s.lookup(ctx, key)
	if err != nil {
		return vault.Stored{}, err
	}
	if !it.exists() {
		return vault.Stored{}, vault.ErrNotFound
	}
	index, err := s.openName(env, it, name)
	if err != nil {
		return vault.Stored{}, err
	}
	object, err := s.lookup(ctx, keyObject(env, index.ID))
	if err != nil {
		return vault.Stored{}, err
	}
	if !object.exists() {
		return s.headerByNameAtOnce(ctx, env, key, name)
	}
	return s.stored(env, object)
}

func (s *Store) headerByNameAtOnce(ctx context.Context, env access.EnvironmentID, key, name string) (vault.Stored, error) {
	found, err := s.headerByNameAt(ctx, env, key, name)
	if errors.Is(err, rpctypes.ErrCompacted) {
		found, err = s.headerByNameAt(ctx, env, key, name) // history was forgotten between the two reads
	}
	return found, err
}

// headerByNameAt reads name and object at one revision.
func (s *Store) headerByNameAt(ctx context.Context, env access.EnvironmentID, key, name string) (vault.Stored, error) {
	resp, err := s.client.get(ctx, s.client.abs(key))
	if err != nil {
		return vault.Stored{}, down(err)
	}
	if len(resp.Kvs) == 0 {
		return vault.Stored{}, vault.ErrNotFound
	}
	index, err := s.openName(env, newItem(key, resp.Kvs[0]), name)
	if err != nil {
		return vault.Stored{}, err
	}
	object := keyObject(env, index.ID)
	at, err := s.client.get(ctx, s.client.abs(object), clientv3.WithRev(resp.Header.Revision))
	if err != nil {
		return vault.Stored{}, down(err)
	}
	if len(at.Kvs) == 0 {
		// A name without its object at one revision: no transaction of ours leaves that behind.
		return vault.Stored{}, keys.ErrTampered
	}
	return s.stored(env, newItem(object, at.Kvs[0]))
}

func (s *Store) openName(env access.EnvironmentID, it *item, name string) (*nameRecord, error) {
	index, err := open[nameRecord](s, env, it)
	if err != nil {
		return nil, err
	}
	if index.Name != name {
		return nil, keys.ErrTampered
	}
	return index, nil
}

// Ciphertext implements vault.Reader.
func (s *Store) Ciphertext(ctx context.Context, env access.EnvironmentID, id vault.ObjectID, sequence uint64) ([]byte, error) {
	it, err := s.lookup(ctx, keyVersion(env, id, sequence))
	if err != nil {
		return nil, err
	}
	if !it.exists() {
		return nil, vault.ErrNotFound
	}
	return it.value, nil
}

// Create implements vault.Writer.
func (s *Store) Create(ctx context.Context, w vault.Write, idem *vault.IdempotencyRecord) (replayed *vault.Request, err error) {
	if err := s.forGrowth(); err != nil {
		return nil, err
	}
	err = s.within(ctx, &w.Header, func(g *guard) (err error) {
		replayed, err = s.create(ctx, w, idem, g)
		return err
	})
	if errors.Is(err, vault.ErrTooManyObjects) || errors.Is(err, vault.ErrTooManyBytes) {
		// It may be the repetition of the one that took the last of the quota.
		if first, failed := s.firstCreate(ctx, w.Header.Environment, idem); first != nil || failed != nil {
			return first, failed
		}
	}
	return replayed, err
}

// create is one round of a create.
func (s *Store) create(ctx context.Context, w vault.Write, idem *vault.IdempotencyRecord, g *guard) (*vault.Request, error) {
	env, h := w.Header.Environment, &w.Header
	e, err := s.environments.Environment(env)
	if err != nil {
		return nil, err
	}
	name, object := keyName(env, e.NameIndex(h.Name)), keyObject(env, h.ID)
	c := change{env: env, events: []events.Event{w.Event}, guard: g}
	c.when = append(c.when, s.absent(name), s.absent(object))
	c.probes = append(c.probes, clientv3.OpGet(s.client.abs(name), clientv3.WithKeysOnly()))
	if err := s.writeVersion(&c, w); err != nil {
		return nil, err
	}
	op, err := s.put(env, name, nameRecord{Name: h.Name, ID: h.ID})
	if err != nil {
		return nil, err
	}
	c.then = append(c.then, op)
	if err := s.expectKEK(&c, w.Conditions); err != nil {
		return nil, err
	}
	requests, err := s.expectRequest(&c, e, idem, h.UpdatedAt())
	if err != nil {
		return nil, err
	}
	done, err := s.commit(ctx, c)
	if err != nil || done.committed {
		return nil, err
	}
	// The request record comes first: a repeated create finds its own name taken.
	if replayed, err := s.replayed(env, requests, done.probes[1:]); replayed != nil || err != nil {
		return replayed, err
	}
	if firstOf(done.probes[0]) != nil {
		return nil, vault.ErrExists
	}
	return nil, keys.ErrConflict
}

// Update implements vault.Writer.
func (s *Store) Update(ctx context.Context, w vault.Write, revision int64, pruneTo uint64) error {
	if err := s.forGrowth(); err != nil {
		return err
	}
	return s.within(ctx, &w.Header, func(g *guard) error { return s.update(ctx, w, revision, pruneTo, g) })
}

// update is one round of an update.
func (s *Store) update(ctx context.Context, w vault.Write, revision int64, pruneTo uint64, g *guard) error {
	env, h := w.Header.Environment, &w.Header
	object := s.client.abs(keyObject(env, h.ID))
	c := change{env: env, events: []events.Event{w.Event}, guard: g}
	c.when = append(c.when, clientv3.Compare(clientv3.ModRevision(object), "=", revision))
	c.probes = append(c.probes, clientv3.OpGet(object, clientv3.WithKeysOnly()))
	if err := s.writeVersion(&c, w); err != nil {
		return err
	}
	if pruneTo > 0 {
		// Sequences count down in the key: the oldest one comes last.
		oldest := pruneTo + 1 - min(max(w.Pruned, 1), pruneTo)
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(keyVersion(env, h.ID, pruneTo)),
			clientv3.WithRange(s.client.abs(keyVersion(env, h.ID, oldest))+"\x00")))
	}
	if err := s.expectKEK(&c, w.Conditions); err != nil {
		return err
	}
	done, err := s.commit(ctx, c)
	if err != nil || done.committed {
		return err
	}
	return headerOrKEK(done.probes[0], revision)
}

// Delete implements vault.Writer.
func (s *Store) Delete(ctx context.Context, h vault.Header, revision int64, ev events.Event) error {
	e, err := s.environments.Environment(h.Environment)
	if err != nil {
		return err
	}
	object := s.client.abs(keyObject(h.Environment, h.ID))
	done, err := s.commit(ctx, change{
		env:    h.Environment,
		events: []events.Event{ev},
		when:   []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(object), "=", revision)},
		then: []clientv3.Op{
			clientv3.OpDelete(object),
			clientv3.OpDelete(s.client.abs(keyName(h.Environment, e.NameIndex(h.Name)))),
			// By range: a transaction has room for 128 operations, an object may keep more versions.
			clientv3.OpDelete(s.client.abs(prefixVersions(h.Environment, h.ID)), clientv3.WithPrefix()),
		},
		probes: []clientv3.Op{clientv3.OpGet(object, clientv3.WithKeysOnly())},
	})
	if err != nil || done.committed {
		return err
	}
	return headerOrKEK(done.probes[0], revision)
}

// writeVersion adds the header and the ciphertext of its current version.
func (s *Store) writeVersion(c *change, w vault.Write) error {
	h := w.Header
	h.Prepare()
	object, version := keyObject(h.Environment, h.ID), keyVersion(h.Environment, h.ID, h.Current().Sequence)
	value, err := s.authentic(h.Environment, object, &h)
	if err != nil {
		return err
	}
	// No MAC: the seal's AAD holds the object, version, sequence and environment, so it opens here only.
	c.then = append(c.then, opPut(s.client.abs(object), value), opPut(s.client.abs(version), w.Ciphertext))
	c.writes = append(c.writes, written{key: object, value: value, record: &h}, written{key: version, value: w.Ciphertext})
	return nil
}

// headerOrKEK tells which condition of an update or delete failed.
func headerOrKEK(object *etcdserverpb.RangeResponse, revision int64) error {
	if kv := firstOf(object); kv != nil && kv.ModRevision == revision {
		return keys.ErrConflict
	}
	return vault.ErrConflict
}

// plainID keeps a caller's text out of keys: ids are made of hexadecimal digits and dashes.
func plainID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') && r != '-' {
			return false
		}
	}
	return true
}
