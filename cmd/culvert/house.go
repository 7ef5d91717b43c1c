package main

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/server"
	"culvert/vault"
)

// buildHouse makes the use cases and the door. Nothing in here opens anything.
func (g *graph) buildHouse(cfg Config, f *floor) error {
	metrics := server.NewMetrics()
	gate, err := access.NewGate(access.GateConfig{
		Keys: f.store, Peppers: f.environments, Now: f.ids.Now, Report: server.ReportAPIKey(f.audit, metrics),
	})
	if err != nil {
		return err
	}
	k, err := keys.New(keys.Config{
		Store: f.store, Environments: f.environments, Root: f.rootKey, Codec: f.codec, NewID: f.ids.UUID,
		CacheTTL: cfg.Keys.CacheTTL, NoCache: cfg.Keys.CacheTTL == 0,
	})
	if err != nil {
		return err
	}
	v, err := vault.New(vault.Config{
		Store: f.store, Keys: k, Environments: f.environments, Gate: gate, Audit: f.audit, IDs: f.ids,
		Limits: vault.Limits{MaxValueBytes: cfg.Vault.MaxValueBytes, VersionsKept: cfg.Vault.VersionsKept},
	})
	if err != nil {
		return err
	}
	log, err := events.New(events.Config{Store: f.store, Gate: gate, Audit: f.audit})
	if err != nil {
		return err
	}
	g.server, err = server.New(server.Config{
		Vault: v, Events: log, Gate: gate, Audit: f.audit, Health: f.health, Logger: g.log, Metrics: metrics,
		CORSOrigins: cfg.CORSOrigins, CORSLoopback: true,
		Limits: server.Limits{PathBytes: cfg.Limits.PathBytes, BodyBytes: cfg.Limits.BodyBytes},
	})
	return err
}

// health asks every dependency. The page is public: it names them and says no more.
func (f *floor) health(ctx context.Context) []server.Check {
	storage := check(outage.Etcd, f.store.Health(ctx), "storage does not answer, or has no room left")
	if storage.State == server.Ready && len(f.store.Degraded()) > 0 {
		storage.State, storage.Reason = server.Degraded, "the clocks of the replicas cannot be compared or differ"
	}
	return []server.Check{
		storage,
		check(outage.RootKey, f.rootKey.Check(ctx), "the root key cannot be used"),
		check(outage.Audit, f.audit.Health(), "audit records cannot be written"),
	}
}

func check(name string, err error, reason string) server.Check {
	if err != nil {
		return server.Check{Name: name, State: server.Unready, Reason: reason}
	}
	return server.Check{Name: name, State: server.Ready}
}
