package main

import (
	"context"
	"math"
	"path/filepath"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/export"
	"culvert/internal/id"
)

// validate checks the form of the settings.
func (c *AuditConfig) validate() error {
	if c.Fsync != audit.FsyncInterval && c.Fsync != audit.FsyncAlways {
		return usage("setting audit.fsync: must be interval or always")
	}
	if n := c.SegmentBytes; n < 64<<10 || n > 1<<30 {
		return usage("setting audit.segment_bytes: must be from %d to %d", 64<<10, 1<<30)
	}
	if d := c.Retention; d != 0 && d < time.Second {
		return usage("setting audit.retention: must be 0 or at least 1s")
	}
	return nil
}

// segmentAge is how long a segment is written to: a tenth of the retention, so that a quiet log gets rid of its
// records in time, too. 0 is any time.
func (c *AuditConfig) segmentAge() time.Duration { return min(c.Retention/10, 24*time.Hour) }

// buildExports begins to make exports of the audit log, which are kept beside it.
func (g *graph) buildExports(cfg Config, f *floor, gate *access.Gate) (*export.Exports, error) {
	exports, err := export.Open(export.Config{
		Log: f.audit, Gate: gate, Fence: f.store.Fence, Nodes: f.checkpoints.Nodes, Dir: filepath.Join(cfg.DataDir, "exports"),
		NewID: func() string { return id.ULID(f.ids.Now()) }, Now: f.ids.Now, Logger: g.log,
	})
	if err != nil {
		return nil, err
	}
	g.opened("exports of the audit log", exports.Close)
	return exports, nil
}

// retain has old segments of the audit log removed. It comes after everything that still has to get records of them.
func (g *graph) retain(cfg AuditConfig, f *floor) error {
	if cfg.Retention == 0 {
		return nil
	}
	needed := func(context.Context) (uint64, error) {
		lowest, any := f.streams.Needed()
		if !any {
			lowest = math.MaxUint64
		}
		if f.reads != nil {
			lowest = min(lowest, f.reads.Needed())
		}
		return lowest, nil
	}
	return f.notary.Retain(audit.Retention{Age: cfg.Retention, Every: min(max(cfg.Retention/10, time.Second), time.Minute), Needed: needed})
}
