package etcd

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
)

// loadPage is how many headers one range of the index's first load reads.
const loadPage = 2000

// indexes builds and keeps the list index of each environment. After the watch was started anew it is
// filled from etcd at the watch's first revision, in the background, while events go on arriving: an
// entry of an event is newer than any the load can find.
type indexes struct {
	store *Store
	max   int

	mu sync.Mutex
	// current is replaced whole by every reload. Guarded by mu.
	current *generation
	loads   sync.WaitGroup
}

// generation is what was built since one start of the watch.
type generation struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	// byEnv, deleted and over are guarded by mu. deleted are the objects that went while the load runs,
	// nil when it is over; over is true for good once an environment has passed the bound.
	byEnv   map[access.EnvironmentID]*listIndex
	deleted map[string]bool
	over    map[access.EnvironmentID]bool
	loaded  bool
	// strange are environments with objects that nobody here could verify yet. Guarded by mu.
	strange map[access.EnvironmentID]bool
}

func newIndexes(s *Store, maxObjects int) *indexes { return &indexes{store: s, max: maxObjects} }

// reload forgets everything and begins to load at a revision. The watch starts at the next one.
func (x *indexes) reload(ctx context.Context, revision int64) {
	loadCtx, cancel := context.WithCancel(ctx)
	g := x.replace(cancel)
	x.loads.Go(func() {
		defer cancel()
		if err := x.fill(loadCtx, g, revision); err != nil && loadCtx.Err() == nil {
			x.store.log.Warn("load of the list index failed; it begins again with the watch", "error", err)
			select { // compacted away, or etcd was slow: an outage must not become a loop without a pause
			case <-time.After(time.Second):
				x.store.feed.stop()
			case <-loadCtx.Done():
			}
		}
	})
}

// replace begins a generation and ends the load of the one before.
func (x *indexes) replace(cancel context.CancelFunc) *generation {
	g := &generation{
		cancel: cancel, byEnv: map[access.EnvironmentID]*listIndex{},
		deleted: map[string]bool{}, over: map[access.EnvironmentID]bool{}, strange: map[access.EnvironmentID]bool{},
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.current != nil {
		x.current.cancel()
	}
	x.current = g
	return g
}

// wait returns when no load runs; the store's context has ended.
func (x *indexes) wait() { x.loads.Wait() }

// fill reads all headers at one revision.
func (x *indexes) fill(ctx context.Context, g *generation, revision int64) error {
	from, end := x.store.client.abs(kindObject+"/"), x.store.client.end(kindObject+"/")
	for {
		pageCtx, cancel := bounded(ctx, readTimeout)
		resp, err := x.store.client.kv.Get(pageCtx, from, clientv3.WithRange(end), clientv3.WithLimit(loadPage), clientv3.WithRev(revision))
		cancel()
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			x.addRead(g, newItem(x.store.client.rel(kv.Key), kv))
		}
		if !resp.More {
			g.complete()
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// addRead takes what the load found. What an event has removed since is not brought back.
func (x *indexes) addRead(g *generation, it *item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.deleted[it.key] {
		x.add(g, it)
	}
}

func (g *generation) complete() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded, g.deleted = true, nil
}

// apply takes an event of an object header.
func (x *indexes) apply(it *item, deleted bool) {
	x.mu.Lock()
	g := x.current
	x.mu.Unlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !deleted {
		delete(g.deleted, it.key)
		x.add(g, it)
		return
	}
	if g.deleted != nil {
		g.deleted[it.key] = true
	}
	if index := g.byEnv[envOf(it.key)]; index != nil {
		if id, ok := objectOf(it.key); ok {
			index.remove(id)
		}
	}
}

// add is called with g.mu held.
func (x *indexes) add(g *generation, it *item) {
	env := envOf(it.key)
	if g.over[env] {
		return
	}
	if _, err := x.store.environments.Environment(env); err != nil {
		g.strange[env] = true
		return
	}
	e, ok := x.store.entry(env, it)
	if !ok {
		return
	}
	index := g.byEnv[env]
	if index == nil {
		index = &listIndex{}
		g.byEnv[env] = index
	}
	if !e.broken {
		x.store.ids.Observe(e.id.String())
	}
	if index.put(e) && index.len() > x.max {
		g.over[env] = true
		delete(g.byEnv, env)
	}
}

// met is called once an environment was opened: objects of it that came before are looked at again, with everything
// else, because only the watch knows where it is.
func (x *indexes) met(env access.EnvironmentID) {
	x.mu.Lock()
	g := x.current
	x.mu.Unlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	missed := g.strange[env]
	g.mu.Unlock()
	if missed {
		x.store.feed.stop()
	}
}

// entry makes an entry of a header. It is broken if the header's MAC does not verify; ok is false for a
// key that is none of ours, under which nothing can be asked for.
func (s *Store) entry(env access.EnvironmentID, it *item) (e entry, ok bool) {
	id, ok := objectOf(it.key)
	if !ok {
		return entry{}, false
	}
	e = entry{id: id, revision: it.revision}
	if h, err := s.stored(env, it); err == nil && string(h.ID) == id.String() {
		e.name, e.updated, e.bytes = h.Name, h.UpdatedAt().UnixMicro(), h.Bytes()
		e.items = &contextItems{kek: h.KeyID, items: h.Items}
	} else {
		e.broken, e.updated = true, math.MaxInt64
	}
	return e, true
}

// objectOf is the id in a header's key. Other spellings of a UUID are not taken: their events would
// pass for those of the object.
func objectOf(key string) (uuid.UUID, bool) {
	id, err := uuid.Parse(lastOf(key))
	return id, err == nil && id.String() == lastOf(key)
}

// of returns the index of an environment if it is complete; full is true above the bound.
func (x *indexes) of(env access.EnvironmentID) (index *listIndex, full bool) {
	x.mu.Lock()
	g := x.current
	x.mu.Unlock()
	if g == nil {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over[env] || !g.loaded {
		return nil, g.over[env]
	}
	if index := g.byEnv[env]; index != nil {
		return index, false
	}
	return &listIndex{}, false
}
