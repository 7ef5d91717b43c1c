package etcd

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// shredMarker says which job is under way for the context item of its key.
type shredMarker struct {
	Job keys.JobID `cbor:"1,keyasint"`
}

// Shredding implements keys.Store. A marker that fails its integrity check is an error: taken as absent it
// would give a key away that somebody was told is gone.
func (s *Store) Shredding(ctx context.Context, env access.EnvironmentID, items map[string]string) (bool, error) {
	// Asked in this order: what memory says of markers counts only while it is current.
	if s.feed.current() && !s.mirror.shredding() {
		return false, nil
	}
	e, err := s.environments.Environment(env)
	if err != nil {
		return false, err
	}
	for name, value := range items {
		marker, err := s.lookup(ctx, keyShred(env, e.ItemIndex(name, value)))
		if err != nil {
			return false, err
		}
		if marker.exists() {
			return true, s.vouch(env, marker)
		}
	}
	return false, nil
}

// markerKey is where the marker of a job stands.
func (s *Store) markerKey(j *keys.Job) (string, error) {
	e, err := s.environments.Environment(j.Environment)
	if err != nil {
		return "", err
	}
	return keyShred(j.Environment, e.ItemIndex(j.Scope.Item.Name, j.Scope.Item.Value)), nil
}

// BeginShred implements keys.OperationsStore.
func (s *Store) BeginShred(ctx context.Context, j keys.Job, ev events.Event) error {
	key, err := s.markerKey(&j)
	if err != nil {
		return err
	}
	revision, err := s.freeMarker(ctx, j.Environment, key)
	if err != nil {
		return err
	}
	job := keyJob(j.Environment, j.ID)
	c := change{env: j.Environment, events: []events.Event{ev}, when: []clientv3.Cmp{
		s.absent(job), s.unchanged(key, revision),
	}}
	for key, record := range map[string]any{job: j, key: shredMarker{Job: j.ID}} {
		op, err := s.put(j.Environment, key, record)
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
	}
	_, err = s.commitUnchanged(ctx, c)
	return err
}

// freeMarker is the revision of a marker that another shred may take over: of a job that has ended without
// having seen everything, or is gone. keys.ErrShredding if its job is under way.
func (s *Store) freeMarker(ctx context.Context, env access.EnvironmentID, key string) (int64, error) {
	it, err := s.fetch(ctx, key)
	if err != nil || !it.exists() {
		return 0, err
	}
	marker, err := open[shredMarker](s, env, it)
	if err != nil {
		return 0, err
	}
	found, err := s.Job(ctx, env, marker.Job)
	if errors.Is(err, keys.ErrNoJob) || err == nil && !found.Job.EndedAt.IsZero() {
		return it.revision, nil
	}
	if err == nil {
		err = keys.ErrShredding
	}
	return 0, err
}

// Shred implements keys.OperationsStore. It asks for no room: it takes none, and must not wait for any.
func (s *Store) Shred(ctx context.Context, tombstone keys.KEKRecord, generation int64, ev events.Event) error {
	env := tombstone.Environment
	e, err := s.environments.Environment(env)
	if err != nil {
		return err
	}
	kek, pointer := keyKEK(env, tombstone.KeyID), keyKEKOf(env, e.ContextIndex(tombstone.Context()))
	op, err := s.put(env, kek, tombstone)
	if err != nil {
		return err
	}
	it, err := s.fetch(ctx, pointer)
	if err != nil {
		return err
	}
	c := change{env: env, events: []events.Event{ev}, then: []clientv3.Op{op}, when: []clientv3.Cmp{
		s.unchanged(kek, generation),
		s.unchanged(pointer, it.revision),
	}}
	if it.exists() {
		// One that does not lead here, or that somebody broke, is not this KEK's to remove.
		if to, err := open[kekPointer](s, env, it); err == nil && to.KeyID == tombstone.KeyID {
			c.then = append(c.then, clientv3.OpDelete(s.client.abs(pointer)))
		}
	}
	_, err = s.commitUnchanged(ctx, c)
	return err
}

// EndShred implements keys.OperationsStore.
func (s *Store) EndShred(ctx context.Context, j keys.Job, revision int64, ev events.Event) (int64, error) {
	key, err := s.markerKey(&j)
	if err != nil {
		return 0, err
	}
	it, err := s.fetch(ctx, key)
	if err != nil {
		return 0, err
	}
	job := keyJob(j.Environment, j.ID)
	op, err := s.put(j.Environment, job, j)
	if err != nil {
		return 0, err
	}
	c := change{env: j.Environment, events: []events.Event{ev}, then: []clientv3.Op{op}, when: []clientv3.Cmp{
		s.unchanged(job, revision),
		s.unchanged(key, it.revision),
	}}
	if it.exists() {
		if marker, err := open[shredMarker](s, j.Environment, it); err == nil && marker.Job == j.ID {
			c.then = append(c.then, clientv3.OpDelete(s.client.abs(key)))
		}
	}
	return s.commitUnchanged(ctx, c)
}
