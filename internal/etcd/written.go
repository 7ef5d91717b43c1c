package etcd

// written is a cached key that a change is about to store. Once it is committed the cache has it, so
// that this replica neither verifies nor decodes its own bytes again when the watch brings them.
//
// It is a fill like one that reads: an event for the key between begin and settle (another replica's
// change, or this one's, seen first by the watch) keeps it out, so nothing that was deleted meanwhile
// comes back.
type written struct {
	key   string
	value []byte
	// record is what the value holds; nil for a ciphertext. Nobody changes it any more.
	record  any
	filling *filling
}

func (w *written) begin(c *cache) { w.filling = c.begin(w.key) }

// settle ends it with the revision of the transaction, 0 if it was not committed.
func (w *written) settle(c *cache, revision int64) {
	var it *item
	if revision > 0 {
		it = &item{key: w.key, value: w.value, revision: revision}
		if w.record != nil {
			it.memo.Store(&memo{record: w.record})
		}
	}
	c.finish(w.key, w.filling, it)
}
