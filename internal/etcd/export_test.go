package etcd

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// EpochEvents is a bound that tests measure against.
const EpochEvents = epochEvents

// ErrReplaced is what Health says once etcd contradicts itself.
var ErrReplaced = errReplaced

// The layout, for tests that write to etcd past the store.
var (
	KeyEnv         = keyEnv
	KeyAPIKey      = keyAPIKey
	KeyCMKMap      = keyCMKMap
	KeySchedule    = keySchedule
	KeyShred       = keyShred
	KeyEpoch       = keyEpoch
	KeyKEK         = keyKEK
	KeyJob         = keyJob
	PrefixKEKs     = prefixKEKs
	KeyObject      = keyObject
	KeyVersion     = keyVersion
	KeyName        = keyName
	KeyEvent       = keyEvent
	PrefixRequests = prefixRequests
	KeyToken       = keyToken
)

// VerifiedKinds are all kinds that a verification looks at, or may leave out.
func VerifiedKinds() []string { return slices.Concat(provenKinds(), provenWith(), unproven()) }

// SetWindow makes the range reads of lists small, so that few objects need many of them. Before the first list.
func (s *Store) SetWindow(objects int64) { s.window = objects }

// SetSegments makes segments small. crash stands in for the end of the process after a step of a move; nil for none.
func (s *Store) SetSegments(size int, crash func(step string) error) {
	s.segments.size, s.segments.crash = size, crash
}

// MoveOldest moves one segment.
func (s *Store) MoveOldest(ctx context.Context, env access.EnvironmentID) (bool, error) {
	return s.moveOldest(ctx, env)
}

// MoveOlder moves and forgets what is too much.
func (s *Store) MoveOlder(ctx context.Context, env access.EnvironmentID) error {
	return s.moveOlder(ctx, env)
}

// ForgetOld removes segments whose newest event is older.
func (s *Store) ForgetOld(ctx context.Context, env access.EnvironmentID, before time.Time) error {
	return s.forgetOld(ctx, env, before)
}

// SweepSegments removes files that no record names.
func (s *Store) SweepSegments(ctx context.Context, env access.EnvironmentID) error {
	return s.sweepSegments(ctx, env)
}

// CountEvents is how many events are in etcd.
func (s *Store) CountEvents(ctx context.Context, env access.EnvironmentID) (uint64, error) {
	return s.countRange(ctx, kindEvent+"/"+string(env)+"/")
}

// KV is the raw client: for tests that do what another program would do.
func (c *Client) KV() *clientv3.Client { return c.kv }

// Abs is the absolute key of a relative one.
func (c *Client) Abs(key string) string { return c.abs(key) }

// Recover makes room at once.
func (c *Client) Recover(ctx context.Context, alarm bool) { c.recover(ctx, alarm) }

// BackendBytes are the sizes of the embedded etcd's file: all of it, and what is in use.
func (c *Client) BackendBytes() (size, inUse int64) {
	backend := c.embedded.Server.Backend()
	return backend.Size(), backend.SizeInUse()
}

// Flush makes the size of the embedded etcd's file that of what was written: it lags by a tenth of a
// second, in which a test writes more of a small quota than anybody does of a real one.
func (c *Client) Flush() { c.embedded.Server.Backend().ForceCommit() }

// Sizes is what room is measured by.
func (c *Client) Sizes(ctx context.Context) (used, quota int64, noSpace bool, err error) {
	return c.sizes(ctx)
}

// NewStoreWithLoad is NewStore with a hook between the read of a load and its end, while memory holds
// what was read and the watch has not started.
func NewStoreWithLoad(ctx context.Context, cfg StoreConfig, loaded func()) (*Store, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	s.feed.sinks = hookedSinks{sinks: s, loaded: loaded}
	s.start()
	return s, s.await(ctx)
}

type hookedSinks struct {
	sinks
	loaded func()
}

func (h hookedSinks) load(ctx context.Context) (int64, error) {
	revision, err := h.sinks.load(ctx)
	h.loaded()
	return revision, err
}

// Put writes a record under its MAC, past every transaction.
func (s *Store) Put(ctx context.Context, env access.EnvironmentID, key string, record any) error {
	op, err := s.put(env, key, record)
	if err != nil {
		return err
	}
	_, err = s.client.kv.Do(ctx, op)
	return err
}

// PutHeaders writes headers alone, without values, names or events, many in a transaction.
func (s *Store) PutHeaders(ctx context.Context, headers []vault.Header) error {
	for chunk := range slices.Chunk(headers, 100) {
		var ops []clientv3.Op
		for i := range chunk {
			op, err := s.put(chunk[i].Environment, keyObject(chunk[i].Environment, chunk[i].ID), &chunk[i])
			if err != nil {
				return err
			}
			ops = append(ops, op)
		}
		if _, err := s.client.kv.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// FenceAhead is a round of the fence at a moment in which the watch has shown a write that the revision of
// the embedded etcd does not count yet. It reports false if other writes have hidden that moment.
func (s *Store) FenceAhead() (tried bool, err error) {
	before, _ := s.client.localRevision()
	s.feed.advance(before + 1)
	err = s.fence.pass(time.Now().Add(readTimeout))
	after, _ := s.client.localRevision()
	return after == before, err
}

// RestartWatch ends the watch, which starts anew by itself.
func (s *Store) RestartWatch() { s.feed.stop() }

// Ready and Applied are the state of the watch; Current is whether lookups believe memory.
func (s *Store) Ready() bool    { return s.feed.ready.Load() }
func (s *Store) Applied() int64 { return s.feed.applied.Load() }
func (s *Store) Current() bool  { return s.feed.current() }

// Indexed reports that lists of an environment come from memory.
func (s *Store) Indexed(env access.EnvironmentID) bool {
	index, _ := s.indexes.of(env)
	return index != nil
}

// ListFromEtcd is List without the index.
func (s *Store) ListFromEtcd(ctx context.Context, env access.EnvironmentID, q vault.Query) (vault.Page, error) {
	return s.listFromEtcd(ctx, env, q)
}

// ListFromMemory is List from the index alone; false if it is not complete.
func (s *Store) ListFromMemory(env access.EnvironmentID, q vault.Query) (vault.Page, bool, error) {
	index, _ := s.indexes.of(env)
	if index == nil {
		return vault.Page{}, false, nil
	}
	page, err := index.page(q)
	return page, true, err
}

// Epoch is the newest epoch that this replica knows.
func (s *Store) Epoch(ctx context.Context, env access.EnvironmentID) (uint64, error) {
	at, err := s.epochs.current(ctx, env)
	return at.number, err
}

// AdvanceEpoch ends the current epoch.
func (s *Store) AdvanceEpoch(ctx context.Context, env access.EnvironmentID) error {
	at, err := s.epochs.current(ctx, env)
	if err != nil {
		return err
	}
	_, err = s.epochs.advance(ctx, env, at)
	return err
}

// Lookup reads one key as requests do: its bytes, nil if it does not exist.
func (s *Store) Lookup(ctx context.Context, key string) ([]byte, error) {
	it, err := s.lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	return it.value, nil
}

// Cached reports whether the cache knows a key.
func (s *Store) Cached(key string) bool { return s.cache.get(key) != nil }

// Measure reads sizes now instead of within a second.
func (s *Store) Measure(ctx context.Context) { s.room.measure(ctx) }

// Hear gives the store a heartbeat of a node, as the watch would, at a moment.
func (s *Store) Hear(node string, sent, arrived time.Time) { s.nodes.note(node, sent, arrived) }

// HearBytes is a heartbeat of any bytes.
func (s *Store) HearBytes(node string, beat []byte) {
	s.nodes.hear(&item{key: keyNode(node), value: beat})
}

// Live is how many nodes this one hears of.
func (s *Store) Live() int {
	_, live := s.nodes.skew()
	return live
}

// ForWrite is the clock's opinion on writes.
func (s *Store) ForWrite() error { return s.nodes.forWrite() }

// IndexLoad is a load of the list index under way, in the test's hands.
type IndexLoad struct {
	s *Store
	g *generation
}

// BeginLoad begins to load the index anew.
func (s *Store) BeginLoad() *IndexLoad { return &IndexLoad{s, s.indexes.replace(func() {})} }

// Read is what the load found at a key, Event what the watch tells of it (nil: deleted), End the end.
func (l *IndexLoad) Read(key string, value []byte, revision int64) {
	l.s.indexes.addRead(l.g, testItem(key, value, revision))
}

// Event is an event of the watch.
func (l *IndexLoad) Event(key string, value []byte, revision int64) {
	l.s.indexes.apply(testItem(key, value, revision), value == nil)
}

// End ends the load.
func (l *IndexLoad) End() { l.g.complete() }

// Index is the list index of one environment.
type Index struct{ listIndex }

// Entry is an entry of it.
type Entry struct {
	ID       vault.ObjectID
	Name     string
	Updated  time.Time
	Revision int64
	Broken   bool
	// KEK tells contexts apart; Items are those of its context.
	KEK   keys.ID
	Items map[string]string
}

// Add puts an entry and reports whether its object is new.
func (x *Index) Add(e Entry) bool {
	return x.put(entry{
		id: uuid.MustParse(string(e.ID)), name: e.Name, updated: e.Updated.UnixMicro(), revision: e.Revision, broken: e.Broken,
		items: &contextItems{kek: e.KEK, items: e.Items},
	})
}

// SetSteps sets after how many entries a walk for who may see few tries something else.
func (x *Index) SetSteps(n int) { x.steps = n }

// Remove drops an object.
func (x *Index) Remove(id vault.ObjectID) { x.remove(uuid.MustParse(string(id))) }

// Page answers a query, and Len is how many objects there are.
func (x *Index) Page(q vault.Query) (vault.Page, error) { return x.page(q) }
func (x *Index) Len() int                               { return x.len() }

// Cache is the cache of items.
type Cache struct{ c *cache }

// Filling is a read of etcd under way.
type Filling struct {
	c   *cache
	key string
	f   *filling
}

// NewCache makes a cache of at most this many bytes.
func NewCache(maxBytes int) *Cache { return &Cache{newCache(maxBytes)} }

// Begin starts a fill, Finish ends it with what was read (revision 0: the key does not exist).
func (c *Cache) Begin(key string) *Filling { return &Filling{c.c, key, c.c.begin(key)} }

// Finish ends a fill; a nil value means that the key does not exist.
func (f *Filling) Finish(value []byte, revision int64) {
	f.c.finish(f.key, f.f, testItem(f.key, value, revision))
}

// Fail ends a fill whose read failed.
func (f *Filling) Fail() { f.c.finish(f.key, f.f, nil) }

// Put and Delete are events of the watch.
func (c *Cache) Put(key string, value []byte, revision int64) {
	c.c.apply(testItem(key, value, revision), false)
}

// Delete is the event of a deletion.
func (c *Cache) Delete(key string, revision int64) {
	c.c.apply(newItem(key, &mvccpb.KeyValue{ModRevision: revision}), true)
}

// Clear forgets everything.
func (c *Cache) Clear() { c.c.clear() }

// Get returns what the cache holds: known is false if it must be read, value nil if the key is absent.
func (c *Cache) Get(key string) (value []byte, known bool) {
	it := c.c.get(key)
	if it == nil {
		return nil, false
	}
	return it.value, true
}

// Bytes is what the cache believes that it holds, and Fillings how many fills are under way.
func (c *Cache) Bytes() (bytes, fillings int) {
	for i := range c.c.shards {
		bytes += c.c.shards[i].bytes
		fillings += len(c.c.shards[i].fillings)
	}
	return bytes, fillings
}

func testItem(key string, value []byte, revision int64) *item {
	if value == nil {
		return newItem(key, nil)
	}
	return newItem(key, &mvccpb.KeyValue{Value: value, ModRevision: revision})
}

// HeaderByNameAtOnce is what HeaderByName falls back to.
func (s *Store) HeaderByNameAtOnce(ctx context.Context, env access.EnvironmentID, name string) (vault.Stored, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return vault.Stored{}, err
	}
	return s.headerByNameAtOnce(ctx, env, keyName(env, e.NameIndex(name)), name)
}

// RevokeLocks ends the lease of a store's locks as etcd does after a long silence.
func (s *Store) RevokeLocks(ctx context.Context) error {
	lease, err := s.session.current(ctx)
	if err != nil {
		return err
	}
	_, err = s.client.kv.Revoke(ctx, lease)
	return err
}
