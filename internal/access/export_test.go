package access

// MemoKeys is how many keys a process remembers the hash of.
const MemoKeys = memoKeys

// Remember fills the memo with that many keys that were let in.
func (g *Gate) Remember(n int) {
	for i := range n {
		g.memo.keep(APIKey{fingerprint: fingerprint{byte(i), byte(i >> 8), byte(i >> 16)}}, []byte{1})
	}
}

// Remembered counts them.
func (g *Gate) Remembered() int { return len(*g.memo.keys.Load()) }
