package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"culvert/internal/outage"
)

// Deadlines. A caller waits at most five seconds for etcd in all: a write gets most of it, because a
// disk can stall for two seconds (measured), and the rest finds out what became of it.
const (
	readTimeout    = 5 * time.Second
	readAttempt    = 1500 * time.Millisecond
	writeTimeout   = 3500 * time.Millisecond
	resolveTimeout = 1500 * time.Millisecond
	resolveAttempt = 400 * time.Millisecond
)

// Config says which etcd to use.
type Config struct {
	// DataDir is where the embedded etcd keeps its data; used when Endpoints is empty. The caller
	// holds a lock on it: a second embedded etcd on one directory hangs without a word.
	DataDir string
	// Endpoints are host:port or URLs of an external cluster.
	Endpoints []string
	// Prefix is the root of the keyspace; default "/culvert".
	Prefix string
	// TLS is used with external endpoints; nil means plain text, for loopback.
	TLS *tls.Config
	// QuotaBytes is the embedded etcd's quota; default 8 GiB. An external member's is read from it.
	QuotaBytes int64
	// Logger is required.
	Logger *slog.Logger
}

// Client is a connection to etcd, embedded or external. Both speak clientv3, so everything above it is
// one code path. It is safe for concurrent use.
type Client struct {
	kv       *clientv3.Client
	embedded *embed.Etcd // nil for an external cluster
	root     string
	dataDir  string
	log      *slog.Logger
}

// Open connects, or starts the embedded etcd and waits until it serves. An external cluster that is
// down is not an error here: requests fail until it comes back, and recover by themselves.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Logger == nil {
		return nil, errors.New("etcd: Config.Logger is required")
	}
	c := &Client{root: rootOf(cfg.Prefix), dataDir: cfg.DataDir, log: cfg.Logger}
	if len(cfg.Endpoints) > 0 {
		kv, err := dial(cfg)
		if err != nil {
			return nil, err
		}
		c.kv, c.dataDir = kv, ""
		return c, nil
	}
	if err := c.embed(ctx, cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the connection and stops the embedded etcd. Stores on it must be closed before.
func (c *Client) Close() error {
	err := c.kv.Close()
	if c.embedded != nil {
		c.embedded.Close()
		err = nil // the in-process client reports its own cancelled context
	}
	return err
}

func rootOf(prefix string) string {
	if prefix == "" {
		prefix = "/culvert"
	}
	return strings.TrimSuffix(prefix, "/") + "/"
}

func dial(cfg Config) (*clientv3.Client, error) {
	kv, err := clientv3.New(clientv3.Config{
		Endpoints:   cfg.Endpoints,
		TLS:         cfg.TLS,
		DialTimeout: 3 * time.Second,
		// A member that accepts TCP but does not answer (stopped, or in a defragmentation) must be
		// noticed, and pings more often than every 5 s are answered with GOAWAY by a default etcd.
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		PermitWithoutStream:  true,
		// gRPC by itself waits up to two minutes between attempts, and so would we after an etcd that
		// was down for a while.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		})},
		// Room for a page of records and for a 1 MiB value in each direction.
		MaxCallSendMsgSize: 4 << 20,
		MaxCallRecvMsgSize: 64 << 20,
		Logger:             zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return kv, nil
}

// head is etcd's newest revision, linearizably: no older than anything acknowledged before the call. A
// count of a key that never exists costs a ReadIndex and nothing else.
func (c *Client) head(ctx context.Context) (*etcdserverpb.ResponseHeader, error) {
	if revision, ok := c.localRevision(); ok {
		return &etcdserverpb.ResponseHeader{ClusterId: uint64(c.embedded.Server.Cluster().ID()), Revision: revision}, nil
	}
	resp, err := c.get(ctx, c.abs(keyFence), clientv3.WithCountOnly())
	if err != nil {
		return nil, err
	}
	return resp.Header, nil
}

// localRevision is the newest revision of an embedded etcd. It has one member, this one, and a write is
// acknowledged after it was applied here: so what is applied here is all that anyone was told of, and
// there is nobody to agree with. It reads one number under a shared lock.
func (c *Client) localRevision() (int64, bool) {
	if c.embedded == nil {
		return 0, false
	}
	return c.embedded.Server.KV().Rev(), true
}

// abs turns a relative key into etcd's.
func (c *Client) abs(key string) string { return c.root + key }

// rel turns etcd's key into a relative one.
func (c *Client) rel(key []byte) string { return string(key[len(c.root):]) }

// end is the key behind the last one with this relative prefix.
func (c *Client) end(prefix string) string { return clientv3.GetPrefixRangeEnd(c.root + prefix) }

// get reads little from etcd, linearizably unless the options name a revision. It tries again while the
// context lasts, because the next attempt goes to another member: a third of all reads would otherwise
// wait in vain for one of three that was stopped, until its connection is given up.
func (c *Client) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	for {
		attempt, cancel := bounded(ctx, readAttempt)
		resp, err := c.kv.Get(attempt, key, options...)
		again := err != nil && attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if !again {
			return resp, err
		}
	}
}

// down makes an outage of an etcd error.
func down(err error) error {
	return &outage.Error{Dependency: outage.Etcd, Kind: outage.Unavailable, Cause: err}
}

// unsure makes an outage of the error of a write that nobody finds out about: it may be repeated.
func unsure(err error) error {
	return &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown, Cause: err}
}

// bounded gives a call to etcd its own deadline, within what its caller waits in all.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, outage.Within(ctx, d))
}
