package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// Schedule implements keys.ScheduleStore, from memory while the watch is current: runners look every second.
func (s *Store) Schedule(ctx context.Context, env access.EnvironmentID) (*keys.Schedule, int64, error) {
	it, err := s.lookup(ctx, keySchedule(env))
	if err != nil {
		return nil, 0, err
	}
	if !it.exists() {
		return nil, 0, keys.ErrNoSchedule
	}
	found, err := open[keys.Schedule](s, env, it)
	if err == nil && found.Environment != env {
		err = keys.ErrTampered
	}
	if err != nil {
		return nil, it.revision, err
	}
	return found, it.revision, nil
}

// ChangeSchedule implements keys.ScheduleStore.
func (s *Store) ChangeSchedule(ctx context.Context, ch keys.ScheduleChange) error {
	if ch.Schedule != nil {
		if err := s.room.forWrite(); err != nil {
			return err
		}
	}
	env, key := ch.Environment, keySchedule(ch.Environment)
	c := change{
		env: env, events: []events.Event{ch.Event},
		when: []clientv3.Cmp{s.unchanged(key, ch.Revision)},
	}
	records := map[string]any{}
	if ch.Schedule != nil {
		records[key] = *ch.Schedule
	} else {
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(key)))
	}
	if ch.Job != nil {
		job := keyJob(env, ch.Job.ID)
		records[job] = *ch.Job
		c.when = append(c.when, s.absent(job))
	}
	for key, record := range records {
		op, err := s.put(env, key, record)
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
	}
	_, err := s.commitUnchanged(ctx, c)
	return err
}
