package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectorHeap is what the heap may grow to before it is collected, in bytes. Requests allocate much that
// dies young, a write 90 KB of it inside etcd, and every collection has a price that does not depend on what
// is dead: with Go's default a small heap was collected a hundred times a second. A heap of which more than
// half of this is live doubles, as is Go's default. With stacks and the runtime's own the process stays below
// 200 MiB of anonymous memory until then.
const collectorHeap = 144 << 20

// calmCollector sets the collector's percentage anew after every collection. GOGC in the environment
// overrides it.
func calmCollector() {
	if os.Getenv("GOGC") == "" {
		c := &collector{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		c.collected(0)
	}
}

// collector belongs to the goroutine that the runtime calls it on; there is one of these at a time.
type collector struct {
	live []metrics.Sample
	// percent is the last that was set.
	percent int
}

// collected is called after a collection: the runtime has just found the sentinel of the last one dead.
func (c *collector) collected(int) {
	metrics.Read(c.live)
	// The program has only begun below four megabytes, which is also what Go's own least heap is a
	// percentage of: it would be without bound.
	live := max(c.live[0].Value.Uint64(), 4<<20)
	// To set it stops the world for a moment, so small changes wait.
	if percent := max(100, int(100*collectorHeap/live)-100); percent < c.percent*9/10 || percent > c.percent*11/10 {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	sentinel := new([64]*byte) // with a pointer in it: tiny ones without share a block
	runtime.AddCleanup(sentinel, c.collected, 0)
}
