package keys

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/access"
)

// Defaults of the cache of unwrapped KEKs.
const (
	// DefaultCacheTTL is how long a root key that was revoked can still be used through the cache.
	DefaultCacheTTL = 5 * time.Minute
	// DefaultCacheEntries bounds memory: an entry takes about 1.5 KiB.
	DefaultCacheEntries = 10_000

	maxShards = 64
)

// kekKey names a KEK.
type kekKey struct {
	env access.EnvironmentID
	id  ID
}

// cache holds unwrapped KEKs. An entry is of one generation, and is used no longer than the TTL after
// its unwrap began, however often it is used.
//
// Every read of every value passes here, from all cores at once, so a hit takes no lock and writes no
// memory: a shard is an immutable map, replaced as a whole by whoever adds or drops an entry. That
// costs a copy of one shard, beside the root key call that a new entry comes from.
type cache struct {
	ttl      time.Duration
	perShard int
	seed     maphash.Seed
	shards   []shard
}

type shard struct {
	mu      sync.Mutex // serialises replacements of entries
	entries atomic.Pointer[map[kekKey]*entry]
}

type entry struct {
	kek        *kek
	generation int64
	expires    time.Time
	// used tells the eviction that the entry was hit since it last passed by.
	used atomic.Bool
}

func newCache(ttl time.Duration, entries int) *cache {
	count := min(entries, maxShards)
	c := &cache{ttl: ttl, perShard: entries / count, seed: maphash.MakeSeed(), shards: make([]shard, count)}
	for i := range c.shards {
		c.shards[i].entries.Store(&map[kekKey]*entry{})
	}
	return c
}

func (c *cache) shard(key kekKey) *shard {
	return &c.shards[maphash.String(c.seed, string(key.id))%uint64(len(c.shards))]
}

// find returns the KEK if it is here in that very generation and not too old.
func (c *cache) find(key kekKey, generation int64, now time.Time) *kek {
	e := (*c.shard(key).entries.Load())[key]
	if e == nil || e.generation != generation || !now.Before(e.expires) {
		return nil
	}
	if !e.used.Load() { // a store each time would send the cache line around all cores
		e.used.Store(true)
	}
	return e.kek
}

// add puts in a KEK whose unwrap began at the given time, in place of any other generation.
func (c *cache) add(key kekKey, generation int64, opened *kek, began time.Time) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.live(key, began)
	for len(next) >= c.perShard {
		evict(next)
	}
	next[key] = &entry{kek: opened, generation: generation, expires: began.Add(c.ttl)}
	s.entries.Store(&next)
}

// drop forgets a KEK in whatever generation.
func (c *cache) drop(key kekKey) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := (*s.entries.Load())[key]; !ok {
		return
	}
	next := maps.Clone(*s.entries.Load())
	delete(next, key)
	s.entries.Store(&next)
}

// len counts the entries, expired ones included.
func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		n += len(*c.shards[i].entries.Load())
	}
	return n
}

// live is a copy of the shard without the given key and without what has expired.
func (s *shard) live(except kekKey, now time.Time) map[kekKey]*entry {
	old := *s.entries.Load()
	next := make(map[kekKey]*entry, len(old)+1)
	for key, e := range old {
		if key != except && now.Before(e.expires) {
			next[key] = e
		}
	}
	return next
}

// evict removes one entry: the first that was not used since the last eviction passed it. Maps begin
// each walk at random, so no entry is favoured.
func evict(entries map[kekKey]*entry) {
	for key, e := range entries {
		if !e.used.Swap(false) {
			delete(entries, key)
			return
		}
	}
	for key := range entries { // all were used: any will do
		delete(entries, key)
		return
	}
}
