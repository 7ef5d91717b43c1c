package keys

import (
	"hash/maphash"
	"maps"
	"slices"
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
	// refusalTTL is how long a refusal is remembered: so long a key that was allowed again still seems
	// refused. Without it a key that was taken back would be a call of the KMS per request.
	refusalTTL = 3 * time.Second
	// sweepInterval is how long what has expired may stay in memory.
	sweepInterval = 10 * time.Second
)

// kekKey names a KEK.
type kekKey struct {
	env access.EnvironmentID
	id  ID
}

// cache holds unwrapped KEKs. An entry is of one generation, and is used no longer than the TTL after
// its unwrap began, however often it is used; during an outage of the root key the extension longer. In
// place of a KEK it may hold why there is none.
//
// Every read of every value passes here, from all cores at once, so a hit takes no lock and writes no
// memory: a shard is an immutable map, replaced as a whole by whoever adds or drops an entry. That
// costs a copy of one shard, beside the root key call that a new entry comes from.
type cache struct {
	ttl, extension time.Duration

	perShard int
	seed     maphash.Seed
	shards   []shard
}

type shard struct {
	mu      sync.Mutex // serialises replacements of entries
	entries atomic.Pointer[map[kekKey]*entry]
}

type entry struct {
	kek *kek
	// refused is set in place of the KEK.
	refused    error
	generation int64
	expires    time.Time
	// until is expires or later: the end of the extension.
	until time.Time
	// used tells the eviction that the entry was hit since it last passed by.
	used atomic.Bool
}

func newCache(ttl, extension time.Duration, entries int) *cache {
	count := min(entries, maxShards)
	c := &cache{ttl: ttl, extension: extension, perShard: entries / count, seed: maphash.MakeSeed(), shards: make([]shard, count)}
	for i := range c.shards {
		c.shards[i].entries.Store(&map[kekKey]*entry{})
	}
	return c
}

func (c *cache) shard(key kekKey) *shard {
	return &c.shards[maphash.String(c.seed, string(key.id))%uint64(len(c.shards))]
}

// find returns the KEK, or why there is none, if it is here in that very generation and not too old.
func (c *cache) find(key kekKey, generation int64, now time.Time) (*kek, error) {
	e := (*c.shard(key).entries.Load())[key]
	if e == nil || e.generation != generation || !now.Before(e.expires) {
		return nil, nil
	}
	if !e.used.Load() { // a store each time would send the cache line around all cores
		e.used.Store(true)
	}
	return e.kek, e.refused
}

// extended is find during an outage of the root key.
func (c *cache) extended(key kekKey, generation int64, now time.Time) *kek {
	e := (*c.shard(key).entries.Load())[key]
	if e == nil || e.generation != generation || !now.Before(e.until) {
		return nil
	}
	return e.kek
}

// add puts in a KEK whose unwrap began at the given time, in place of any other generation.
func (c *cache) add(key kekKey, generation int64, opened *kek, began time.Time, extendable bool) {
	e := &entry{kek: opened, generation: generation, expires: began.Add(c.ttl)}
	e.until = e.expires
	if extendable {
		e.until = e.until.Add(c.extension)
	}
	c.put(key, e, began)
}

// refuse puts in why a KEK cannot be had. Nothing that was there may be used after a refusal: neither what
// has expired nor another generation.
func (c *cache) refuse(key kekKey, generation int64, why error, now time.Time) {
	expires := now.Add(min(c.ttl, refusalTTL))
	c.put(key, &entry{refused: why, generation: generation, expires: expires, until: expires}, now)
}

func (c *cache) put(key kekKey, e *entry, now time.Time) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.live(key, now)
	for len(next) >= c.perShard {
		evict(next)
	}
	next[key] = e
	s.entries.Store(&next)
}

// sweep forgets what has expired. Without it a KEK would stay until another one came to its shard.
func (c *cache) sweep(now time.Time) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		if next := s.live(kekKey{}, now); len(next) < len(*s.entries.Load()) {
			s.entries.Store(&next)
		}
		s.mu.Unlock()
	}
}

// longest is until when a KEK that is used now may be in memory.
func (c *cache) longest(now time.Time) time.Time {
	return now.Add(c.ttl + c.extension + sweepInterval)
}

// warm reports whether there is a KEK that can be used while the root key does not answer.
func (c *cache) warm(now time.Time) bool {
	for i := range c.shards {
		for _, e := range *c.shards[i].entries.Load() {
			if e.kek != nil && now.Before(e.until) {
				return true
			}
		}
	}
	return false
}

// dropUnder forgets all KEKs that it takes a customer's key to unwrap, where it is used.
func (c *cache) dropUnder(ref customerRef) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		next := maps.Clone(*s.entries.Load())
		maps.DeleteFunc(next, func(key kekKey, e *entry) bool {
			return key.env == ref.env && e.kek != nil && slices.Contains(e.kek.cmks, ref.RootKeyRef)
		})
		s.entries.Store(&next)
		s.mu.Unlock()
	}
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
		if key != except && now.Before(e.until) {
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
