// Package etcdtest gives tests a real etcd: one embedded in the test's process, or three processes of
// one member each, which can be killed and stopped.
package etcdtest

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"culvert/internal/etcd"
)

// Embedded starts an embedded etcd in a directory of the test's own and stops it afterwards.
func Embedded(t testing.TB) *etcd.Client {
	t.Helper()
	return MustOpen(t, etcd.Config{DataDir: t.TempDir()})
}

// MustOpen opens a client and closes it after the test. The logger defaults to one that drops all.
func MustOpen(t testing.TB, cfg etcd.Config) *etcd.Client {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	client, err := etcd.Open(context.Background(), cfg)
	if err != nil {
		t.Fatalf("open etcd: %v", err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close etcd: %v", err)
		}
	})
	return client
}
