package main

import (
	"os"
	"runtime/debug"
)

// collectorPercent lets the heap grow to three times what is live before it is collected. The live heap
// is small (the caches are bounded), requests allocate much that dies young, and at Go's default the
// collector took a sixth of the processor. GOGC in the environment overrides it.
const collectorPercent = 200

func calmCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
}
