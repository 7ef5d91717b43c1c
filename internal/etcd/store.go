package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/environments"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/reads"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// Defaults of StoreConfig.
const (
	DefaultCacheBytes   = 128 << 20
	DefaultIndexObjects = 1_000_000
)

// StoreConfig says what a Store stands on.
type StoreConfig struct {
	// Client, Environments, Codec, IDs and Logger are required.
	Client       *Client
	Environments *keys.Environments
	Codec        codec
	IDs          *id.Clock
	Logger       *slog.Logger
	// Open unseals the keysets of an environment that another process has made meanwhile. Default nil: it stays
	// unknown here until the next start.
	Open func(context.Context, keys.EnvironmentRecord) (*keys.Environment, error)
	// Node is this replica's id, for its heartbeat; required.
	Node string
	// CacheBytes bounds the cache; default 128 MiB.
	CacheBytes int
	// IndexObjects is how many objects of one environment the list index holds; above it lists come
	// from etcd in bounded ranges and search is refused. Default 1,000,000.
	IndexObjects int
	// MinFreeBytes is the free space on the data disk below which creates and updates are refused; a
	// quarter of it stops every write that does not free or protect something. Default 1 GiB.
	MinFreeBytes uint64
	// WatchDelay holds back every response of the watch with events, for tests of the fence. Default 0.
	WatchDelay time.Duration
	// HoldWatch is called in front of each of them: the watch stalls until it returns. Its context ends with
	// the watch. Default nil.
	HoldWatch func(ctx context.Context)
	// EventsDir is where segments of older events are; default none: what is too much for etcd is forgotten.
	// Replicas share it.
	EventsDir string
	// EventBytes bounds the events in etcd; default 15 % of the quota.
	EventBytes int64
	// EventAge is how old events are at least before they leave etcd; default a minute.
	EventAge time.Duration
	// LockTTL is how long locks outlive a process that is gone, in whole seconds; default 30 s.
	LockTTL time.Duration
	// Quota is what each environment may hold; default no bound. Replicas have the same. IndexObjects bounds it.
	Quota vault.Quota
}

// Store implements the stores of keys, vault, pipes, access and events on one etcd keyspace. It is safe for
// concurrent use by any number of goroutines, and any number of replicas may share the keyspace.
type Store struct {
	client       *Client
	environments *keys.Environments
	codec        codec
	ids          *id.Clock
	log          *slog.Logger

	feed    *feed
	fence   *fence
	mirror  *mirror
	cache   *cache
	indexes *indexes
	epochs  *epochs
	rewraps *rewraps
	room    *room
	nodes   *nodes
	session *session
	origins origins
	// newcomers are the environments that were made since this process began.
	newcomers *newcomers
	// segments are the files of older events; eventBytes and eventAge say when events go there.
	segments   segments
	eventBytes int64
	eventAge   time.Duration
	// watchers wait for changes of grants.
	watchers *watchers
	quotas   quotas
	// window is how many objects one range read of a list may hold.
	window int64

	stop context.CancelFunc
	work sync.WaitGroup
}

var (
	_ keys.Store = (*Store)(nil)

	_ keys.OperationsStore = (*Store)(nil)

	_ vault.Store     = (*Store)(nil)
	_ pipes.Store     = (*Store)(nil)
	_ access.KeyStore = (*Store)(nil)

	_ admission.Store = (*Store)(nil)
	_ events.Store    = (*Store)(nil)
	_ webhooks.Store  = (*Store)(nil)
	_ reads.Store     = (*Store)(nil)

	_ environments.Store = (*Store)(nil)
)

// NewStore starts following the keyspace. Its environments must be those of the keyspace. The error is
// [ErrNodeTaken] if another process runs under the node id, or an outage.
func NewStore(ctx context.Context, cfg StoreConfig) (*Store, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.nodes.pulse.claim(ctx); err != nil {
		s.stop()
		return nil, err
	}
	s.start()
	if err := s.await(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newStore puts a Store together; nothing of it runs yet.
func newStore(cfg StoreConfig) (*Store, error) {
	if cfg.Client == nil || cfg.Environments == nil || cfg.Codec == nil || cfg.IDs == nil || cfg.Logger == nil || cfg.Node == "" {
		return nil, errors.New("etcd: StoreConfig.Client, Environments, Codec, IDs, Logger and Node are required")
	}
	life, stop := context.WithCancel(context.Background())
	s := &Store{
		client: cfg.Client, environments: cfg.Environments, codec: cfg.Codec, ids: cfg.IDs, log: cfg.Logger,
		mirror: newMirror(), cache: newCache(cmp.Or(cfg.CacheBytes, DefaultCacheBytes)), window: windowObjects, stop: stop,
	}
	s.indexes = newIndexes(s, cmp.Or(cfg.IndexObjects, DefaultIndexObjects))
	s.epochs, s.rewraps = newEpochs(s), &rewraps{store: s}
	s.origins.byPrefix = map[string]int64{}
	s.feed = &feed{client: cfg.Client, log: cfg.Logger, ctx: life, sinks: s, delay: cfg.WatchDelay, hold: cfg.HoldWatch, advanced: make(chan struct{}, 1)}
	s.fence = &fence{feed: s.feed, timeout: readTimeout}
	s.room = newRoom(cfg.Client, cmp.Or(cfg.MinFreeBytes, 1<<30))
	s.nodes = newNodes(s, cfg.Node)
	s.session = &session{client: cfg.Client, log: cfg.Logger, ttl: cmp.Or(cfg.LockTTL, DefaultLockTTL), life: life}
	s.watchers = newWatchers()
	s.quotas.limits = cfg.Quota
	s.newcomers = newNewcomers(s, cfg.Open)
	s.segments.size = segmentEvents
	s.segments.dir, s.eventBytes, s.eventAge = cfg.EventsDir, cfg.EventBytes, cmp.Or(cfg.EventAge, moveAge)
	return s, nil
}

func (s *Store) start() {
	for _, run := range []func(context.Context){
		func(context.Context) { s.feed.run() }, s.epochs.run, s.room.run, s.nodes.run, s.compact, s.expireRequests, s.move, s.newcomers.run,
	} {
		s.work.Go(func() { run(s.feed.ctx) })
	}
}

// await gives the first load a moment, so that a fresh server does not start on the slow path. An etcd
// that is down is no error: requests say so until it is back.
func (s *Store) await(ctx context.Context) error {
	deadline := time.Now().Add(readTimeout)
	for !s.feed.ready.Load() && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("etcd: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Close stops following and waits for what runs. The Client stays open.
func (s *Store) Close() {
	s.stop()
	s.fence.close()
	s.session.close()
	s.work.Wait()
	s.indexes.wait()
}

// Fence returns once lookups show everything that was acknowledged anywhere before the call.
func (s *Store) Fence(ctx context.Context) error { return s.fence.wait(ctx) }

// Health says why storage cannot be used, for readiness: it asks etcd itself.
func (s *Store) Health(ctx context.Context) error {
	if err := s.feed.health(); err != nil {
		return err
	}
	if err := s.nodes.health(); err != nil {
		return err
	}
	if err := s.Fence(ctx); err != nil {
		return err
	}
	return s.room.health()
}

// Degraded says what an operator should know although requests are served.
func (s *Store) Degraded() []string { return append(s.nodes.degraded(), s.newcomers.degraded()...) }

// load implements sinks: the steering records at one revision, and nothing else believed.
func (s *Store) load(ctx context.Context) (int64, error) {
	items, known := map[string]*item{}, s.feed.known()
	var revision int64
	for _, kind := range mirroredKinds() {
		options := []clientv3.OpOption{clientv3.WithPrefix()}
		if revision > 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		ctx, cancel := bounded(ctx, readTimeout)
		resp, err := s.client.get(ctx, s.client.abs(kind+"/"), options...)
		cancel()
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = resp.Header.Revision
			s.feed.inspect(resp.Header, known)
		}
		for _, kv := range resp.Kvs {
			key := s.client.rel(kv.Key)
			items[key] = newItem(key, kv)
		}
	}
	s.mirror.replace(items)
	s.cache.clear()
	s.indexes.reload(ctx, revision)
	s.watchers.tellAll()
	s.newcomers.look()
	return revision, nil
}

// apply implements sinks.
func (s *Store) apply(it *item, deleted bool) {
	kind := kindOf(it.key)
	switch {
	case mirrored(kind):
		s.mirror.apply(it, deleted)
		switch kind {
		case kindNode:
			s.nodes.hear(it)
		case kindEnv:
			s.newcomers.look()
		}
	case kind == kindRequest && !deleted:
		s.room.addRequest(len(it.key) + len(it.value))
	case cached(kind):
		if mine := s.cache.get(it.key); !deleted && mine != nil && mine.revision == it.revision {
			it = mine // with its record, verified already
		}
		s.cache.apply(it, deleted)
		if kind == kindObject {
			s.indexes.apply(it, deleted)
		}
	}
	s.watchers.tell(it.key)
}
