package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// Jobs implements keys.JobStore: from memory while the watch is current.
func (s *Store) Jobs(ctx context.Context, env access.EnvironmentID) ([]keys.JobAt, error) {
	prefix := keyJob(env, "")
	current := s.feed.current() // asked first: what is listed before may be older
	items := s.mirror.list(prefix)
	if !current {
		var err error
		if items, err = s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), 0); err != nil {
			return nil, err
		}
	}
	var all []keys.JobAt
	var broken error
	for _, it := range items {
		at, err := s.jobIn(env, it)
		if err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b keys.JobAt) int { return strings.Compare(string(a.Job.ID), string(b.Job.ID)) })
	return all, broken
}

// Job implements keys.JobStore.
func (s *Store) Job(ctx context.Context, env access.EnvironmentID, id keys.JobID) (keys.JobAt, error) {
	if !plainID(string(id)) {
		return keys.JobAt{}, keys.ErrNoJob
	}
	it, err := s.lookup(ctx, keyJob(env, id))
	if err != nil {
		return keys.JobAt{}, err
	}
	if !it.exists() {
		return keys.JobAt{}, keys.ErrNoJob
	}
	return s.jobIn(env, it)
}

// jobIn opens a job's record, which has to be the one of its key: a runner changes what it names.
func (s *Store) jobIn(env access.EnvironmentID, it *item) (keys.JobAt, error) {
	job, err := open[keys.Job](s, env, it)
	if err != nil {
		return keys.JobAt{}, err
	}
	if keyJob(job.Environment, job.ID) != it.key {
		return keys.JobAt{}, keys.ErrTampered
	}
	return keys.JobAt{Job: job, Revision: it.revision}, nil
}

// PutJob implements keys.JobStore.
func (s *Store) PutJob(ctx context.Context, j keys.Job, revision int64, e *events.Event) (int64, error) {
	if revision == 0 {
		if err := s.room.forWrite(); err != nil {
			return 0, err
		}
	}
	key := keyJob(j.Environment, j.ID)
	op, err := s.put(j.Environment, key, j)
	if err != nil {
		return 0, err
	}
	c := change{
		env: j.Environment, then: []clientv3.Op{op},
		when: []clientv3.Cmp{s.unchanged(key, revision)},
	}
	if e != nil {
		c.events = []events.Event{*e}
	}
	return s.commitUnchanged(ctx, c)
}

// RemoveJob implements keys.JobStore.
func (s *Store) RemoveJob(ctx context.Context, j keys.JobAt) error {
	key := keyJob(j.Job.Environment, j.Job.ID)
	_, err := s.commitUnchanged(ctx, change{
		env: j.Job.Environment, then: []clientv3.Op{clientv3.OpDelete(s.client.abs(key))},
		when: []clientv3.Cmp{s.unchanged(key, j.Revision)},
	})
	return err
}
