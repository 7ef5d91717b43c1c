package attack_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// alone are the kinds that others depend on, so that nothing else can be tested while they are broken; and the last
// use of an API key, which is asked for with the key's own record, and that is broken at the same time.
var alone = []string{"format", "epoch", "node", "archive", "apikeyuse"}

// TestEveryByte damages one record of each kind in every way that needs no understanding: each bit is
// one too many.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	targets := e.targets(t, e.stack.Environment.ID())
	twins := e.targets(t, e.second.ID())
	all := e.writer.MustAll(t)
	t.Run("kinds", func(t *testing.T) {
		for kind, s := range targets {
			if slices.Contains(alone, kind) {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				e.damage(t, s, twins[kind], all[s.key])
			})
		}
	})
	for _, kind := range alone {
		t.Run(kind, func(t *testing.T) { e.damage(t, targets[kind], twins[kind], all[targets[kind].key]) })
	}
	e.checkTrail(t)
}

// damage writes every damaged form of a record and asks for it; in between somebody else asks for the
// same kind of record elsewhere, and at the end everything is as before.
func (e *estate) damage(t *testing.T, s, twin *subject, value []byte) {
	s.mustSay(t, "before any damage", s.intact)
	n := 0
	for what, damaged := range damages(value) {
		e.writer.MustPut(t, s.key, damaged)
		s.mustSay(t, what, s.broken...)
		if n++; n%40 == 0 && twin.key != s.key && s.broken[0] != noStart {
			twin.mustSay(t, "the twin", twin.intact)
		}
	}
	e.writer.MustPut(t, s.key, value)
	s.mustSay(t, "after all damage", s.intact)
	twin.mustSay(t, "the twin", twin.intact)
}

// damages yields what becomes of a value: a bit flipped in each byte, every shorter form (of a long
// value every seventh), longer forms.
func damages(value []byte) func(yield func(what string, damaged []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for i := range value {
			flipped := bytes.Clone(value)
			flipped[i] ^= 1 << (i % 8)
			if !yield(fmt.Sprintf("bit flipped in byte %d of %d", i, len(value)), flipped) {
				return
			}
		}
		for n := range value {
			if len(value) > 150 && n > 2 && n < len(value)-2 && n%7 != 0 {
				continue
			}
			if !yield(fmt.Sprintf("first %d bytes of %d", n, len(value)), value[:n]) {
				return
			}
		}
		for _, more := range [][]byte{{0}, value, bytes.Repeat([]byte("more "), 50_000)} {
			if !yield(fmt.Sprintf("%d bytes more", len(more)), slices.Concat(value, more)) {
				return
			}
		}
	}
}
