// Package vaulttest builds the whole real stack under a vault for tests: embedded etcd, its store, real
// keys under a local root key, gate, audit log and an administrator's API key. Nothing in it is a fake.
package vaulttest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/audit"
	"culvert/internal/environments"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/internal/record"
	"culvert/keys"
	"culvert/keys/localkms"
	"culvert/vault"
)

// Config changes a [Stack] for tests of a special case. The zero Config is that of [New].
type Config struct {
	// Limits are the vault's.
	Limits vault.Limits
	// Now is the clock of ids, keys, gate and audit; default [time.Now].
	Now func() time.Time
	// AuditWait bounds an audit append; default ten seconds, because a busy disk can stall for two.
	AuditWait time.Duration
	// Wrap, if set, stands between the vault and its real store, to fail or delay single calls; WrapKeys
	// stands between the keys and the same store.
	Wrap     func(vault.Store) vault.Store
	WrapKeys func(keys.Store) keys.Store
	// CMKs opens customers' keys; default none.
	CMKs keys.CMKSource
	// Endpoints are of an etcd that others can reach too; default one embedded in the stack alone.
	Endpoints []string
	// Roots are the root keys at hand; default the stack's own alone.
	Roots *keys.RootKeys
	// WatchDelay holds back the watch of the store, HoldWatch stalls it while it does not return.
	WatchDelay time.Duration
	HoldWatch  func(ctx context.Context)
	// Quota is the store's.
	Quota vault.Quota
	// Open opens environments that another process has made meanwhile; default with the root keys.
	Open func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error)
	// UseInterval is how often the uses of API keys are written down; default a minute.
	UseInterval time.Duration
	// Report is the gate's; default fails the test.
	Report func(ctx context.Context, env access.EnvironmentID, keyID string, err error)
}

// Stack is everything a vault stands on. All of it is closed when the test ends.
type Stack struct {
	// DataDir holds the embedded etcd's files.
	DataDir string
	Client  *etcd.Client
	Store   *etcd.Store
	Root    *localkms.Key
	// Environment is the first environment, Record its record, Environments all that are open.
	Environment  *keys.Environment
	Record       keys.EnvironmentRecord
	Environments *keys.Environments
	Codec        *record.Codec
	Keys         *keys.Keys
	Gate         *access.Gate
	Audit        *audit.Log
	// AuditDir holds the audit log's segments.
	AuditDir string
	IDs      *id.Clock
	Vault    *vault.Vault
	// Operations are those on the keys of the stack.
	Operations *keys.Operations
	// Register is that of API keys and roles.
	Register *admission.Register
	// Others makes further environments.
	Others *environments.Environments
	// Node is the id of this replica.
	Node string
	// APIKey is an administrator's; its record is stored.
	APIKey access.APIKey

	config Config
	admin  access.Actor
}

// New builds a stack on an etcd of its own.
func New(t testing.TB) *Stack {
	t.Helper()
	return WithConfig(t, Config{})
}

// WithConfig is [New] for special cases.
func WithConfig(t testing.TB, c Config) *Stack {
	t.Helper()
	c = c.withDefaults(t)
	ctx := t.Context()
	s := &Stack{DataDir: t.TempDir(), config: c}
	s.Client = etcdtest.MustOpen(t, etcd.Config{DataDir: s.DataDir, Endpoints: c.Endpoints})
	s.Root = mustRoot(t)
	var err error
	s.Codec, err = record.NewCodec()
	must(t, "codec", err)
	s.Record, s.Environment, err = keys.NewEnvironment(ctx, s.roots(), access.EnvironmentID(id.ULID(c.Now())), "default", c.Now())
	must(t, "new environment", err)
	must(t, "initialize", s.Client.Initialize(ctx, s.Codec, s.Record, s.Environment))
	s.Environments = keys.NewEnvironments(s.Environment)
	s.open(t, "node-1")
	s.APIKey = s.MustAPIKey(t, access.RoleAdmin)
	s.admin = s.MustActor(t, s.APIKey)
	return s
}

func (c Config) withDefaults(t testing.TB) Config {
	if c.Report == nil {
		c.Report = func(_ context.Context, _ access.EnvironmentID, keyID string, err error) {
			t.Errorf("API key %s: %v", keyID, err)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AuditWait == 0 {
		c.AuditWait = 10 * time.Second
	}
	return c
}

// Replica is another process on the same keyspace: its own store, caches, locks, clock and audit log. It
// opens every environment of the keyspace, as a start does.
func (s *Stack) Replica(t testing.TB, changes ...func(*Config)) *Stack {
	t.Helper()
	r := &Stack{Client: s.Client, Codec: s.Codec, DataDir: s.DataDir, Root: s.Root, Record: s.Record, APIKey: s.APIKey, config: s.config}
	for _, change := range changes {
		change(&r.config)
	}
	var err error
	r.Environments, err = s.Client.Environments(t.Context(), s.Codec, func(record keys.EnvironmentRecord) (*keys.Environment, error) {
		return keys.OpenEnvironment(t.Context(), r.roots(), record)
	})
	must(t, "open environments", err)
	r.Environment, err = r.Environments.Environment(s.Record.ID)
	must(t, "open environment", err)
	r.open(t, "node-"+id.ULID(time.Now()))
	r.admin = r.MustActor(t, r.APIKey)
	return r
}

// open builds everything above the client.
func (s *Stack) open(t testing.TB, node string) {
	t.Helper()
	c, logger := s.config, slog.New(slog.DiscardHandler)
	var err error
	s.IDs, s.Node = id.NewClock(c.Now), node
	s.Store, err = etcd.NewStore(t.Context(), etcd.StoreConfig{
		Client: s.Client, Environments: s.Environments, Codec: s.Codec, IDs: s.IDs, Logger: logger, Node: node,
		WatchDelay: c.WatchDelay, HoldWatch: c.HoldWatch, Quota: c.Quota,
		Open: s.opener(),
	})
	must(t, "store", err)
	t.Cleanup(s.Store.Close)
	s.Keys, err = keys.New(keys.Config{
		Store: s.keysStore(), Environments: s.Environments, Roots: s.roots(), Codec: s.Codec, NewID: s.IDs.UUID, Now: c.Now,
		CMKs: c.CMKs,
	})
	must(t, "keys", err)
	s.Gate, err = access.NewGate(access.GateConfig{
		Keys: s.Store, Peppers: s.Environments, Now: c.Now, Home: s.Record.ID, Report: c.Report,
	})
	must(t, "gate", err)
	s.AuditDir = filepath.Join(t.TempDir(), "audit")
	s.Audit, err = audit.Open(audit.Config{Dir: s.AuditDir, Node: node, Wait: c.AuditWait, Now: c.Now, Logger: logger})
	must(t, "audit", err)
	t.Cleanup(func() { _ = s.Audit.Close() })
	s.Vault, err = vault.New(vault.Config{
		Store: s.vaultStore(), Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit,
		IDs: s.IDs, Limits: c.Limits,
	})
	must(t, "vault", err)
	s.Operations, err = keys.NewOperations(keys.OperationsConfig{Keys: s.Keys, Store: s.Store, Gate: s.Gate, Audit: s.Audit})
	must(t, "operations", err)
	s.Register = s.MustRegister(t, func(*admission.Config) {})
	s.Others, err = environments.New(environments.Config{Store: s.Store, Gate: s.Gate, Audit: s.Audit, Roots: s.roots(), Now: c.Now})
	must(t, "environments", err)
}

// MustRegister is another register of API keys over the stack.
func (s *Stack) MustRegister(t testing.TB, change func(*admission.Config)) *admission.Register {
	t.Helper()
	c := admission.Config{
		Store: s.Store, Gate: s.Gate, Peppers: s.Environments, Audit: s.Audit, Now: s.config.Now,
		Logger: slog.New(slog.DiscardHandler), UseInterval: s.config.UseInterval,
	}
	change(&c)
	r, err := admission.New(c)
	must(t, "register", err)
	t.Cleanup(r.Close)
	return r
}

// opener opens environments that others make.
func (s *Stack) opener() func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error) {
	if s.config.Open != nil {
		return s.config.Open
	}
	return func(ctx context.Context, r keys.EnvironmentRecord) (*keys.Environment, error) {
		return keys.OpenEnvironment(ctx, s.roots(), r)
	}
}

func (s *Stack) roots() *keys.RootKeys {
	if s.config.Roots == nil {
		return keys.NewRootKeys(s.Root)
	}
	return s.config.Roots
}

func (s *Stack) vaultStore() vault.Store {
	if s.config.Wrap == nil {
		return s.Store
	}
	return s.config.Wrap(s.Store)
}

func (s *Stack) keysStore() keys.Store {
	if s.config.WrapKeys == nil {
		return s.Store
	}
	return s.config.WrapKeys(s.Store)
}

// Call is a request of the administrator.
func (s *Stack) Call() access.Call {
	return access.Call{Actor: s.admin, RequestID: "req_" + id.ULID(time.Now())}
}

// MustCallAs is a request of a new API key with this role.
func (s *Stack) MustCallAs(t testing.TB, role access.Role) access.Call {
	t.Helper()
	return access.Call{Actor: s.MustActor(t, s.MustAPIKey(t, role)), RequestID: "req_" + id.ULID(time.Now())}
}

// MustCallWithin is a request of a new API key that may everything in a scope, and nothing outside.
func (s *Stack) MustCallWithin(t testing.TB, scope access.Scope) access.Call {
	t.Helper()
	key := s.MustKey(t, func(r *access.KeyRecord) { r.Role, r.Scope = access.RoleAdmin, scope })
	return access.Call{Actor: s.MustActor(t, key), RequestID: "req_" + id.ULID(time.Now())}
}

// MustActor authenticates an API key.
func (s *Stack) MustActor(t testing.TB, key access.APIKey) access.Actor {
	t.Helper()
	actor, err := s.Gate.Authenticate(t.Context(), key)
	must(t, "authenticate", err)
	return actor
}

// MustAPIKey makes a new API key with this role and stores its record.
func (s *Stack) MustAPIKey(t testing.TB, role access.Role) access.APIKey {
	t.Helper()
	return s.MustKey(t, func(r *access.KeyRecord) { r.Role, r.Name = role, "test "+string(role) })
}

// MustKey makes a new API key and stores its record as change makes it.
func (s *Stack) MustKey(t testing.TB, change func(*access.KeyRecord)) access.APIKey {
	t.Helper()
	now := s.config.Now()
	key, err := access.GenerateAPIKey(s.Environment.ID(), now)
	must(t, "generate API key", err)
	hash, err := s.Environments.Pepper(key.Environment, key.Text())
	must(t, "pepper", err)
	record := access.KeyRecord{ID: key.ID, Environment: key.Environment, Name: "test", Hash: hash, CreatedAt: now.UTC()}
	change(&record)
	must(t, "store API key", s.Store.CreateAPIKey(t.Context(), record))
	return key
}

func mustRoot(t testing.TB) *localkms.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	must(t, "create root key", localkms.Create(path))
	root, err := localkms.Open(path)
	must(t, "open root key", err)
	return root
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
