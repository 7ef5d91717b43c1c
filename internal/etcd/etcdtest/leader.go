package etcdtest

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// MustLeader is the member that leads the cluster now.
func (c *Cluster) MustLeader(t testing.TB) *Member {
	t.Helper()
	kv, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: c.TLS, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("client of the test cluster: %v", err)
	}
	defer kv.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, m := range c.Members {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			status, err := kv.Status(ctx, m.Endpoint)
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				return m
			}
		}
	}
	t.Fatal("the test cluster has no leader")
	return nil
}
