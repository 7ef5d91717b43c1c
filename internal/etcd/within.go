package etcd

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"culvert/internal/access"
)

// itemTerm is the term of a context item. No name of an item has a zero byte, and if one had, the filter decides.
func itemTerm(name, value string) string { return name + "\x00" + value }

// lookup is what a walk within a bound goes through.
type lookup struct {
	places *places
	// term is whole for an item, whose objects stand in the order of their ids, else what names begin with.
	term   string
	prefix bool
	count  int
}

var lastID = uuid.UUID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ends are those of the range that the lookup is about. Names are UTF-8, which has no byte 0xff.
func (l *lookup) ends() (from, to place) {
	if l.prefix {
		return place{term: l.term}, place{term: l.term + "\xff"}
	}
	return place{term: l.term}, place{l.term, lastID}
}

// lookupOf is the narrowest that finds everything within a bound.
func (x *listIndex) lookupOf(b access.Bound) lookup {
	var candidates []lookup
	for name, value := range b.Items {
		candidates = append(candidates, lookup{places: &x.byItem, term: itemTerm(name, value)})
	}
	if b.NamePrefix != "" || len(b.Items) == 0 {
		candidates = append(candidates, lookup{places: &x.byName, term: b.NamePrefix, prefix: true})
	}
	for i := range candidates {
		from, to := candidates[i].ends()
		candidates[i].count = candidates[i].places.count(from, to)
	}
	return slices.MinFunc(candidates, func(a, b lookup) int { return a.count - b.count })
}

// enoughSteps is how many entries a walk looks at before it tries something else.
const enoughSteps = 4096

// walkWithin is walk for who may see few objects: what it costs depends on how many these are. Items lead to them
// in the order of the list. Names do not: a prefix that many begin with is first sought among all, where a page of
// them is soon found unless they lie together far away; then all of them are put in order.
func (x *listIndex) walkWithin(cursor *uuid.UUID, descending bool, f filter, n int) []entry {
	lookups, named := make([]lookup, len(f.within)), 0
	for i, b := range f.within {
		if lookups[i] = x.lookupOf(b); lookups[i].prefix {
			named += lookups[i].count
		}
	}
	if steps := cmp.Or(x.steps, enoughSteps); named > steps {
		if found, ended := x.walkAll(cursor, descending, f, n, steps); ended {
			return found
		}
	}
	var seen []*entry
	for id := range x.broken {
		if isBehind(id, cursor, descending) {
			seen = append(seen, x.get(id))
		}
	}
	for i := range lookups {
		seen = x.seenBy(seen, &lookups[i], cursor, descending, f, n)
	}
	slices.SortFunc(seen, func(a, b *entry) int { return compare(a.id, b.id) })
	seen = slices.Compact(seen)
	if descending {
		slices.Reverse(seen)
	}
	found := make([]entry, min(n, len(seen)))
	for i := range found {
		found[i] = *seen[i]
	}
	return found
}

// seenBy appends what a lookup finds: the first n for an item, all that names lead to.
func (x *listIndex) seenBy(seen []*entry, l *lookup, cursor *uuid.UUID, descending bool, f filter, n int) []*entry {
	from, to := l.ends()
	if cursor != nil && !l.prefix {
		if descending {
			to.id = *cursor
		} else {
			from.id = *cursor
		}
	}
	had := len(seen)
	for p := range l.places.between(from, to, descending) {
		if !isBehind(p.id, cursor, descending) {
			continue
		}
		if e := x.get(p.id); f.keeps(e) {
			if seen = append(seen, e); !l.prefix && len(seen)-had == n {
				break
			}
		}
	}
	return seen
}

// isBehind tells an id strictly behind the cursor in the direction of a walk.
func isBehind(id uuid.UUID, cursor *uuid.UUID, descending bool) bool {
	return cursor == nil || id != *cursor && (compare(id, *cursor) > 0) != descending
}

// get is the entry of an object that is there.
func (x *listIndex) get(id uuid.UUID) *entry {
	c := x.chunks[x.chunkOf(id)]
	i, _ := c.find(id)
	return &c.entries[i]
}

// register lets an entry be found by what it has. Of a broken one nobody knows that.
func (x *listIndex) register(e *entry) {
	if e.broken {
		if x.broken == nil {
			x.broken = map[uuid.UUID]bool{}
		}
		x.broken[e.id] = true
		return
	}
	x.byName.add(place{e.name, e.id})
	if e.items != nil {
		for _, term := range e.items.terms {
			x.byItem.add(place{term, e.id})
		}
	}
}

// unregister is the opposite of register.
func (x *listIndex) unregister(e *entry) {
	if e.broken {
		delete(x.broken, e.id)
		return
	}
	x.byName.remove(place{e.name, e.id})
	if e.items != nil {
		for _, term := range e.items.terms {
			x.byItem.remove(place{term, e.id})
		}
	}
}
