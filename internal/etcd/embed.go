package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// DefaultQuotaBytes is etcd's own recommended maximum.
const DefaultQuotaBytes = 8 << 30

// embed starts an etcd of one member inside this process, without a listener: nobody else can reach it.
func (c *Client) embed(ctx context.Context, cfg Config) error {
	if cfg.DataDir == "" {
		return errors.New("etcd: Config.DataDir or Config.Endpoints is required")
	}
	e, err := embed.StartEtcd(embedConfig(cfg))
	if err != nil {
		return fmt.Errorf("start embedded etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		e.Close()
		return fmt.Errorf("start embedded etcd: %w", err)
	case <-ctx.Done():
		e.Close()
		return fmt.Errorf("start embedded etcd: %w", ctx.Err())
	}
	c.embedded, c.kv = e, v3client.New(e.Server)
	return nil
}

func embedConfig(cfg Config) *embed.Config {
	ec := embed.NewConfig()
	ec.Dir = filepath.Join(cfg.DataDir, "etcd")
	ec.ListenClientUrls, ec.ListenPeerUrls = nil, nil
	ec.AdvertiseClientUrls = nil
	// A peer URL is part of the member's identity; nothing ever listens there.
	ec.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:0"}}
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	// With one member there is nobody to wait for: the default ticks alone would cost a second of
	// every start.
	ec.TickMs, ec.ElectionMs = 10, 100
	// etcd keeps the last entries of its log in memory for followers that lag, by default five thousand, each
	// as large as the write it holds, and copies their list every hundred writes. Here nobody follows.
	ec.SnapshotCatchUpEntries = 1
	ec.QuotaBackendBytes = cfg.QuotaBytes
	if ec.QuotaBackendBytes == 0 {
		ec.QuotaBackendBytes = DefaultQuotaBytes
	}
	// Compaction is driven by bytes written (compact.go), not by the clock.
	ec.AutoCompactionMode, ec.AutoCompactionRetention = "periodic", "0"
	// A watcher that lags asks for progress itself; this is only the floor.
	ec.WatchProgressNotifyInterval = 10 * time.Second
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quietZap())
	return ec
}

// quietZap drops etcd's own chatter: it logs an orderly close as several errors. What matters reaches
// the caller as an error of a request and as a red readiness; except that after a fatal entry etcd ends
// the process (its disk is full, or it cannot open a file), and then these are the last words.
func quietZap() *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), zapcore.FatalLevel))
}
