//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// familySlug is the provider of the kill test.
const familySlug = "family"

// TestMain lets the test binary be a member of an etcd cluster, too.
func TestMain(m *testing.M) { etcdtest.Main(m) }

// killRun is one run of the kill test.
type killRun struct {
	lasts    time.Duration
	accounts int
	members  int
	// lenient is a provider with a grace period: replies may be lost, and processes killed at any time.
	lenient bool
	seed    uint64
}

// TestKillRefreshes: no grant is lost, whatever happens to requests, replies and processes, wherever the provider
// allows a retry. The doc of the package has how to run it for longer.
func TestKillRefreshes(t *testing.T) {
	run := killRun{lasts: 25 * time.Second, accounts: 60, members: 1, seed: rand.Uint64()}
	if text := os.Getenv("CULVERT_KILL_FOR"); text != "" {
		lasts, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("CULVERT_KILL_FOR: %v", err)
		}
		run.lasts, run.accounts, run.members = lasts, 200, 3
	}
	if text := os.Getenv("CULVERT_KILL_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CULVERT_KILL_SEED: %v", err)
		}
		run.seed = seed
	}
	bin := binary(t)
	install(t, "pipes")
	t.Run("grace", func(t *testing.T) {
		run := run
		run.lenient = true
		run.do(t, bin)
	})
	t.Run("no grace", func(t *testing.T) {
		run := run
		run.lasts = max(run.lasts/4, min(run.lasts, 15*time.Second))
		run.do(t, bin)
	})
}

func (k killRun) do(t *testing.T, bin string) {
	t.Logf("CULVERT_KILL_SEED=%d, %d accounts for %s", k.seed, k.accounts, k.lasts)
	s := k.set(t, bin)
	s.ledger.phase(t, "all has started")
	within, end := context.WithTimeout(t.Context(), k.lasts)
	defer end()
	s.traffic.begin(within)
	s.chaos.run(within)
	s.traffic.work.Wait()
	for _, r := range s.chaos.replicas {
		r.undoing.Wait()
	}
	s.chaos.proxy.quiet()
	s.ledger.phase(t, "the faults have ended")
	s.traffic.mustAllWork(t)
	s.ledger.phase(t, "every account works")
	s.traffic.mustNotHaveLost(t)
	for _, n := range s.provider.killed() {
		s.ledger.fail(s.ledger.families[n], "the provider has ended the grant")
	}
	s.ledger.report(t)
	for _, r := range s.chaos.replicas {
		r.stop(t)
		r.mustHoldNothingInClear(t, s.secret)
	}
}

// scene is everything that a run needs.
type scene struct {
	ledger   *ledger
	chaos    *chaos
	traffic  *traffic
	provider *familyProvider
	etcd     *etcdtest.Writer
	// secret is the client's at the provider.
	secret string
}

func (k killRun) set(t *testing.T, bin string) *scene {
	t.Helper()
	d := newDice(k.seed)
	proxy := newFaultProxy(t, k.lenient, d)
	s := &scene{secret: fmt.Sprintf("e2e-plaintext-secret-%d", rand.Uint64())}
	s.provider = startFamily(t, k.accounts, proxy.base, s.secret)
	s.ledger = newLedger(s.provider.RefreshTokens)
	s.chaos = &chaos{
		ledger: s.ledger, proxy: proxy, dice: d, locked: map[string]int{},
		lenient: k.lenient, long: k.lenient && k.lasts > 3*time.Minute,
	}
	proxy.ledger, proxy.chaos, proxy.backend = s.ledger, s.chaos, fmt.Sprintf("http://127.0.0.1:%d", s.provider.Port)

	endpoints := etcdtest.NewClusterOf(t, k.members).Endpoints()
	s.etcd = etcdtest.NewWriter(t, "/culvert", endpoints...)
	root := filepath.Join(t.TempDir(), "root.key")
	for n := range 3 {
		r := newReplica(t, n, bin, s.ledger, "--set", "etcd.endpoints="+strings.Join(endpoints, ","), "--set", "root_key.path="+root)
		s.chaos.replicas = append(s.chaos.replicas, r)
		if n == 0 {
			s.ledger.apiKey = mustReadLine(t, filepath.Join(r.dir, "root-api-key"))
		}
	}
	go s.etcd.Watch(t.Context(), s.chaos.wrote)
	mustImport(t, s.chaos.replicas[0], s.provider.RefreshTokens, proxy.base, s.secret)
	s.traffic = &traffic{ledger: s.ledger, dice: d, replicas: s.chaos.replicas}
	return s
}

// mustImport makes the integration and one account for each refresh token, with an access token that has
// ended.
func mustImport(t *testing.T, r *replica, refreshTokens []string, origin, secret string) {
	t.Helper()
	status, err := r.call(http.MethodPost, "/data-integrations", map[string]any{
		"provider": familySlug, "enabled": true,
		"credentials": map[string]any{"type": "custom", "client_id": familySlug, "client_secret": secret},
		"custom_provider": map[string]any{
			"name": "Family", "authorization_url": origin + "/auth", "token_url": origin + "/token",
		},
	}, nil)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("integration: status %d, %v", status, err)
	}
	for n, token := range refreshTokens {
		path := fmt.Sprintf("/user_management/users/%s/connected_accounts/%s", r.ledger.families[n].user, familySlug)
		status, err := r.call(http.MethodPost, path, map[string]any{
			"access_token": fmt.Sprint("e2e-plaintext-ended-", n), "refresh_token": token,
			"expires_at": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339),
		}, nil)
		if err != nil || status != http.StatusCreated {
			t.Fatalf("account %d: status %d, %v", n, status, err)
		}
		for until := time.Now().Add(startTimeout); r.ledger.known() <= n; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("the grant of account %d was not seen in etcd", n)
			}
		}
	}
}

// familyProvider is a running pipes/family.mjs.
type familyProvider struct {
	Port          int      `json:"port"`
	RefreshTokens []string `json:"refresh_tokens"`
	output        *transcript
}

func startFamily(t *testing.T, accounts int, issuer, secret string) *familyProvider {
	t.Helper()
	p := &familyProvider{output: &transcript{}}
	line, more := startNode(t, nil, "family.mjs", strconv.Itoa(accounts), "5", issuer, familySlug, secret)
	if err := json.Unmarshal([]byte(line), p); err != nil {
		t.Fatalf("family.mjs: %v in %q", err, line)
	}
	go func() { _, _ = io.Copy(p.output, more) }()
	return p
}

// killed are the grants that it has ended.
func (p *familyProvider) killed() (grants []int) {
	for _, text := range strings.Fields(p.output.String()) {
		if n, err := strconv.Atoi(text); err == nil {
			grants = append(grants, n)
		}
	}
	return grants
}
