package etcd

import (
	"container/list"
	"hash/maphash"
	"sync"
)

// cacheShards spreads the locks; a power of two.
const cacheShards = 16

// itemOverhead is what an item costs beside its bytes: map and list entries, the memo's record.
const itemOverhead = 400

// cache holds items that the watch keeps current: ciphertext and records, never plaintext. It is
// bounded in bytes and drops what was used longest ago. Absent keys are held too, so that asking for
// what does not exist is as cheap as asking for what does.
//
// The invariant: an item in the cache is never older than the watch position. A fill reads etcd on its
// own, so it could put back what the watch has just replaced; it is therefore inserted only if no
// event for its key was applied since it began.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
}

type shard struct {
	mu       sync.Mutex
	items    map[string]*list.Element // of *item
	recent   *list.List               // front: used last
	fillings map[string]*filling
	bytes    int
	max      int
}

// filling is a read of etcd, or a change of ours ([written]), under way for one key.
type filling struct {
	readers int
	// spoiled is set by an event for the key, or by a clear: the reader may use what it read, but the
	// cache may not keep it.
	spoiled bool
}

func newCache(maxBytes int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].max = maxBytes / cacheShards
		c.shards[i].reset()
	}
	return c
}

func (c *cache) shard(key string) *shard {
	return &c.shards[maphash.String(c.seed, key)%cacheShards]
}

// get returns nil if the cache does not know the key.
func (c *cache) get(key string) *item {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil {
		return nil
	}
	sh.recent.MoveToFront(e)
	return e.Value.(*item)
}

// begin announces a fill; finish must follow.
func (c *cache) begin(key string) *filling {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f := sh.fillings[key]
	if f == nil {
		f = &filling{}
		sh.fillings[key] = f
	}
	f.readers++
	return f
}

// finish ends a fill; it is nil if the read failed or the change was not committed.
func (c *cache) finish(key string, f *filling, it *item) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f.readers--
	if f.readers == 0 && sh.fillings[key] == f {
		delete(sh.fillings, key)
	}
	if it != nil && !f.spoiled {
		sh.insert(it)
	}
}

// apply takes an event of the watch. A new key is kept only while there is room: a bulk load must not
// push out what is being read.
func (c *cache) apply(it *item, deleted bool) {
	sh := c.shard(it.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if f := sh.fillings[it.key]; f != nil {
		f.spoiled = true
	}
	known := sh.items[it.key]
	if known != nil && known.Value.(*item).revision >= it.revision {
		return // a fill has read this event's outcome, or a later one, already
	}
	switch {
	case deleted && known != nil:
		sh.remove(known)
	case !deleted && (known != nil || sh.bytes+size(it.key, it.value) < sh.max):
		sh.insert(it)
	}
}

// clear forgets everything, and what is being read now.
func (c *cache) clear() {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for _, f := range sh.fillings {
			f.spoiled = true
		}
		sh.reset()
		sh.mu.Unlock()
	}
}

// reset is called with the lock held, or before the shard is shared.
func (sh *shard) reset() {
	sh.items, sh.recent, sh.bytes = map[string]*list.Element{}, list.New(), 0
	sh.fillings = map[string]*filling{}
}

// insert is called with the lock held. Of two items of one key the newer stays; an absent one (revision
// 0) came from a fill that nothing spoiled, so it is the newest there is.
func (sh *shard) insert(it *item) {
	if e := sh.items[it.key]; e != nil {
		if old := e.Value.(*item); it.exists() && old.revision > it.revision {
			return
		}
		sh.remove(e)
	}
	cost := size(it.key, it.value)
	if cost > sh.max {
		return
	}
	sh.items[it.key] = sh.recent.PushFront(it)
	sh.bytes += cost
	for sh.bytes > sh.max {
		sh.remove(sh.recent.Back())
	}
}

func (sh *shard) remove(e *list.Element) {
	it := sh.recent.Remove(e).(*item)
	delete(sh.items, it.key)
	sh.bytes -= size(it.key, it.value)
}

func size(key string, value []byte) int { return itemOverhead + 2*len(key) + len(value) }
