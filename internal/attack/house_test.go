package attack_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/export"
	"culvert/internal/id"
	"culvert/internal/logtest"
	"culvert/internal/proof"
	"culvert/internal/stream"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes/pipestest"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// house is a server on loopback over the whole stack, and somebody who can write its etcd.
type house struct {
	stack *vaulttest.Stack
	// second is another environment of the same store, with an API key of its own.
	second    *keys.Environment
	secondKey access.APIKey

	base   string
	client *http.Client
	writer *etcdtest.Writer
	admin  http.Handler
	log    *logtest.Buffer

	// mu guards what follows.
	mu sync.Mutex
	// refusals are the request ids of all answers that said integrity_failure.
	refusals []string
	// reported are the ids of API keys whose record was found broken, one for each time.
	reported []string
}

// newHouse builds a house on an etcd of its own. After the test it is held to its trail.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{log: &logtest.Buffer{}, client: &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}}
	endpoint := etcdtest.Listening(t)
	metrics := server.NewMetrics()
	var report func(context.Context, access.EnvironmentID, string, error)
	first := vaulttest.WithConfig(t, vaulttest.Config{
		Endpoints: []string{endpoint}, UseInterval: time.Hour, // a use that is written down heals its record
		Report: func(ctx context.Context, env access.EnvironmentID, keyID string, err error) {
			h.mu.Lock()
			h.reported = append(h.reported, keyID)
			h.mu.Unlock()
			report(ctx, env, keyID, err)
		},
	})
	h.writer = etcdtest.NewWriter(t, "/culvert", endpoint)
	h.addEnvironment(t, first)
	// A second process is the one under attack: it has loaded both environments, as a start does.
	h.stack = first.Replica(t)
	report = server.ReportAPIKey(h.stack.Audit, metrics)
	h.open(t, metrics)
	h.secondKey = h.mustAPIKey(t, h.second)
	return h
}

// addEnvironment puts a second environment into the store, whose keys the same root key wraps.
func (h *house) addEnvironment(t *testing.T, s *vaulttest.Stack) {
	t.Helper()
	record, env, err := keys.NewEnvironment(t.Context(), keys.NewRootKeys(s.Root), access.EnvironmentID(id.ULID(time.Now())), "second", time.Now())
	must(t, err)
	h.second = env
	body, err := s.Codec.Encode(record)
	must(t, err)
	key := "env/" + string(env.ID())
	h.writer.MustPut(t, key, mac(t, env, key, body))
	h.writer.MustPut(t, "epoch/"+string(env.ID()), []byte("1"))
}

// open serves the stack over HTTP.
func (h *house) open(t *testing.T, metrics *server.Metrics) {
	t.Helper()
	log, err := events.New(events.Config{Store: h.stack.Store, Gate: h.stack.Gate, Audit: h.stack.Audit})
	must(t, err)
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	must(t, err)
	hooks, err := webhooks.New(webhooks.Config{
		Store: h.stack.Store, Environments: h.stack.Environments, Gate: h.stack.Gate, Audit: h.stack.Audit, Egress: egress,
	})
	must(t, err)
	auditor, err := proof.New(proof.Config{
		Log: h.stack.Audit, Gate: h.stack.Gate, Fence: h.stack.Store.Fence, Checkpoints: h.stack.Store.Checkpoints(h.stack.Environment.ID()),
		Key:  func() string { return "" },
		Home: h.stack.Environment.ID(), Rotate: func(context.Context) (string, error) { return "another key", nil },
	})
	must(t, err)
	streams, err := stream.Start(stream.Config{Log: h.stack.Audit, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { _ = streams.Close() })
	desk, err := stream.NewDesk(stream.DeskConfig{Streams: streams, Gate: h.stack.Gate, Audit: h.stack.Audit, Fence: h.stack.Store.Fence, Now: time.Now})
	must(t, err)
	clock := id.NewClock(time.Now)
	exports, err := export.Open(export.Config{
		Log: h.stack.Audit, Gate: h.stack.Gate, Fence: h.stack.Store.Fence, Nodes: h.stack.Store.Checkpoints(h.stack.Environment.ID()).Nodes,
		Dir: t.TempDir(), NewID: func() string { return id.ULID(clock.Now()) }, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() { _ = exports.Close() })
	s, err := server.New(server.Config{
		Admission: h.stack.Register, Environments: h.stack.Others,
		Vault: h.stack.Vault, Pipes: pipestest.MustBare(t, h.stack), Keys: h.stack.Operations, PublicURL: pipestest.PublicURL, Events: log, Webhooks: hooks, Auditor: auditor, Streams: desk, Exports: exports, Gate: h.stack.Gate, Audit: h.stack.Audit, Metrics: metrics,
		Health: func(ctx context.Context) []server.Check {
			state := server.Ready
			if h.stack.Store.Health(ctx) != nil {
				state = server.Unready
			}
			return []server.Check{{Name: "etcd", State: state}}
		},
		Logger: slog.New(slog.NewJSONHandler(h.log, nil)),
	})
	must(t, err)
	h.admin = s.AdminHandler()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.base = "http://" + listener.Addr().String()
	door := s.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- door.Serve(s.Listener(listener)) }()
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		must(t, door.Close())
		<-served
	})
}

// mustAPIKey makes an administrator's key in an environment.
func (h *house) mustAPIKey(t testing.TB, env *keys.Environment) access.APIKey {
	t.Helper()
	key, err := access.GenerateAPIKey(env.ID(), time.Now())
	must(t, err)
	must(t, h.stack.Store.CreateAPIKey(t.Context(), h.keyRecord(t, env, key)))
	return key
}

func (h *house) keyRecord(t testing.TB, env *keys.Environment, key access.APIKey) access.KeyRecord {
	t.Helper()
	hash, err := env.Pepper(key.Text())
	must(t, err)
	return access.KeyRecord{
		ID: key.ID, Environment: key.Environment, Name: "attacked", Role: access.RoleAdmin, Hash: hash, CreatedAt: time.Now().UTC(),
	}
}

// environment finds one of the two.
func (h *house) environment(id access.EnvironmentID) *keys.Environment {
	if id == h.second.ID() {
		return h.second
	}
	return h.stack.Environment
}

// keyOf is an API key of an environment that nobody attacks.
func (h *house) keyOf(id access.EnvironmentID) access.APIKey {
	if id == h.second.ID() {
		return h.secondKey
	}
	return h.stack.APIKey
}

// mac is what only Culvert can make: the stored form of a record, with its MAC.
func mac(t testing.TB, env *keys.Environment, key string, body []byte) []byte {
	t.Helper()
	tag, err := env.MAC(key, body)
	must(t, err)
	return slices.Concat([]byte{byte(len(tag))}, tag, body)
}

// bodyOf is the stored form of a record without its MAC.
func bodyOf(value []byte) []byte { return value[1+int(value[0]):] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
