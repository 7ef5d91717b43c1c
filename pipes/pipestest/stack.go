// Package pipestest builds the whole real stack under a broker for tests: that of vaulttest, with a
// provider on loopback and a broker on it. Nothing in it is a fake but the provider, which is a real
// authorization server with knobs.
package pipestest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/internal/journal"
	"culvert/internal/logtest"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault/vaulttest"
)

// Slugs of the catalogue that a [Stack] has: both are the one provider.
const (
	Slug   = "provider"
	Second = "second"
)

// PublicURL is where the brokers of tests believe to be, and ReturnTo an origin that flows may end at.
const (
	PublicURL = "https://culvert.example"
	ReturnTo  = "https://app.example"
)

// ClientID and ClientSecret are what the provider accepts.
const (
	ClientID     = connectorstest.DefaultClientID
	ClientSecret = connectorstest.DefaultClientSecret
)

// Config changes a [Stack] for tests of a special case. The zero Config is that of [New].
type Config struct {
	// Provider is how the provider behaves; its Now is the stack's clock.
	Provider connectorstest.Config
	// Connector changes the data of both slugs.
	Connector func(*connectors.Connector)
	// Wrap, if set, stands between the broker and its real store, to fail or delay single calls.
	Wrap func(pipes.Store) pipes.Store
	// ReturnTo and AnyLoopbackReturnTo are the broker's; the first is [ReturnTo] by default.
	ReturnTo            []string
	AnyLoopbackReturnTo bool
	// KeepAlive is the broker's.
	KeepAlive time.Duration
	// CMKs opens customers' keys; default none.
	CMKs keys.CMKSource
}

// Stack is everything a broker stands on. All of it is closed when the test ends.
type Stack struct {
	*vaulttest.Stack
	Provider *connectorstest.Server
	Broker   *pipes.Broker
	Clock    *Clock
	// JournalPath is the file of the broker's journal, Counts what the broker counted.
	JournalPath string
	Journal     *journal.Journal
	Counts      *Counts
	// Log is what the broker and its client logged.
	Log *logtest.Buffer

	config Config
}

// Clock is the time of everything in a stack: it runs with real time until a test stops it, and a test
// sets it forward.
type Clock struct {
	ahead   atomic.Int64
	stopped atomic.Pointer[time.Time]
}

// Now is a [time.Now].
func (c *Clock) Now() time.Time {
	now := time.Now()
	if at := c.stopped.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(c.ahead.Load()))
}

// Advance sets the clock forward.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// Stop lets no time pass from now on but what [Clock.Advance] adds, for tests of what happens within a
// moment or a pause: a busy machine makes no moment shorter than the test.
func (c *Clock) Stop() {
	now := time.Now()
	c.stopped.Store(&now)
}

// New builds a stack on an etcd of its own, with a provider that rotates refresh tokens.
func New(t testing.TB) *Stack {
	t.Helper()
	return WithConfig(t, Config{Provider: connectorstest.Config{Rotate: true}})
}

// WithConfig is [New] for special cases.
func WithConfig(t testing.TB, c Config) *Stack {
	t.Helper()
	s := &Stack{Clock: new(Clock), Log: new(logtest.Buffer), config: c}
	c.Provider.Now = s.Clock.Now
	s.Provider = connectorstest.Start(t, c.Provider)
	s.Stack = vaulttest.WithConfig(t, vaulttest.Config{Now: s.Clock.Now, CMKs: c.CMKs})
	s.open(t)
	return s
}

// Replica is another process on the same keyspace and provider: its own store, caches and broker.
func (s *Stack) Replica(t testing.TB) *Stack {
	t.Helper()
	r := *s
	r.Stack = s.Stack.Replica(t)
	r.JournalPath = ""
	r.open(t)
	return &r
}

// Restart is the next life of the same node after a kill: the broker's refreshes are given up where they
// stand, and another broker reads its journal.
func (s *Stack) Restart(t testing.TB) *Stack {
	t.Helper()
	killed, kill := context.WithCancel(context.Background())
	kill()
	_ = s.Broker.Close(killed) // what it says of refreshes that were given up is what the test is about
	r := *s
	r.open(t)
	return &r
}

// ReplicaReturningTo is a replica whose settings allow other origins for return_to: as after a restart
// with new settings.
func (s *Stack) ReplicaReturningTo(t testing.TB, allowed ...string) *Stack {
	t.Helper()
	r := *s
	r.config.ReturnTo = allowed
	return r.Replica(t)
}

// open builds what stands above the vault's stack.
func (s *Stack) open(t testing.TB) {
	t.Helper()
	logger := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var list []connectors.Connector
	for _, slug := range []string{Slug, Second} {
		conn := s.Provider.Connector(slug)
		if s.config.Connector != nil {
			s.config.Connector(&conn)
		}
		list = append(list, conn)
	}
	catalog, err := connectors.NewCatalog(list, nil)
	must(t, "catalog", err)
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	must(t, "egress", err)
	client, err := connectors.NewClient(connectors.ClientConfig{
		Egress: egress, Now: s.Clock.Now, Logger: logger,
	})
	must(t, "client", err)
	var store pipes.Store = s.Store
	if s.config.Wrap != nil {
		store = s.config.Wrap(store)
	}
	if s.JournalPath == "" {
		s.JournalPath = filepath.Join(t.TempDir(), "journal")
	}
	s.Counts, s.Journal = new(Counts), mustJournal(t, s.JournalPath)
	returnTo := s.config.ReturnTo
	if returnTo == nil {
		returnTo = []string{ReturnTo}
	}
	s.Broker, err = pipes.New(pipes.Config{
		Store: store, Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit,
		Connectors: catalog, Client: client, Egress: egress, PublicURL: PublicURL, ReturnTo: returnTo,
		AnyLoopbackReturnTo: s.config.AnyLoopbackReturnTo, KeepAlive: s.config.KeepAlive, Now: s.Clock.Now, Logger: logger,
		Journal: s.Journal, Count: s.Counts.add,
	})
	must(t, "broker", err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Broker.Close(ctx); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
}

// Counts is what a broker counted.
type Counts struct {
	mu sync.Mutex
	of map[pipes.Counted]int // guarded by mu
}

func (c *Counts) add(what pipes.Counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[pipes.Counted]int{}
	}
	c.of[what]++
}

// Of is how often something was counted.
func (c *Counts) Of(what pipes.Counted) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[what]
}

// mustJournal opens a journal until the test ends.
func mustJournal(t testing.TB, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Config{Path: path})
	must(t, "journal", err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// MustEvents returns the first hundred events of pipes of these types, or of all, oldest first.
func (s *Stack) MustEvents(t testing.TB, types ...events.Type) []events.Stored {
	t.Helper()
	if len(types) == 0 {
		types = []events.Type{
			events.AccountConnected, events.AccountDisconnected, events.ReauthorizationAsked, events.ConnectionFailed,
			events.GrantRefreshed, events.AccountUpdated, events.RevocationEnded, events.AccountExpiring,
			events.IntegrationCreated, events.IntegrationUpdated, events.IntegrationDeleted,
			events.ConfigurationUpdated, events.ConfigurationDeleted,
		}
	}
	must(t, "fence", s.Store.Fence(t.Context()))
	page, err := s.Store.Page(t.Context(), s.Environment.ID(), events.Query{Types: types, Limit: events.MaxLimit, Order: events.Ascending})
	must(t, "events", err)
	return page.Data
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
