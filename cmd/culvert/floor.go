package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/etcd"
	"culvert/internal/id"
	"culvert/internal/journal"
	"culvert/internal/reads"
	"culvert/internal/record"
	"culvert/internal/stream"
	"culvert/keys"
)

// floor is what the use cases stand on: the trail, storage and keys.
type floor struct {
	audit  *audit.Log
	notary *audit.Notary
	// streams are the house's; nil until it is built.
	streams *stream.Streams
	// reads are told of as events by it; nil if they are not.
	reads *reads.Reader
	// witness is nil without one.
	witness      *audit.FileWitness
	signing      *signing
	checkpoints  *etcd.Checkpoints
	journal      *journal.Journal
	store        *etcd.Store
	environments *keys.Environments
	roots        *keys.RootKeys
	// rootKeySettings are the names of the settings of the root keys, in the order of roots.
	rootKeySettings []string
	// warm tells whether key contexts work without the root key. The house sets it.
	warm  func() bool
	codec *record.Codec
	ids   *id.Clock
	// first is the environment that a store began with; API keys of it look after all environments.
	first access.EnvironmentID
}

// buildFloor opens the audit log, etcd, the root keys and the environments, and makes on a first start
// what is not there yet.
func (g *graph) buildFloor(ctx context.Context, cfg Config, dir *dataDir) (*floor, error) {
	f := &floor{ids: id.NewClock(time.Now)}
	lost, err := dir.missing("node-id", "audit")
	if err != nil {
		return nil, err
	}
	node, err := dir.nodeID(f.ids.Now())
	if err != nil {
		return nil, err
	}
	if f.codec, err = record.NewCodec(); err != nil {
		return nil, err
	}
	f.audit, err = audit.Open(audit.Config{
		Dir: dir.file("audit"), Node: node, Fsync: cfg.Audit.Fsync, Logger: g.log,
		SegmentBytes: cfg.Audit.SegmentBytes, SegmentAge: cfg.Audit.segmentAge(),
	})
	if err != nil {
		return nil, err
	}
	g.opened("audit log", f.audit.Close)
	f.journal, err = journal.Open(journal.Config{Path: dir.file("refresh-journal"), Logger: g.log})
	if err != nil {
		return nil, err
	}
	g.opened("refresh journal", f.journal.Close)
	client, err := g.openEtcd(ctx, cfg, dir)
	if err != nil {
		return nil, err
	}
	o := g.newOpener(cfg, dir, client, f.codec, f.ids.Now())
	waiting := g.announceWaiting(cfg.Etcd.Endpoints)
	f.environments, err = o.bounded(ctx, g.mode)
	waiting()
	if err != nil {
		f.reportEnvironment(ctx, err)
		return nil, err
	}
	f.roots, f.first = o.roots(), o.first
	for _, p := range o.places {
		f.rootKeySettings = append(f.rootKeySettings, p.setting)
	}
	f.store, err = etcd.NewStore(ctx, etcd.StoreConfig{
		Client: client, Environments: f.environments, Codec: f.codec, IDs: f.ids, Node: node, Logger: g.log,
		EventsDir: cfg.eventsDir(dir), EventBytes: cfg.Events.StoreBytes, Quota: cfg.Limits.quota(),
		Open: func(ctx context.Context, r keys.EnvironmentRecord) (*keys.Environment, error) {
			return keys.OpenEnvironment(ctx, f.roots, r)
		},
	})
	if errors.Is(err, etcd.ErrNodeTaken) {
		return nil, hinted(fmt.Errorf("node %s: %w", node, err),
			"each process needs a data directory of its own, made by its first start; a copy of another's is none")
	}
	if err != nil {
		return nil, err
	}
	g.opened("store", func() error { f.store.Close(); return nil })
	if err := g.enroll(ctx, f, enrolment{node: node, dir: dir, lost: lost, env: o.first, embedded: len(cfg.Etcd.Endpoints) == 0}); err != nil {
		return nil, err
	}
	if err := g.certify(f, o.first, cfg.Audit); err != nil {
		return nil, err
	}
	return f, g.admit(ctx, dir, f, o)
}

// eventsDir is where older events go; empty if there is no such place.
func (c *Config) eventsDir(dir *dataDir) string {
	if c.Events.Dir == "" && len(c.Etcd.Endpoints) == 0 {
		return dir.file("events")
	}
	return c.Events.Dir
}

// reportEnvironment leaves the audit record of a start that failed because the record of an environment
// is not what was stored.
func (f *floor) reportEnvironment(ctx context.Context, err error) {
	if !errors.Is(err, keys.ErrTampered) {
		return
	}
	// The start fails either way, with an error that says more.
	_, _ = f.audit.Append(ctx, audit.Record{
		Action: "keys.environment.open", Phase: audit.Internal, Result: audit.Failed, Code: "integrity_failure",
	})
}

func (g *graph) openEtcd(ctx context.Context, cfg Config, dir *dataDir) (*etcd.Client, error) {
	var err error
	if g.tls, err = g.clusterTLS(cfg.Etcd); err != nil {
		return nil, err
	}
	client, err := etcd.Open(ctx, etcd.Config{
		DataDir: dir.path, Endpoints: cfg.Etcd.Endpoints, Prefix: cfg.Etcd.Prefix, TLS: g.tls, Logger: g.log,
	})
	if err != nil {
		return nil, err
	}
	g.opened("etcd", client.Close)
	return client, nil
}

// admit makes sure that there is an API key to begin with. In production that is what `culvert init` was
// for: whoever took the key out of the data directory does not want the next start to make another one.
func (g *graph) admit(ctx context.Context, dir *dataDir, f *floor, o *opener) error {
	if g.mode == production {
		return nil
	}
	key, err := dir.rootAPIKey(apiKeyFile, o.first, f.ids.Now())
	if err != nil {
		return err
	}
	// For the shell of whoever pastes it, which may be in another directory.
	if g.keyFile, err = filepath.Abs(dir.file(apiKeyFile)); err != nil {
		return fmt.Errorf("API key: %w", err)
	}
	g.firstStart, err = f.register(ctx, key, g.log)
	g.anotherKey = g.firstStart && !o.made
	return err
}

// announceWaiting says after a moment what the start is waiting for, unless stop was called before.
func (g *graph) announceWaiting(endpoints []string) (stop func()) {
	if len(endpoints) == 0 {
		return func() {}
	}
	timer := time.AfterFunc(time.Second, func() {
		g.log.Warn("waiting for etcd", slog.Any("endpoints", endpoints))
	})
	return func() { timer.Stop() }
}
