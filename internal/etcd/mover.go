package etcd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
)

const (
	// eventShare is the part of the quota in percent that the events of all environments take in etcd.
	eventShare = 15
	// segmentEvents is about how many events a segment has: whole epochs, until there are so many.
	segmentEvents = 4000
	// eventOverhead is about what etcd needs for an event beside its key and value.
	eventOverhead = 200
	// Retention is how long events in segments are kept.
	Retention = 30 * 24 * time.Hour
	// orphanAge is after how long a file that no record names is removed. It may be one that is about to get its
	// record.
	orphanAge = time.Hour
	// moveAge is how old events are at least before they move: the outcome of their transaction may still be
	// asked for.
	moveAge = time.Minute
	// moveInterval is how often a replica looks at how much there is.
	moveInterval = 30 * time.Second
)

// move keeps the events in etcd below their part of the quota: the oldest move to segments, or are forgotten where
// there is no directory for them. Any number of replicas may do it; what counts is what one transaction says.
func (s *Store) move(ctx context.Context) {
	tick := time.NewTicker(moveInterval)
	defer tick.Stop()
	swept := time.Time{}
	for {
		for _, env := range s.environments.IDs() {
			err := s.moveOlder(ctx, env)
			if err == nil && time.Since(swept) > orphanAge {
				err = s.sweepSegments(ctx, env)
			}
			if err != nil && ctx.Err() == nil && !errors.Is(err, keys.ErrConflict) {
				s.log.Warn("move older events", slog.String("environment", string(env)), slog.Any("error", err))
			}
		}
		if time.Since(swept) > orphanAge {
			swept = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// moveOlder moves what is too much, then forgets what is too old.
func (s *Store) moveOlder(ctx context.Context, env access.EnvironmentID) error {
	for ctx.Err() == nil {
		over, err := s.eventsOver(ctx, env)
		if err != nil {
			return err
		}
		if !over {
			break
		}
		moved, err := s.moveOldest(ctx, env)
		if err != nil {
			return err
		}
		if !moved {
			break
		}
	}
	return s.forgetOld(ctx, env, time.Now().Add(-Retention))
}

// eventsOver reports that the events of an environment take more than their part: how many there are, by the size
// of some of the oldest and newest.
func (s *Store) eventsOver(ctx context.Context, env access.EnvironmentID) (bool, error) {
	bound := s.eventBytes
	if bound == 0 {
		s.room.mu.Lock()
		bound = s.room.quota / 100 * eventShare
		s.room.mu.Unlock()
	}
	if bound /= int64(max(1, len(s.environments.IDs()))); bound == 0 {
		return false, nil // the quota is not known yet
	}
	count, err := s.countRange(ctx, kindEvent+"/"+string(env)+"/")
	if err != nil || count == 0 {
		return false, err
	}
	size, err := s.sampleEvents(ctx, env)
	return int64(count)*size > bound, err
}

// sampleEvents is the mean size of the events of the oldest epoch that has some and of the newest.
func (s *Store) sampleEvents(ctx context.Context, env access.EnvironmentID) (int64, error) {
	a, _, err := s.archive(ctx, env)
	if err != nil {
		return 0, err
	}
	at, err := s.lastEpoch(ctx, env)
	if err != nil {
		return 0, err
	}
	oldest, err := s.oldestEvents(ctx, env, a.Through+1, at.number, 1)
	if err != nil {
		return 0, err
	}
	newest, err := s.fetchRange(ctx, s.client.abs(prefixEpoch(env, max(at.number, 2)-1)), s.client.abs(prefixEpoch(env, at.number+1)), segmentEvents)
	if err != nil {
		return 0, err
	}
	total, n := int64(0), int64(0)
	for _, it := range slices.Concat(oldest, newest) {
		total, n = total+int64(len(it.key)+len(it.value)+eventOverhead), n+1
	}
	return total / max(n, 1), nil
}

// archive is what has left etcd of an environment, with the revision of its record; 0 if nothing has.
func (s *Store) archive(ctx context.Context, env access.EnvironmentID) (archive, int64, error) {
	it, err := s.fetch(ctx, keyArchive(env))
	if err != nil {
		return archive{}, 0, err
	}
	a, err := s.archiveIn(env, it)
	return a, it.revision, err
}

func (s *Store) archiveIn(env access.EnvironmentID, it *item) (archive, error) {
	if !it.exists() {
		return archive{Environment: env, From: 1}, nil
	}
	a, err := open[archive](s, env, it)
	if err != nil || a.Environment != env || a.From < 1 || a.Through+1 < a.From {
		return archive{}, keys.ErrTampered
	}
	return *a, nil
}

// oldestEvents reads whole epochs from one up to another, until there are at least n events.
func (s *Store) oldestEvents(ctx context.Context, env access.EnvironmentID, from, to uint64, n int) ([]*item, error) {
	var found []*item
	for width := uint64(1); from <= to; width *= 2 {
		end := min(from+width-1, to)
		items, err := s.fetchRange(ctx, s.client.abs(prefixEpoch(env, from)), s.client.abs(prefixEpoch(env, end+1)), 0)
		if err != nil {
			return nil, err
		}
		if found = append(found, items...); len(found) >= n {
			return found, nil
		}
		from = end + 1
	}
	return found, nil
}

// moveOldest moves the oldest epochs of an environment, whole and in order. A process that ends at any step leaves
// the events in etcd and perhaps a file that no record names, or has moved them: the file is durable and was read
// back before the one transaction that names it and takes its events out of etcd.
func (s *Store) moveOldest(ctx context.Context, env access.EnvironmentID) (moved bool, err error) {
	a, revision, err := s.archive(ctx, env)
	if err != nil {
		return false, err
	}
	at, err := s.lastEpoch(ctx, env)
	if err != nil || at.number < 2 {
		return false, err
	}
	// An epoch that has ended gets no event any more: every transaction with one compares it.
	items, err := s.oldestEvents(ctx, env, a.Through+1, at.number-1, s.segments.size)
	if err != nil {
		return false, err
	}
	batch, err := s.movable(env, items)
	if err != nil || len(batch) == 0 {
		return false, err
	}
	g := segment{Environment: env, From: a.Through + 1, To: batch[len(batch)-1].epoch, Events: len(batch)}
	for _, e := range batch {
		if e.At.After(g.Last) {
			g.Last = e.At
		}
	}
	c := change{
		env: env, when: []clientv3.Cmp{s.unchanged(keyArchive(env), revision)},
		then: []clientv3.Op{clientv3.OpDelete(s.client.abs(prefixEpoch(env, g.From)), clientv3.WithRange(s.client.abs(prefixEpoch(env, g.To+1))))},
	}
	a.Through = g.To
	if s.segments.dir == "" {
		a.From, a.Forgotten = g.To+1, g.Last
	} else if err := s.writeSegment(env, &g, batch); err != nil {
		return false, err
	}
	records := map[string]any{keyArchive(env): a}
	if s.segments.dir != "" {
		records[keySegment(env, g.To)] = g
	}
	for key, record := range records {
		op, err := s.put(env, key, record)
		if err != nil {
			return false, err
		}
		c.then = append(c.then, op)
	}
	if err := s.segments.step("named"); err != nil {
		return false, err
	}
	_, err = s.commitUnchanged(ctx, c)
	return err == nil, err
}

// movable is what of the oldest events may move: whole epochs that are old enough, in the order of the log.
func (s *Store) movable(env access.EnvironmentID, items []*item) ([]logged, error) {
	all := make([]logged, 0, len(items))
	for _, it := range items {
		e, err := s.loggedItem(env, it)
		if err != nil {
			return nil, err
		}
		e.raw = it
		all = append(all, e)
	}
	sortLog(all)
	young := time.Now().Add(-s.eventAge)
	end := 0
	for i := 0; i < len(all); {
		next := i
		for ; next < len(all) && all[next].epoch == all[i].epoch; next++ {
			if all[next].At.After(young) {
				return all[:end], nil
			}
		}
		i, end = next, next
		if end >= s.segments.size {
			break
		}
	}
	return all[:end], nil
}

// writeSegment makes the file of a segment durable, and reads it back.
func (s *Store) writeSegment(env access.EnvironmentID, g *segment, batch []logged) error {
	file := segmentFile{Events: make([]movedEvent, len(batch))}
	for i, e := range batch {
		file.Events[i] = movedEvent{Key: e.raw.key, Revision: e.revision, Value: e.raw.value}
	}
	err := s.codec.Lend(file, func(content []byte) error {
		sum := sha256.Sum256(content)
		g.Sum = sum[:]
		return s.segments.write(env, g, content)
	})
	if err != nil {
		return err
	}
	back, err := s.openSegment(env, g)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(back, batch, func(a, b logged) bool {
		return a.ID == b.ID && a.revision == b.revision && a.ordinal == b.ordinal
	}) {
		return keys.ErrTampered
	}
	return nil
}

func sortLog(all []logged) {
	slices.SortFunc(all, func(a, b logged) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.revision, b.revision), cmp.Compare(a.ordinal, b.ordinal))
	})
}

// forgetOld removes the segments whose newest event is older than a time, the oldest first: the record, then the
// file.
func (s *Store) forgetOld(ctx context.Context, env access.EnvironmentID, before time.Time) error {
	for ctx.Err() == nil {
		a, revision, err := s.archive(ctx, env)
		if err != nil {
			return err
		}
		all, err := s.segmentsOf(ctx, env, a.From, a.From)
		if err != nil || len(all) == 0 || !all[0].Last.Before(before) {
			return err
		}
		g := all[0]
		a.From, a.Forgotten = g.To+1, g.Last
		op, err := s.put(env, keyArchive(env), a)
		if err != nil {
			return err
		}
		if _, err := s.commitUnchanged(ctx, change{
			env: env, when: []clientv3.Cmp{s.unchanged(keyArchive(env), revision)},
			then: []clientv3.Op{op, clientv3.OpDelete(s.client.abs(keySegment(env, g.To)))},
		}); err != nil {
			return err
		}
		if s.segments.dir != "" {
			_ = os.Remove(s.segments.path(env, g.name())) // the sweep finds it if it stays
		}
	}
	return nil
}

// sweepSegments removes files that no record names: of a process that ended in the middle of a move.
func (s *Store) sweepSegments(ctx context.Context, env access.EnvironmentID) error {
	if s.segments.dir == "" {
		return nil
	}
	dir := filepath.Join(s.segments.dir, string(env))
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		return nil // nothing has moved yet
	}
	all, err := s.segmentsOf(ctx, env, 0, ^uint64(0))
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, g := range all {
		named[g.name()] = true
	}
	for _, file := range files {
		info, err := file.Info()
		if err == nil && !named[file.Name()] && time.Since(info.ModTime()) > orphanAge {
			_ = os.Remove(filepath.Join(dir, file.Name())) // the next sweep tries again
		}
	}
	return nil
}
