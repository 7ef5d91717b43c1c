package main

import (
	"context"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/reads"
	"culvert/server"
)

// readsTimeout bounds how long a start looks for the place of events of reads: a read of the store and a write.
const readsTimeout = 15 * time.Second

// buildReads has events made of the reads in this node's audit log, if the settings say so.
func (g *graph) buildReads(cfg EventsConfig, f *floor, metrics *server.Metrics) error {
	ctx, cancel := context.WithTimeout(context.Background(), readsTimeout)
	defer cancel()
	if !cfg.Reads {
		return reads.Forget(ctx, f.store, f.allEnvironments(), f.audit.Node())
	}
	reader, err := reads.Open(ctx, reads.Config{
		Log: f.audit, Store: f.store, Logger: g.log, Environments: f.allEnvironments, Report: server.ReportReads(f.audit, metrics),
	})
	if err != nil {
		return err
	}
	g.opened("events of reads", func() error { reader.Close(); return nil })
	f.reads = reader
	return nil
}

// allEnvironments begins with the one that stays the first, whichever come.
func (f *floor) allEnvironments() []access.EnvironmentID {
	others := slices.DeleteFunc(f.environments.IDs(), func(env access.EnvironmentID) bool { return env == f.first })
	return append([]access.EnvironmentID{f.first}, others...)
}
