package etcd

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// place is something that an object is found by, its name or an item of its key context, and the object.
type place struct {
	term string
	id   uuid.UUID
}

func (p place) compare(q place) int {
	return cmp.Or(strings.Compare(p.term, q.term), compare(p.id, q.id))
}

// places are a set in the order of terms, and of ids under each, in runs of at most chunkEntries. 32 bytes each.
type places struct{ runs [][]place }

// seek is the position of a place: where it is, or would be.
func (s *places) seek(p place) (run, i int, found bool) {
	if len(s.runs) == 0 {
		return 0, 0, false
	}
	run, found = slices.BinarySearchFunc(s.runs, p, func(r []place, p place) int { return r[0].compare(p) })
	if found {
		return run, 0, true
	}
	run = max(run-1, 0)
	i, found = slices.BinarySearchFunc(s.runs[run], p, place.compare)
	return run, i, found
}

func (s *places) add(p place) {
	if len(s.runs) == 0 {
		s.runs = [][]place{{p}}
		return
	}
	run, i, found := s.seek(p)
	if found {
		return
	}
	all := slices.Insert(s.runs[run], i, p)
	s.runs[run] = all
	if len(all) > chunkEntries {
		at := len(all) / 2
		s.runs = slices.Insert(s.runs, run+1, slices.Clone(all[at:]))
		s.runs[run] = slices.Clone(all[:at])
	}
}

func (s *places) remove(p place) {
	run, i, found := s.seek(p)
	if !found {
		return
	}
	s.runs[run] = slices.Delete(s.runs[run], i, i+1)
	if len(s.runs[run]) == 0 {
		s.runs = slices.Delete(s.runs, run, run+1)
	}
}

// count is how many there are in [from, to). It looks at no place but the two.
func (s *places) count(from, to place) int {
	if len(s.runs) == 0 || from.compare(to) >= 0 {
		return 0
	}
	first, i, _ := s.seek(from)
	last, j, _ := s.seek(to)
	n := j - i
	for run := first; run < last; run++ {
		n += len(s.runs[run])
	}
	return n
}

// between are those in [from, to), from either end.
func (s *places) between(from, to place, backwards bool) iter.Seq[place] {
	return func(yield func(place) bool) {
		if len(s.runs) == 0 || from.compare(to) >= 0 {
			return
		}
		first, i, _ := s.seek(from)
		last, j, _ := s.seek(to)
		for n := range last - first + 1 {
			run := first + n
			if backwards {
				run = last - n
			}
			part := s.runs[run]
			if run == last {
				part = part[:j]
			}
			if run == first {
				part = part[i:]
			}
			if !yieldAll(part, backwards, yield) {
				return
			}
		}
	}
}

func yieldAll(part []place, backwards bool, yield func(place) bool) bool {
	for n := range part {
		if backwards {
			n = len(part) - 1 - n
		}
		if !yield(part[n]) {
			return false
		}
	}
	return true
}
