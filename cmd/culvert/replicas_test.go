package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// Estate is a production installation: three etcd processes that want certificates of everybody, a store
// that `culvert init` made there, and settings with which any number of replicas can start.
type Estate struct {
	cluster *etcdtest.Cluster
	ca      *etcdtest.CA
	file    string
	// dir is where the data directories are; init's is "one".
	dir string
}

// MustEstate makes one.
func MustEstate(t *testing.T) *Estate {
	t.Helper()
	ca := etcdtest.NewCA(t)
	e := &Estate{cluster: etcdtest.NewTLSCluster(t, ca), ca: ca, dir: t.TempDir()}
	shown, api := ca.Issue(t, "etcd-client"), ca.Issue(t, "api")
	e.file = MustWrite(t, fmt.Sprintf(`
public_url: https://vault.example.com
root_key: {path: %s}
tls: {cert_file: %s, key_file: %s}
etcd:
  endpoints: [%s]
  ca_file: %s
  cert_file: %s
  key_file: %s
`, filepath.Join(e.dir, "root.key"), api.CertFile, api.KeyFile,
		strings.Join(e.cluster.Endpoints(), ", "), ca.File, shown.CertFile, shown.KeyFile))
	MustInit(t, e.file, "--set", "data_dir="+e.data("one"))
	return e
}

func (e *Estate) data(name string) string { return filepath.Join(e.dir, name) }

// MustReplica starts a server on the data directory of that name, and a client of it.
func (e *Estate) MustReplica(t *testing.T, name string) (*Process, *API) {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p := MustStartServer(t, e.ca, e.file, addrs[0], "--set", "addr="+addrs[0], "--set", "data_dir="+e.data(name))
	api := MustAPI(t, p.Base, e.data("one"))
	api.http.Transport.(*http.Transport).TLSClientConfig = e.ca.Client(t)
	return p, api
}

// storedObject is as much of an answer as these tests look at.
type storedObject struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// write is a create that has patience, as [API.Read] has: the Idempotency-Key makes one of all its attempts.
func (a *API) write(t *testing.T, name string) (o storedObject, acknowledged time.Time) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, err := a.Call(http.MethodPost, "/vault/v1/kv", map[string]string{"Idempotency-Key": name},
			map[string]any{"name": name, "value": "of " + name, "key_context": map[string]string{}}, &o)
		if status == http.StatusCreated {
			return o, time.Now()
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("create %s: status %d, %v", name, status, err)
		}
	}
}

// TestReplicas: what one replica acknowledged is what the other answers with, in the very next request. The
// log has how long that took.
func TestReplicas(t *testing.T) {
	t.Parallel()
	e := MustEstate(t)
	p, one := e.MustReplica(t, "one")
	q, two := e.MustReplica(t, "two")
	if _, err := os.Stat(filepath.Join(e.data("two"), "root-api-key")); err == nil {
		t.Error("the second replica made an API key")
	}
	var created, deleted []time.Duration
	for i := range 20 {
		from, to := one, two
		if i%2 == 1 {
			from, to = two, one
		}
		name := fmt.Sprint("object-", i)
		made, at := from.write(t, name)
		var got storedObject
		if status, err := to.Read("/vault/v1/kv/name/"+name, &got); status != http.StatusOK || got.Value != "of "+name {
			t.Fatalf("%s, created at the other replica: status %d, %v", name, status, err)
		}
		created = append(created, time.Since(at))
		for deadline := time.Now().Add(30 * time.Second); ; {
			status, err := from.Call(http.MethodDelete, "/vault/v1/kv/"+made.ID, nil, nil, &struct{}{})
			if status == http.StatusOK {
				break
			}
			if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
				t.Fatalf("delete: status %d, %v", status, err)
			}
		}
		at = time.Now()
		if status, err := to.Read("/vault/v1/kv/name/"+name, &got); status != http.StatusNotFound {
			t.Fatalf("%s, deleted at the other replica: status %d, %v", name, status, err)
		}
		deleted = append(deleted, time.Since(at))
	}
	for what, times := range map[string][]time.Duration{"create": created, "delete": deleted} {
		slices.Sort(times)
		t.Logf("a %s is effective at the other replica after %v (median) and %v (slowest of %d)", what, times[len(times)/2], times[len(times)-1], len(times))
	}
	p.MustStop(t)
	q.MustStop(t)
}

// TestReplicasRefused lists starts that must not happen. TestReplicas is the twin.
func TestReplicasRefused(t *testing.T) {
	t.Parallel()
	e := MustEstate(t)
	_, _ = e.MustReplica(t, "two")
	if out, err := exec.Command("cp", "-r", e.data("two"), e.data("copy")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	stranger, ca := etcdtest.NewCA(t), e.ca.File
	foreign := stranger.Issue(t, "stranger")
	members := strings.Join(e.cluster.Endpoints(), ", ")
	for _, tc := range []struct {
		what, verb string
		settings   []string
		want       string
	}{
		{"a store that is there", "init", []string{"data_dir=" + e.data("new")}, "error: there is a store under /culvert at " + members + " already\n"},
		{"a mistyped prefix", "server", []string{"data_dir=" + e.data("new"), "etcd.prefix=/culvret"}, "error: there is no store under /culvret at " + members + "\n"},
		{"a directory in use", "server", []string{"data_dir=" + e.data("two")}, "error: another culvert process is using the data directory"},
		{"a copy of one", "server", []string{"data_dir=" + e.data("copy")}, "another process runs under the same node id\nhint: each process needs a data directory of its own"},
		{"no certificate", "server", []string{"data_dir=" + e.data("new"), "etcd.cert_file=", "etcd.key_file="}, "error: etcd cannot be used: " + e.cluster.Endpoints()[0] + ": remote error: tls: certificate required\nhint: look at etcd.ca_file"},
		{"another CA's", "server", []string{"data_dir=" + e.data("new"), "etcd.cert_file=" + foreign.CertFile, "etcd.key_file=" + foreign.KeyFile}, "remote error: tls: "},
		{"a cluster of another CA", "server", []string{"data_dir=" + e.data("new"), "etcd.ca_file=" + stranger.File}, "certificate signed by unknown authority"},
		{"no CA", "server", []string{"data_dir=" + e.data("new"), "etcd.ca_file=" + ca + ".key"}, "error: etcd.ca_file: "},
	} {
		began := time.Now()
		args := []string{tc.verb, "--config", e.file, "--set", "addr=127.0.0.1:0"}
		for _, setting := range tc.settings {
			args = append(args, "--set", setting)
		}
		out := mustFail(t, 1, args...)
		if !strings.Contains(out, tc.want) {
			t.Errorf("%s: got\n%s\nwant in it\n%s", tc.what, out, tc.want)
		}
		t.Logf("%s is refused after %v:\n%s", tc.what, time.Since(began), out)
	}
	if _, err := os.Stat(filepath.Join(e.data("new"), "root-api-key")); err == nil {
		t.Error("a refused start made an API key")
	}
}

// TestMembersLost takes members of etcd away from two replicas. No request hangs, and with two members left
// both replicas go on by themselves.
func TestMembersLost(t *testing.T) {
	t.Parallel()
	e := MustEstate(t)
	p, one := e.MustReplica(t, "one")
	q, two := e.MustReplica(t, "two")
	known, _ := one.write(t, "known")
	for _, tc := range []struct {
		name        string
		fault, undo func(*etcdtest.Member)
	}{
		{"stopped", (*etcdtest.Member).Pause, (*etcdtest.Member).Continue},
		{"killed", (*etcdtest.Member).Kill, func(m *etcdtest.Member) { m.MustStart(t) }},
	} {
		victim := e.cluster.MustLeader(t)
		tc.fault(victim)
		since := time.Now()
		slowest, failed := time.Duration(0), 0
		for round, good := 0, 0; good < 5; round++ {
			if time.Since(since) > 2*time.Minute {
				t.Fatalf("the leader %s: no recovery", tc.name)
			}
			good++
			for i, api := range []*API{one, two} {
				began := time.Now()
				status, err := api.Call(http.MethodPost, "/vault/v1/kv", nil,
					map[string]any{"name": fmt.Sprint(tc.name, round, i), "value": "x", "key_context": map[string]string{}}, &storedObject{})
				wrote := time.Now()
				read, readErr := api.Call(http.MethodGet, "/vault/v1/kv/"+known.ID, nil, nil, &storedObject{})
				slowest = max(slowest, wrote.Sub(began), time.Since(wrote))
				if err != nil || readErr != nil {
					t.Fatalf("the leader %s: %v, %v", tc.name, err, readErr)
				}
				if status != http.StatusCreated || read != http.StatusOK {
					good, failed = 0, failed+1
				}
				for _, got := range []int{status, read} {
					if got != http.StatusCreated && got != http.StatusOK && got != http.StatusServiceUnavailable {
						t.Errorf("the leader %s: status %d", tc.name, got)
					}
				}
			}
		}
		t.Logf("the leader %s: both replicas go on after %v; %d rounds failed, the slowest call took %v", tc.name, time.Since(since), failed, slowest)
		// Five seconds, and some for a busy machine.
		if slowest > 8*time.Second {
			t.Errorf("the leader %s: a call took %v", tc.name, slowest)
		}
		tc.undo(victim)
	}
	p.MustStop(t)
	q.MustStop(t)
}

// TestInitAtOnce: of several that make a store at one place, one does, and its API key is the store's.
func TestInitAtOnce(t *testing.T) {
	t.Parallel()
	dir, endpoint := t.TempDir(), etcdtest.Listening(t)
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	file := MustWrite(t, fmt.Sprintf("addr: %s\npublic_url: http://%s\nroot_key: {path: %s}\netcd: {endpoints: [%s]}\n",
		addrs[0], addrs[0], filepath.Join(dir, "root.key"), endpoint))
	data := func(i int) string { return filepath.Join(dir, fmt.Sprint("data-", i)) }
	var all sync.WaitGroup
	var out [4]string
	for i := range out {
		all.Go(func() {
			text, err := exec.Command("culvert", "init", "--config", file, "--set", "data_dir="+data(i)).CombinedOutput()
			if err == nil {
				text = nil
			}
			out[i] = string(text)
		})
	}
	all.Wait()
	winner := -1
	for i, text := range out {
		_, err := os.Stat(filepath.Join(data(i), "root-api-key"))
		switch {
		case text == "" && winner < 0 && err == nil:
			winner = i
		case !strings.HasPrefix(text, "error: there is a store under /culvert at "+endpoint+" already\n") || err == nil:
			t.Errorf("init %d: %v, %s", i, err, text)
		}
	}
	if winner < 0 {
		t.Fatal("nobody made the store")
	}
	p := mustStart(t, "server", "--config", file, "--set", "data_dir="+data(winner))
	p.Base = "http://" + addrs[0]
	p.mustBeReady(t, nil)
	if status, err := MustAPI(t, p.Base, data(winner)).Read("/vault/v1/kv", &struct{}{}); status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	p.MustStop(t)
}
