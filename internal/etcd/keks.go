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
	_, err := s.commitUnchanged(ctx, c)
	return err
}

// expectKEK makes a change conditional on the KEK being as the value was sealed under: shred, rotation
// and another replica's creation become a conflict. A KEK that does not exist yet is created with it.
func (s *Store) expectKEK(c *change, conditions keys.Conditions) error {
	env := conditions.Environment
	kek := keyKEK(env, conditions.KeyID)
	if conditions.Create == nil {
		c.when = append(c.when, s.unchanged(kek, conditions.Generation))
		return nil
	}
	e, err := s.environments.Environment(env)
	if err != nil {
		return err
	}
	created := conditions.Create
	pointer := keyKEKOf(env, e.ContextIndex(created.Record.Context()))
	c.when = append(c.when, s.absent(kek), s.absent(pointer),
		s.unchanged(keyCMKMap(env), created.CMKMapRevision))
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
	if err := s.indexKEK(c, e, &created.Record); err != nil {
		return err
	}
	// The KEK comes before the object that it was made for.
	c.events = append([]events.Event{created.Event}, c.events...)
	return nil
}

// kekEntry says that a KEK's context has the item of its key.
type kekEntry struct {
	KeyID keys.ID `cbor:"1,keyasint"`
}

// indexKEK puts a KEK where lists by context item find it. The entries follow from the context, which
// never changes: they are written again with every change of the record, and so come back if they were
// lost. Nothing but lists goes by them.
func (s *Store) indexKEK(c *change, e *keys.Environment, r *keys.KEKRecord) error {
	for name, value := range r.Items {
		op, err := s.put(c.env, prefixKEKs(c.env, e.ItemIndex(name, value))+string(r.KeyID), kekEntry{KeyID: r.KeyID})
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
	}
	return nil
}

// ReplaceKEK implements keys.OperationsStore.
func (s *Store) ReplaceKEK(ctx context.Context, r keys.KEKRecord, generation int64, ev events.Event) error {
	return s.replaceKEK(ctx, r, generation, ev)
}

func (s *Store) replaceKEK(ctx context.Context, r keys.KEKRecord, generation int64, ev events.Event, when ...clientv3.Cmp) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	e, err := s.environments.Environment(r.Environment)
	if err != nil {
		return err
	}
	key := keyKEK(r.Environment, r.KeyID)
	op, err := s.put(r.Environment, key, r)
	if err != nil {
		return err
	}
	c := change{
		env: r.Environment, events: []events.Event{ev}, then: []clientv3.Op{op},
		when: append(when, s.unchanged(key, generation)),
	}
	if err := s.indexKEK(&c, e, &r); err != nil {
		return err
	}
	_, err = s.commitUnchanged(ctx, c)
	return err
}

// KEKs implements keys.OperationsStore. Without an item it reads the records, with one what leads to them.
func (s *Store) KEKs(ctx context.Context, env access.EnvironmentID, item keys.Item, after keys.ID, limit int) ([]keys.KEKAt, error) {
	if after != "" && !plainID(string(after)) {
		return nil, keys.ErrUnknownCursor
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	line, err := s.kekLine(env, item)
	if err != nil {
		return nil, err
	}
	items, err := s.walk(ctx, line, string(after), limit)
	if err != nil {
		return nil, err
	}
	found := make([]keys.KEKAt, 0, len(items))
	for _, it := range items {
		at, err := s.listed(ctx, env, it)
		if err != nil && !errors.Is(err, keys.ErrTampered) {
			return nil, err
		}
		at.ID, at.Err = keys.ID(lastOf(it.key)), err
		found = append(found, at)
	}
	return found, nil
}

// CountKEKs implements keys.OperationsStore.
func (s *Store) CountKEKs(ctx context.Context, env access.EnvironmentID, item keys.Item) (uint64, error) {
	line, err := s.kekLine(env, item)
	if err != nil {
		return 0, err
	}
	return s.countRange(ctx, line.prefix)
}

// kekLine is what a list of KEKs goes along: the records, or what leads to those of an item.
func (s *Store) kekLine(env access.EnvironmentID, item keys.Item) (timeline, error) {
	if item == (keys.Item{}) {
		return uuids(keyKEK(env, "")), nil
	}
	e, err := s.environments.Environment(env)
	if err != nil {
		return timeline{}, err
	}
	return uuids(prefixKEKs(env, e.ItemIndex(item.Name, item.Value))), nil
}

// listed is the KEK that an item is, or leads to. The error is keys.ErrTampered or an outage.
func (s *Store) listed(ctx context.Context, env access.EnvironmentID, it *item) (keys.KEKAt, error) {
	id := keys.ID(lastOf(it.key))
	var at keys.KEKAt
	var err error
	if kindOf(it.key) == kindKEK {
		at.Generation = it.revision
		at.Record, err = open[keys.KEKRecord](s, env, it)
	} else {
		entry, openErr := open[kekEntry](s, env, it)
		if openErr != nil || entry.KeyID != id {
			return keys.KEKAt{}, keys.ErrTampered
		}
		at.Record, at.Generation, err = s.KEK(ctx, env, id)
	}
	if errors.Is(err, keys.ErrKEKNotFound) || err == nil && at.Record.KeyID != id {
		err = keys.ErrTampered // even a shredded KEK leaves a record
	}
	if err != nil {
		return keys.KEKAt{}, err
	}
	return at, nil
}
