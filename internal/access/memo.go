package access

import (
	"crypto/sha256"
	"maps"
	"sync"
	"sync/atomic"
)

// memoKeys bounds how many API keys a process remembers the hash of.
const memoKeys = 4096

// fingerprint is SHA-256 of an API key's text: 256 random bits are in it, so it tells nothing of them.
type fingerprint [sha256.Size]byte

// memo remembers keys that were let in and what they hash to, because to read and to hash them is most of
// what it costs to let them in. It decides nothing: the hash is compared with the record's each time, in
// constant time, and a key that was never let in is not in here, so a guesser can neither fill it nor read
// anything from it.
//
// A look-up takes no lock: the map is immutable and replaced as a whole, once for each key.
type memo struct {
	mu   sync.Mutex // serialises replacements
	keys atomic.Pointer[map[fingerprint]*remembered]
}

// remembered is a key that was let in.
type remembered struct {
	key  APIKey
	hash []byte
	// actor is whom the key made last, as long as its records are at the same revisions.
	actor atomic.Pointer[Actor]
	// used is the minute since 1970 in which the key was noted as used.
	used atomic.Int64
}

func newMemo() *memo {
	m := &memo{}
	m.keys.Store(&map[fingerprint]*remembered{})
	return m
}

// find returns nil for a key that was not let in.
func (m *memo) find(f fingerprint) *remembered { return (*m.keys.Load())[f] }

// keep is called for a key whose hash was the record's.
func (m *memo) keep(key APIKey, hash []byte) *remembered {
	f := key.fingerprint
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.find(f); known != nil {
		return known
	}
	next := maps.Clone(*m.keys.Load())
	for old := range next {
		if len(next) < memoKeys {
			break
		}
		delete(next, old) // whichever comes first: maps are walked from a random place
	}
	next[f] = &remembered{key: key, hash: hash}
	m.keys.Store(&next)
	return next[f]
}
