package etcd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/keys"
)

// archive says how much of an environment's log has left etcd.
type archive struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	// From is the first epoch that is still known, Through the last one that is not in etcd any more: what lies
	// between stands in segments. Every page reads it in one transaction with the epochs it asks for, so that
	// a move under it shows nothing twice and leaves nothing out.
	From    uint64 `cbor:"2,keyasint"`
	Through uint64 `cbor:"3,keyasint"`
	// Forgotten is the time of the last event that is known no more; zero if the log is whole.
	Forgotten time.Time `cbor:"4,keyasint,omitzero"`
}

// segment is a file with all events of some epochs that follow each other, in the order of the log.
type segment struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	From        uint64               `cbor:"2,keyasint"`
	To          uint64               `cbor:"3,keyasint"`
	Events      int                  `cbor:"4,keyasint"`
	// Last is the newest time in it. Sum is the SHA-256 of the file.
	Last time.Time `cbor:"5,keyasint"`
	Sum  []byte    `cbor:"6,keyasint"`
}

// name is that of the file. It has part of the sum, so that two replicas who write one segment at once write the
// same, and a file is never written over.
func (g *segment) name() string {
	return fmt.Sprintf("%016x-%016x-%s.events", g.From, g.To, hex.EncodeToString(g.Sum[:8]))
}

// movedEvent is an event as it stood in etcd: the MAC over it and its key is checked whenever it is read.
type movedEvent struct {
	Key      string `cbor:"1,keyasint"`
	Revision int64  `cbor:"2,keyasint"`
	Value    []byte `cbor:"3,keyasint"`
}

// segmentFile is the content of a file.
type segmentFile struct {
	Events []movedEvent `cbor:"1,keyasint"`
}

// segments are the files of older events. Attacker: a writer of the directory, who edits, exchanges or removes
// files. Defence: the record in etcd has the file's sum under the environment's MAC, and every event in it has its
// own. Gap: none known; a file that is gone is noticed, and cannot be had again.
type segments struct {
	// dir has a directory for each environment; empty: there are no files, and older events are forgotten.
	dir string
	// size is about how many events a segment has.
	size int
	// crash stands in for the end of the process after a step, in tests; nil otherwise.
	crash func(step string) error

	mu sync.Mutex // guards what follows
	// read are the segments that were read last, by name, in order of their use.
	read []readSegment
}

// readSegment is a segment in memory. Its events are not to be changed.
type readSegment struct {
	name   string
	events []logged
}

// keptSegments is how many segments stay in memory: pages go through one after the other.
const keptSegments = 4

func (f *segments) path(env access.EnvironmentID, name string) string {
	return filepath.Join(f.dir, string(env), name)
}

// step is called between the steps of a move.
func (f *segments) step(name string) error {
	if f.crash == nil {
		return nil
	}
	return f.crash(name)
}

// write makes a file durable under its name.
func (f *segments) write(env access.EnvironmentID, g *segment, content []byte) error {
	dir := filepath.Join(f.dir, string(env))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory of segments: %w", err)
	}
	temporary := filepath.Join(dir, "new-"+rand.Text())
	defer func() { _ = os.Remove(temporary) }()
	if err := writeSynced(temporary, content); err != nil {
		return fmt.Errorf("write a segment: %w", err)
	}
	if err := f.step("written"); err != nil {
		return err
	}
	if err := os.Rename(temporary, f.path(env, g.name())); err != nil {
		return fmt.Errorf("name a segment: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("directory of segments: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeSynced(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// find is a segment in memory.
func (f *segments) find(name string) ([]logged, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.read {
		if r.name == name {
			f.read = append(append(f.read[:i:i], f.read[i+1:]...), r)
			return r.events, true
		}
	}
	return nil, false
}

func (f *segments) keep(name string, all []logged) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = append(f.read, readSegment{name, all})
	f.read = f.read[max(0, len(f.read)-keptSegments):]
}

// readSegment is the events of a segment, whose record the caller has opened.
func (s *Store) readSegment(env access.EnvironmentID, g *segment) ([]logged, error) {
	if all, ok := s.segments.find(g.name()); ok {
		return all, nil
	}
	all, err := s.openSegment(env, g)
	if err == nil {
		s.segments.keep(g.name(), all)
	}
	return all, err
}

// openSegment reads a file and proves what is in it.
func (s *Store) openSegment(env access.EnvironmentID, g *segment) ([]logged, error) {
	if s.segments.dir == "" {
		return nil, &outage.Error{Dependency: outage.Segments, Cause: errors.New("this replica has no directory of segments")}
	}
	content, err := os.ReadFile(s.segments.path(env, g.name()))
	if err != nil {
		return nil, &outage.Error{Dependency: outage.Segments, Cause: err}
	}
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], g.Sum) {
		return nil, keys.ErrTampered
	}
	var file segmentFile
	if err := s.codec.Decode(content, &file); err != nil || len(file.Events) != g.Events {
		return nil, keys.ErrTampered
	}
	all := make([]logged, len(file.Events))
	for i, m := range file.Events {
		e, err := s.loggedItem(env, &item{key: m.Key, value: m.Value, revision: m.Revision})
		if err != nil || e.epoch < g.From || e.epoch > g.To || m.Key != keyEvent(env, e.epoch, e.ID) {
			return nil, keys.ErrTampered
		}
		all[i] = e
	}
	return all, nil
}

// segmentsOf are the records of the segments that hold epochs of a range.
func (s *Store) segmentsOf(ctx context.Context, env access.EnvironmentID, from, to uint64) ([]*segment, error) {
	const atOnce = 16
	prefix := prefixSegments(env)
	var found []*segment
	for start := s.client.abs(keySegment(env, from)); ; {
		items, err := s.fetchRange(ctx, start, s.client.end(prefix), atOnce)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			g, err := s.segmentIn(env, it)
			if err != nil {
				return nil, err
			}
			if g.From > to {
				return found, nil
			}
			found = append(found, g)
			start = s.client.abs(it.key) + "\x00"
		}
		if len(items) < atOnce {
			return found, nil
		}
	}
}

// firstArchived is the first event of a range of epochs that stand in segments; nil if there is none. A segment ends
// with an event.
func (s *Store) firstArchived(ctx context.Context, env access.EnvironmentID, from, to uint64) (*logged, error) {
	prefix := prefixSegments(env)
	items, err := s.fetchRange(ctx, s.client.abs(keySegment(env, from)), s.client.end(prefix), 1)
	if err != nil || len(items) == 0 {
		return nil, err
	}
	g, err := s.segmentIn(env, items[0])
	if err != nil {
		return nil, err
	}
	all, err := s.readSegment(env, g)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(e logged) bool { return e.epoch >= from })
	if i < 0 || all[i].epoch > to {
		return nil, nil
	}
	return &all[i], nil
}

// segmentIn opens the record of a segment.
func (s *Store) segmentIn(env access.EnvironmentID, it *item) (*segment, error) {
	g, err := open[segment](s, env, it)
	if err != nil || it.key != keySegment(env, g.To) || g.Environment != env || len(g.Sum) != sha256.Size {
		return nil, keys.ErrTampered
	}
	return g, nil
}

// archived are the events of a range of epochs that stand in segments.
func (s *Store) archived(ctx context.Context, env access.EnvironmentID, from, to uint64) ([]logged, error) {
	all, err := s.segmentsOf(ctx, env, from, to)
	if err != nil {
		return nil, err
	}
	var found []logged
	for _, g := range all {
		in, err := s.readSegment(env, g)
		if err != nil {
			return nil, err
		}
		for _, e := range in {
			if e.epoch >= from && e.epoch <= to {
				found = append(found, e)
			}
		}
	}
	return found, nil
}
