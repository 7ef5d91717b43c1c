package etcdtest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// memberVariable holds a member's configuration in the environment of a re-executed test binary.
const memberVariable = "CULVERT_TEST_ETCD_MEMBER"

// memberConfig is what a member process is told.
type memberConfig struct {
	Name, Dir, ClientURL, PeerURL, Cluster string
	QuotaBytes                             int64
	// CAFile and the pair are what it speaks TLS with, to clients and to peers, and asks both for; empty
	// for plain connections.
	CAFile string
	Pair   Pair
}

// Main is the TestMain of every package that calls [Cluster]: etcd's server cannot be installed as a
// program of its own, so the test binary runs itself once for each member.
func Main(m *testing.M) {
	if text := os.Getenv(memberVariable); text != "" {
		if err := serveMember(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveMember runs one member until standard input closes, so that no member outlives the test.
func serveMember(text string) error {
	var cfg memberConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	client, err := url.Parse(cfg.ClientURL)
	if err != nil {
		return err
	}
	peer, err := url.Parse(cfg.PeerURL)
	if err != nil {
		return err
	}
	ec := embed.NewConfig()
	ec.Name, ec.Dir = cfg.Name, cfg.Dir
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	ec.InitialCluster = cfg.Cluster
	ec.QuotaBackendBytes = cfg.QuotaBytes
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if cfg.CAFile != "" {
		both := transport.TLSInfo{
			CertFile: cfg.Pair.CertFile, KeyFile: cfg.Pair.KeyFile, TrustedCAFile: cfg.CAFile, ClientCertAuth: true,
		}
		ec.ClientTLSInfo, ec.PeerTLSInfo = both, both
	}
	e, err := embed.StartEtcd(ec)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	e.Close()
	return nil
}

// Cluster is three real etcd processes, or as many as were asked for.
type Cluster struct {
	Members []*Member
	// TLS is what clients of the cluster need; nil where connections are plain.
	TLS *tls.Config
}

// Member is one of them.
type Member struct {
	Endpoint string
	config   memberConfig
	cmd      *exec.Cmd
	stdin    io.Closer
}

// NewCluster starts three members, waits until they have a leader, and ends them after the test.
// The package's TestMain must be [Main].
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	return NewClusterOf(t, 3)
}

// NewClusterOf is [NewCluster] with this many members.
func NewClusterOf(t testing.TB, members int) *Cluster {
	t.Helper()
	return newCluster(t, members, nil)
}

// NewTLSCluster is [NewCluster] with mutual TLS: the members have certificates of the CA and want one of
// every client.
func NewTLSCluster(t testing.TB, ca *CA) *Cluster {
	t.Helper()
	return newCluster(t, 3, ca)
}

func newCluster(t testing.TB, members int, ca *CA) *Cluster {
	t.Helper()
	c, scheme := &Cluster{}, "http://"
	if ca != nil {
		c.TLS, scheme = ca.Client(t, ca.Issue(t, "cluster-client")), "https://"
	}
	var initial []string
	dir := t.TempDir()
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		cfg := memberConfig{Name: name, Dir: filepath.Join(dir, name), ClientURL: scheme + freeAddr(t), PeerURL: scheme + freeAddr(t)}
		if ca != nil {
			cfg.CAFile, cfg.Pair = ca.File, ca.Issue(t, name)
		}
		initial = append(initial, name+"="+cfg.PeerURL)
		c.Members = append(c.Members, &Member{Endpoint: cfg.ClientURL, config: cfg})
	}
	t.Cleanup(c.stop)
	for _, m := range c.Members {
		m.config.Cluster = strings.Join(initial, ",")
		m.MustStart(t)
	}
	c.mustServe(t)
	return c
}

// Endpoints are the client URLs of all members.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	return all
}

// mustServe waits until a write goes through.
func (c *Cluster) mustServe(t testing.TB) {
	t.Helper()
	kv, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: c.TLS, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("client of the test cluster: %v", err)
	}
	defer kv.Close()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err = kv.Get(ctx, "ready")
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("the test cluster does not serve: %v", err)
}

func (c *Cluster) stop() {
	for _, m := range c.Members {
		m.Continue()
		m.Kill()
	}
}

// MustStart starts a member that does not run; with the same data as before if it ran already.
func (m *Member) MustStart(t testing.TB) {
	t.Helper()
	text, err := json.Marshal(m.config)
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), memberVariable+"="+string(text))
	m.cmd.Stderr = os.Stderr
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.stdin = stdin
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("start etcd member: %v", err)
	}
}

// Kill ends the member with SIGKILL and waits until it is gone.
func (m *Member) Kill() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	_ = m.stdin.Close()
	m.cmd = nil
}

// MustWipe removes the data of a member that does not run: it starts as if it never had been.
func (m *Member) MustWipe(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(m.config.Dir); err != nil {
		t.Fatal(err)
	}
}

// Pause stops the member with SIGSTOP: it keeps its connections and answers nothing.
func (m *Member) Pause() { m.signal(syscall.SIGSTOP) }

// Continue undoes Pause.
func (m *Member) Continue() { m.signal(syscall.SIGCONT) }

func (m *Member) signal(s syscall.Signal) {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(s)
	}
}

// FreeAddr is a loopback address nobody listens on at this moment. Its port is below those that systems
// give to outgoing connections (Linux: from 32768), of which other tests have many: none of these takes it
// before the test's server does, or while that is restarted.
func FreeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("etcdtest: no port is free")
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
