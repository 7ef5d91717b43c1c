package main

import (
	"context"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/environments"
	"culvert/internal/events"
	"culvert/internal/proof"
	"culvert/internal/ratelimit"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/server"
	"culvert/vault"
)

// house is what stands on the floor: the use cases, put together room by room for the door.
type house struct {
	*graph
	cfg     Config
	floor   *floor
	metrics *server.Metrics
	gate    *access.Gate
	keys    *keys.Keys
	door    server.Config
}

// buildHouse makes the use cases and the door. Nothing in here opens anything; what has work of its own ends before
// the store does.
func (g *graph) buildHouse(cfg Config, f *floor) error {
	h := &house{graph: g, cfg: cfg, floor: f, metrics: server.NewMetrics()}
	h.metrics.ObserveUsage(f.store.Counted)
	h.door = server.Config{
		PublicURL: cfg.baseURL(g.listener.Addr()), Audit: f.audit, Health: f.health, Logger: g.log, Metrics: h.metrics,
		CORSOrigins: cfg.CORSOrigins, CORSLoopback: g.mode == development,
		Limits: server.Limits{PathBytes: cfg.Limits.PathBytes, BodyBytes: cfg.Limits.BodyBytes},
	}
	for _, build := range []func() error{
		h.buildGate, h.buildKeys, h.buildVault, h.buildPipes, h.buildEvents, h.buildAdmission, h.buildAuditor,
	} {
		if err := build(); err != nil {
			return err
		}
	}
	var err error
	if g.server, err = server.New(h.door); err != nil {
		return err
	}
	return g.retain(cfg.Audit, f)
}

// buildGate makes what decides who may, and how often.
func (h *house) buildGate() (err error) {
	f := h.floor
	h.gate, err = access.NewGate(access.GateConfig{
		Keys: f.store, Peppers: f.environments, Now: f.ids.Now, Home: f.first, Report: server.ReportAPIKey(f.audit, h.metrics),
	})
	if err != nil {
		return err
	}
	h.door.Gate = h.gate
	h.door.Rates, err = ratelimit.New(ratelimit.Config{
		Store: f.store, PerKey: h.cfg.Limits.RequestsPerKey, PerEnvironment: h.cfg.Limits.RequestsPerEnvironment,
	})
	return err
}

// buildKeys makes the keys, the operations on them, and begins to run their jobs.
func (h *house) buildKeys() error {
	f := h.floor
	cmks, err := h.cfg.customerKeys(f.roots)
	if err != nil {
		return err
	}
	h.keys, err = keys.New(keys.Config{
		Store: f.store, Environments: f.environments, Roots: f.roots, CMKs: cmks, Codec: f.codec, NewID: f.ids.UUID,
		CacheTTL: h.cfg.Keys.CacheTTL, NoCache: h.cfg.Keys.CacheTTL == 0, OutageExtension: h.cfg.Keys.OutageExtension,
	})
	if err != nil {
		return err
	}
	f.warm = h.keys.Warm
	h.door.Keys, err = keys.NewOperations(keys.OperationsConfig{Keys: h.keys, Store: f.store, Gate: h.gate, Audit: f.audit})
	if err != nil {
		return err
	}
	runner, err := keys.NewRunner(keys.RunnerConfig{Keys: h.keys, Store: f.store, Audit: f.audit, Logger: h.log, Node: f.audit.Node()})
	if err != nil {
		return err
	}
	h.opened("job runner", func() error { runner.Close(); return nil })
	return nil
}

func (h *house) buildVault() (err error) {
	f := h.floor
	h.door.Vault, err = vault.New(vault.Config{
		Store: f.store, Keys: h.keys, Environments: f.environments, Gate: h.gate, Audit: f.audit, IDs: f.ids,
		Limits: vault.Limits{MaxValueBytes: h.cfg.Vault.MaxValueBytes, VersionsKept: h.cfg.Vault.VersionsKept},
	})
	return err
}

func (h *house) buildPipes() (err error) {
	h.door.Pipes, err = h.buildBroker(h.cfg, h.floor, h.keys, h.gate, h.metrics)
	return err
}

// buildEvents makes the readers of the event log.
func (h *house) buildEvents() (err error) {
	f := h.floor
	if h.door.Events, err = events.New(events.Config{Store: f.store, Gate: h.gate, Audit: f.audit}); err != nil {
		return err
	}
	if h.door.Webhooks, err = h.buildWebhooks(h.cfg, f, h.gate, h.metrics); err != nil {
		return err
	}
	return h.buildReads(h.cfg.Events, f, h.metrics)
}

// buildAdmission makes who is let in: API keys and roles, and the environments they are of.
func (h *house) buildAdmission() error {
	f := h.floor
	register, err := admission.New(admission.Config{
		Store: f.store, Gate: h.gate, Peppers: f.environments, Audit: f.audit, Now: f.ids.Now, Logger: h.log,
	})
	if err != nil {
		return err
	}
	h.opened("register of API keys", func() error { register.Close(); return nil })
	h.door.Admission = register
	h.door.Environments, err = environments.New(environments.Config{
		Store: f.store, Gate: h.gate, Audit: f.audit, Roots: f.roots, Now: f.ids.Now,
	})
	return err
}

func (h *house) buildAuditor() (err error) {
	f := h.floor
	h.door.Auditor, err = proof.New(proof.Config{
		Log: f.audit, Gate: h.gate, Fence: f.store.Fence, Checkpoints: f.checkpoints, Key: f.notary.VerifierKey,
		Home: f.signing.env, Rotate: f.signing.rotate,
	})
	if err != nil {
		return err
	}
	if h.door.Streams, err = h.buildStreams(h.cfg, f, h.gate, h.metrics); err != nil {
		return err
	}
	h.door.Exports, err = h.buildExports(h.cfg, f, h.gate)
	return err
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
