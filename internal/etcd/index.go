package etcd

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// chunkEntries is the size at which a chunk is split in two.
const chunkEntries = 512

// entry is what a list shows of an object, and what it is ordered by.
type entry struct {
	id   uuid.UUID
	name string
	// updated is microseconds since the Unix epoch.
	updated  int64
	revision int64
	// bytes are those of all kept versions, as sealed.
	bytes int64
	// items are those of the key context, shared by all entries that have the same.
	items *contextItems
	// broken is an object whose header failed its MAC: a page that would show it fails instead.
	broken bool
}

// chunk is a run of entries in order of their ids. newest is at least the newest update in it, so that a
// filter by time passes over a whole chunk at once.
type chunk struct {
	entries []entry
	newest  int64
}

// listIndex is the objects of one environment in order of creation (of their UUIDv7 ids): what a page
// costs does not depend on how many there are, also for who may see few of them (within.go). About 200 bytes an
// object beside its name, and 50 more for each further item of its key context.
type listIndex struct {
	mu     sync.RWMutex
	chunks []*chunk
	count  int
	// bytes is the sum of the entries'.
	bytes int64
	// contexts are those of the entries, each once for all that have it, by key id: a context has one KEK at a
	// time. What is left of a KEK that was shredded is small, and goes when the index is loaded again.
	contexts map[keys.ID]*contextItems
	// byName and byItem are how objects are found by what they have, broken those of which that is not known.
	byName, byItem places
	broken         map[uuid.UUID]bool
	// steps is enoughSteps if it is 0.
	steps int
}

// contextItems is the key context of a KEK.
type contextItems struct {
	kek   keys.ID
	items map[string]string
	// terms are those of the items, made for the copy that entries share.
	terms []string
}

// filter is what a query keeps.
type filter struct {
	search       string
	updatedAfter int64 // microseconds; meaningful if byTime
	byTime       bool
	viewer       vault.Viewer // nil sees all
	// within is where all lies that the viewer sees; nil is anywhere.
	within []access.Bound
}

func newFilter(q vault.Query) filter {
	f := filter{search: q.Search, viewer: q.Viewer}
	if q.Viewer != nil {
		f.within = q.Viewer.Within()
	}
	if !q.UpdatedAfter.IsZero() {
		f.byTime, f.updatedAfter = true, q.UpdatedAfter.UnixMicro()
	}
	return f
}

func (f filter) skips(c *chunk) bool { return f.byTime && c.newest <= f.updatedAfter }

// keeps passes a broken entry, whose name and time nobody can vouch for, so that it fails the page
// instead of hiding.
func (f filter) keeps(e *entry) bool {
	if e.broken {
		return true
	}
	return (!f.byTime || e.updated > f.updatedAfter) && strings.Contains(e.name, f.search) &&
		(f.viewer == nil || f.viewer.Shows(e.name, e.items.items))
}

// put adds or replaces an entry unless a newer one is there. It reports whether the object is new.
func (x *listIndex) put(e entry) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.chunks) == 0 {
		x.chunks = []*chunk{{}}
	}
	e.items = x.shared(e.items)
	ci := x.chunkOf(e.id)
	c := x.chunks[ci]
	i, found := c.find(e.id)
	c.newest = max(c.newest, e.updated)
	if found {
		if c.entries[i].revision < e.revision {
			x.unregister(&c.entries[i])
			x.bytes += e.bytes - c.entries[i].bytes
			c.entries[i] = e
			x.register(&e)
		}
		return false
	}
	x.register(&e)
	c.entries = slices.Insert(c.entries, i, e)
	x.count++
	x.bytes += e.bytes
	if len(c.entries) > chunkEntries {
		x.split(ci, i == len(c.entries)-1 && ci == len(x.chunks)-1)
	}
	return true
}

// shared is the one copy of a key context that all entries of the index have. It is called with mu held.
func (x *listIndex) shared(c *contextItems) *contextItems {
	if c == nil {
		return nil
	}
	known := x.contexts[c.kek]
	if known == nil {
		if x.contexts == nil {
			x.contexts = map[keys.ID]*contextItems{}
		}
		for name, value := range c.items {
			c.terms = append(c.terms, itemTerm(name, value))
		}
		x.contexts[c.kek], known = c, c
	}
	return known
}

// split makes two chunks of one. Appending, the common case since ids grow, leaves the first full.
func (x *listIndex) split(ci int, appending bool) {
	c := x.chunks[ci]
	at := len(c.entries) / 2
	if appending {
		at = len(c.entries) - 1
	}
	upper := &chunk{entries: slices.Clone(c.entries[at:]), newest: c.newest}
	c.entries = slices.Clip(slices.Delete(c.entries, at, len(c.entries)))
	x.chunks = slices.Insert(x.chunks, ci+1, upper)
}

// remove drops an object. newest stays a bound from above.
func (x *listIndex) remove(id uuid.UUID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.chunks) == 0 {
		return
	}
	ci := x.chunkOf(id)
	c := x.chunks[ci]
	i, found := c.find(id)
	if !found {
		return
	}
	x.unregister(&c.entries[i])
	x.bytes -= c.entries[i].bytes
	c.entries = slices.Delete(c.entries, i, i+1)
	x.count--
	if len(c.entries) == 0 && len(x.chunks) > 1 {
		x.chunks = slices.Delete(x.chunks, ci, ci+1)
	}
}

func (x *listIndex) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count
}

// sum is what the environment holds.
func (x *listIndex) sum() (objects int, bytes int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count, x.bytes
}

// size is what one object takes.
func (x *listIndex) size(id uuid.UUID) (bytes int64, found bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.chunks) == 0 {
		return 0, false
	}
	c := x.chunks[x.chunkOf(id)]
	i, found := c.find(id)
	if !found {
		return 0, false
	}
	return c.entries[i].bytes, true
}

// chunkOf is the chunk an id belongs to: the last one whose first entry is not behind it.
func (x *listIndex) chunkOf(id uuid.UUID) int {
	i, found := slices.BinarySearchFunc(x.chunks, id, func(c *chunk, id uuid.UUID) int {
		if len(c.entries) == 0 {
			return 0 // the only chunk of an empty index
		}
		return compare(c.entries[0].id, id)
	})
	if found || i == 0 {
		return i
	}
	return i - 1
}

func (c *chunk) find(id uuid.UUID) (int, bool) {
	return slices.BinarySearchFunc(c.entries, id, func(e entry, id uuid.UUID) int { return compare(e.id, id) })
}

func compare(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// page answers a query.
func (x *listIndex) page(q vault.Query) (vault.Page, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	f := newFilter(q)
	return paginate(q, func(cursor *uuid.UUID, descending bool, n int) ([]entry, error) {
		return x.walk(cursor, descending, f, n), nil
	})
}

func newPage(found []entry, before, after bool) vault.Page {
	p := vault.Page{Data: make([]vault.Summary, len(found))}
	for i, e := range found {
		p.Data[i] = vault.Summary{ID: vault.ObjectID(e.id.String()), Name: e.name, UpdatedAt: time.UnixMicro(e.updated).UTC()}
	}
	if before {
		p.Before = p.Data[0].ID
	}
	if after {
		p.After = p.Data[len(found)-1].ID
	}
	return p
}

// cursorOf is the position a page starts behind; nil is the end of the list the order begins at.
func cursorOf(q vault.Query) (*uuid.UUID, error) {
	text := q.After
	if q.Before != "" {
		text = q.Before
	}
	if text == "" {
		return nil, nil
	}
	id, err := uuid.Parse(string(text))
	if err != nil || id.Version() != 7 || id.String() != string(text) {
		return nil, vault.ErrUnknownCursor
	}
	return &id, nil
}

// walk collects up to n entries that pass the filter, strictly behind the cursor in its direction.
func (x *listIndex) walk(cursor *uuid.UUID, descending bool, f filter, n int) []entry {
	if f.within != nil {
		return x.walkWithin(cursor, descending, f, n)
	}
	found, _ := x.walkAll(cursor, descending, f, n, math.MaxInt)
	return found
}

// walkAll looks at one entry after the other, at so many at most. It tells whether that was enough.
func (x *listIndex) walkAll(cursor *uuid.UUID, descending bool, f filter, n, steps int) (found []entry, ended bool) {
	if descending {
		return x.walkDown(cursor, f, n, steps)
	}
	ci, i := 0, 0
	if cursor != nil && len(x.chunks) > 0 {
		var same bool
		ci = x.chunkOf(*cursor)
		if i, same = x.chunks[ci].find(*cursor); same {
			i++
		}
	}
	for ; ci < len(x.chunks); ci, i = ci+1, 0 {
		c := x.chunks[ci]
		if f.skips(c) {
			continue
		}
		for ; i < len(c.entries); i++ {
			if f.keeps(&c.entries[i]) {
				if found = append(found, c.entries[i]); len(found) == n {
					return found, true
				}
			}
			if steps--; steps == 0 {
				return nil, false
			}
		}
	}
	return found, true
}

func (x *listIndex) walkDown(cursor *uuid.UUID, f filter, n, steps int) (found []entry, ended bool) {
	ci := len(x.chunks) - 1
	if cursor != nil && ci >= 0 {
		ci = x.chunkOf(*cursor)
	}
	for first := true; ci >= 0; ci-- {
		c := x.chunks[ci]
		i := len(c.entries) - 1
		if first && cursor != nil {
			at, _ := c.find(*cursor)
			i = at - 1
		}
		first = false
		if f.skips(c) {
			continue
		}
		for ; i >= 0; i-- {
			if f.keeps(&c.entries[i]) {
				if found = append(found, c.entries[i]); len(found) == n {
					return found, true
				}
			}
			if steps--; steps == 0 {
				return nil, false
			}
		}
	}
	return found, true
}
