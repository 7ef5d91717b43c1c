package etcdtest

import (
	"context"
	"net/url"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Listening starts an etcd of one member in the test's process, which listens on loopback: for tests
// that need somebody else beside Culvert on it. It answers writes before they are on the disk, because
// no such test is about a crash. It returns the endpoint and stops after the test.
func Listening(t testing.TB) string {
	t.Helper()
	return ListeningQuota(t, 0)
}

// ListeningQuota is [Listening] with a quota in bytes; 0 is etcd's default.
func ListeningQuota(t testing.TB, quota int64) string {
	t.Helper()
	client, peer := "http://"+freeAddr(t), "http://"+freeAddr(t)
	ec := embed.NewConfig()
	ec.Dir = t.TempDir()
	ec.ListenClientUrls, ec.AdvertiseClientUrls = mustURLs(t, client), mustURLs(t, client)
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = mustURLs(t, peer), mustURLs(t, peer)
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	ec.TickMs, ec.ElectionMs = 10, 100
	ec.UnsafeNoFsync = true
	ec.QuotaBackendBytes = quota
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(ec)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(10 * time.Second):
		t.Fatal("etcd does not get ready")
	}
	return client
}

func mustURLs(t testing.TB, text string) []url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return []url.URL{*u}
}

// Writer is somebody who can read and write etcd and holds none of Culvert's keys: the attacker of the
// threat model. Keys are relative to the root of a store. It is safe for concurrent use.
type Writer struct {
	kv   *clientv3.Client
	root string
}

// NewWriter connects to an etcd that others reach. The prefix is that of the store, as "/culvert".
func NewWriter(t testing.TB, prefix string, endpoints ...string) *Writer {
	t.Helper()
	kv, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("client of etcd: %v", err)
	}
	t.Cleanup(func() { _ = kv.Close() })
	return &Writer{kv: kv, root: prefix + "/"}
}

// MustAll reads the whole store.
func (w *Writer) MustAll(t testing.TB) map[string][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := w.kv.Get(ctx, w.root, clientv3.WithPrefix())
	if err != nil {
		t.Fatalf("read the store: %v", err)
	}
	all := make(map[string][]byte, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		all[string(kv.Key[len(w.root):])] = kv.Value
	}
	return all
}

// MustPut writes one key.
func (w *Writer) MustPut(t testing.TB, key string, value []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := w.kv.Put(ctx, w.root+key, string(value)); err != nil {
		t.Fatalf("write %s: %v", key, err)
	}
}

// MustDelete removes one key.
func (w *Writer) MustDelete(t testing.TB, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := w.kv.Delete(ctx, w.root+key); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

// MustExpire ends the lease that a key is bound to, as time does when nobody keeps it alive, and returns how long that
// would have taken at most.
func (w *Writer) MustExpire(t testing.TB, key string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := w.kv.Get(ctx, w.root+key)
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("read %s: %v", key, err)
	}
	lease := clientv3.LeaseID(resp.Kvs[0].Lease)
	info, err := w.kv.TimeToLive(ctx, lease)
	if err != nil {
		t.Fatalf("lease of %s: %v", key, err)
	}
	if _, err := w.kv.Revoke(ctx, lease); err != nil {
		t.Fatalf("end the lease of %s: %v", key, err)
	}
	return time.Duration(info.GrantedTTL) * time.Second
}

// Watch calls do with each key and value that anybody writes, until the context ends.
func (w *Writer) Watch(ctx context.Context, do func(key string, value []byte)) {
	for got := range w.kv.Watch(ctx, w.root, clientv3.WithPrefix()) {
		for _, e := range got.Events {
			if e.Type == clientv3.EventTypePut {
				do(string(e.Kv.Key[len(w.root):]), e.Kv.Value)
			}
		}
	}
}
