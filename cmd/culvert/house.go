package main

import (
	"context"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/events"
	"culvert/internal/proof"
	"culvert/internal/ratelimit"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/server"
	"culvert/vault"
)

// buildHouse makes the use cases and the door. Nothing in here opens anything; only the broker has work
// of its own, which has to end before the store does.
func (g *graph) buildHouse(cfg Config, f *floor) error {
	metrics := server.NewMetrics()
	metrics.ObserveUsage(f.store.Counted)
	gate, err := access.NewGate(access.GateConfig{
		Keys: f.store, Peppers: f.environments, Now: f.ids.Now, Report: server.ReportAPIKey(f.audit, metrics),
	})
	if err != nil {
		return err
	}
	cmks, err := cfg.customerKeys(f.roots)
	if err != nil {
		return err
	}
	k, err := keys.New(keys.Config{
		Store: f.store, Environments: f.environments, Roots: f.roots, CMKs: cmks, Codec: f.codec, NewID: f.ids.UUID,
		CacheTTL: cfg.Keys.CacheTTL, NoCache: cfg.Keys.CacheTTL == 0, OutageExtension: cfg.Keys.OutageExtension,
	})
	if err != nil {
		return err
	}
	f.warm = k.Warm
	v, err := vault.New(vault.Config{
		Store: f.store, Keys: k, Environments: f.environments, Gate: gate, Audit: f.audit, IDs: f.ids,
		Limits: vault.Limits{MaxValueBytes: cfg.Vault.MaxValueBytes, VersionsKept: cfg.Vault.VersionsKept},
	})
	if err != nil {
		return err
	}
	operations, err := keys.NewOperations(keys.OperationsConfig{Keys: k, Store: f.store, Gate: gate, Audit: f.audit})
	if err != nil {
		return err
	}
	runner, err := keys.NewRunner(keys.RunnerConfig{Keys: k, Store: f.store, Audit: f.audit, Logger: g.log, Node: f.audit.Node()})
	if err != nil {
		return err
	}
	g.opened("job runner", func() error { runner.Close(); return nil })
	broker, err := g.buildBroker(cfg, f, k, gate, metrics)
	if err != nil {
		return err
	}
	log, err := events.New(events.Config{Store: f.store, Gate: gate, Audit: f.audit})
	if err != nil {
		return err
	}
	hooks, err := g.buildWebhooks(cfg, f, gate, metrics)
	if err != nil {
		return err
	}
	register, err := admission.New(admission.Config{
		Store: f.store, Gate: gate, Peppers: f.environments, Audit: f.audit, Now: f.ids.Now, Logger: g.log,
	})
	if err != nil {
		return err
	}
	auditor, err := proof.New(proof.Config{
		Log: f.audit, Gate: gate, Fence: f.store.Fence, Checkpoints: f.checkpoints, Key: f.notary.VerifierKey,
		Home: f.signing.env, Rotate: f.signing.rotate,
	})
	if err != nil {
		return err
	}
	if err := g.buildReads(cfg.Events, f, metrics); err != nil {
		return err
	}
	streams, err := g.buildStreams(cfg, f, gate, metrics)
	if err != nil {
		return err
	}
	exports, err := g.buildExports(cfg, f, gate)
	if err != nil {
		return err
	}
	g.opened("register of API keys", func() error { register.Close(); return nil })
	rates, err := ratelimit.New(ratelimit.Config{
		Store: f.store, PerKey: cfg.Limits.RequestsPerKey, PerEnvironment: cfg.Limits.RequestsPerEnvironment,
	})
	if err != nil {
		return err
	}
	g.server, err = server.New(server.Config{
		Admission: register,
		Vault:     v, Pipes: broker, Keys: operations, PublicURL: cfg.baseURL(g.listener.Addr()), Events: log, Webhooks: hooks, Auditor: auditor, Streams: streams, Exports: exports, Gate: gate, Audit: f.audit, Health: f.health, Logger: g.log, Metrics: metrics,
		CORSOrigins: cfg.CORSOrigins, CORSLoopback: g.mode == development,
		Limits: server.Limits{PathBytes: cfg.Limits.PathBytes, BodyBytes: cfg.Limits.BodyBytes},
		Rates:  rates,
	})
	if err != nil {
		return err
	}
	return g.retain(cfg.Audit, f)
}

// buildBroker makes the broker from the catalogue inwards: connectors, where they may be, who calls them.
func (g *graph) buildBroker(cfg Config, f *floor, k *keys.Keys, gate *access.Gate, metrics *server.Metrics) (*pipes.Broker, error) {
	providers, err := cfg.Pipes.catalog()
	if err != nil {
		return nil, err
	}
	egress, err := cfg.Pipes.egress(g.mode)
	if err != nil {
		return nil, err
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress, Now: f.ids.Now, Logger: g.log})
	if err != nil {
		return nil, err
	}
	broker, err := pipes.New(pipes.Config{
		Store: f.store, Keys: k, Environments: f.environments, Gate: gate, Audit: f.audit,
		Connectors: providers, Client: client, Egress: egress, PublicURL: cfg.baseURL(g.listener.Addr()),
		Journal: f.journal, Count: metrics.CountRefresh, ReturnTo: cfg.Pipes.ReturnTo, AnyLoopbackReturnTo: g.mode == development, Now: f.ids.Now, Logger: g.log,
		Background: cfg.Pipes.BackgroundRefresh, KeepAlive: cfg.Pipes.KeepAlive,
	})
	if err != nil {
		return nil, err
	}
	g.opened("broker", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
		defer cancel()
		return broker.Close(ctx)
	})
	return broker, nil
}

// buildWebhooks makes the use cases around webhook endpoints and begins to deliver.
func (g *graph) buildWebhooks(cfg Config, f *floor, gate *access.Gate, metrics *server.Metrics) (*webhooks.Webhooks, error) {
	egress, err := cfg.Webhooks.egress(g.mode)
	if err != nil {
		return nil, err
	}
	hooks, err := webhooks.New(webhooks.Config{
		Store: f.store, Environments: f.environments, Gate: gate, Audit: f.audit, Egress: egress, Now: f.ids.Now,
	})
	if err != nil {
		return nil, err
	}
	deliverer, err := webhooks.NewDeliverer(webhooks.DelivererConfig{
		Store: f.store, Environments: f.environments, Egress: egress, Logger: g.log, Timing: cfg.Webhooks.timing(), Count: metrics.CountDelivery,
		Report: server.ReportEndpoint(f.audit, metrics),
	})
	if err != nil {
		return nil, err
	}
	g.opened("webhook deliverer", func() error { deliverer.Close(); return nil })
	return hooks, nil
}

// refreshTimeout bounds how long a stop waits for refreshes that are under way. It is above the 20 seconds
// that one call to a provider may take: a reply that nobody reads is a token that nobody has.
const refreshTimeout = 25 * time.Second
