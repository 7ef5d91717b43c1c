//go:build e2e

package e2e_test

import (
	"errors"

	"culvert/internal/record"
	"culvert/pipes"
)

// What the ledger learns from etcd.

// generationOf reads it from a stored grant: a MAC with its length before it, then a record in clear.
func generationOf(value []byte) (uint64, error) {
	codec, err := record.NewCodec()
	if err != nil {
		return 0, err
	}
	if len(value) == 0 || len(value) <= int(value[0]) {
		return 0, errors.New("a grant is shorter than its MAC")
	}
	var g pipes.Grant
	err = codec.Decode(value[1+int(value[0]):], &g)
	return g.Generation, err
}

// written notes a write of a grant. The first one of each is its import, which is awaited before the next.
func (l *ledger) written(grant string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["grants written"]++
	generation, err := generationOf(value)
	if err != nil {
		l.problem(nil, "a grant in etcd: %v", err)
		return
	}
	f := l.byGrant[grant]
	if next := len(l.byGrant); f == nil && next < len(l.families) {
		f = l.families[next]
		f.first, l.byGrant[grant] = generation, f
	}
	if f == nil {
		return
	}
	if n := int(generation - f.first); n > f.stored {
		f.stored = n
		l.note(f, "token %d is stored", n)
	} else if n < f.stored {
		l.problem(f, "token %d is stored over %d", n, f.stored)
	}
}

// known is how many grants have been seen.
func (l *ledger) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byGrant)
}

// locked notes that a process has announced that it sends a grant's token.
func (l *ledger) locked(grant string, replica int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["attempts written"]++
	if f := l.byGrant[grant]; f != nil {
		l.note(f, "replica %d has an attempt", replica)
	}
}
