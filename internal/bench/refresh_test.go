package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// dueAccounts is how many tokens have ended at once.
	dueAccounts = 10_000
	// waiters ask for them, each for one at a time.
	waiters = 32
	// importers fill the store.
	importers = 64
)

// BenchmarkRefresh measures vends of living tokens before, while thousands of others have ended at once and are asked
// for, and while as many are due that nobody asks for: the ratio to bare gin, on the same machine and meanwhile, is what
// must not suffer, and of-before is what is left of it. CULVERT_BENCH_DUE is another number of accounts.
func BenchmarkRefresh(b *testing.B) {
	due := dueAccounts
	if text := os.Getenv("CULVERT_BENCH_DUE"); text != "" {
		var err error
		if due, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	s := mustServers(b)
	p := startRotating(b)
	// Without the caretaker, who would look at what is due while it is imported.
	s.restart("--set", "pipes.background_refresh=false")
	s.mustEnd(b, p.URL, "due", due)
	s.mustEnd(b, p.URL, "cared", due)
	var before float64
	b.Run("before", func(b *testing.B) {
		for b.Loop() {
			before = s.measure(b, http.StatusOK, s.token)
		}
	})
	b.Run("while-due", func(b *testing.B) {
		s.mustEnable(b, "due")
		waiting, stop := make(chan float64, 1), make(chan struct{})
		go func() { waiting <- s.refreshAll(due, stop) }()
		s.measureWhile(b, p, due, before)
		close(stop)
		<-waiting
	})
	b.Run("while-cared", func(b *testing.B) {
		s.mustEnable(b, "cared")
		s.restart()
		s.measureWhile(b, p, due, before)
	})
	if used := p.reused.Load(); used > 0 {
		b.Errorf("%d refresh tokens were sent twice", used)
	}
}

// measureWhile measures vends while so many tokens are refreshed, and tells if they were sooner done.
func (s *bench) measureWhile(b *testing.B, p *rotating, due int, before float64) {
	b.Helper()
	began, first := time.Now(), p.refreshes.Load()
	for b.Loop() {
		ratio := s.measure(b, http.StatusOK, s.token)
		n := p.refreshes.Load() - first
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "refreshes/s")
		if before > 0 {
			b.ReportMetric(ratio/before, "of-before")
		}
		if n >= int64(due) {
			b.Logf("all %d were refreshed before the measurement had ended: CULVERT_BENCH_DUE takes more", due)
		}
		if n == 0 {
			b.Error("nothing was refreshed")
		}
	}
}

func (s *bench) mustEnable(b *testing.B, slug string) {
	b.Helper()
	mustCall(b, "PUT", "http://"+s.culvert.addr+"/data-integrations/"+slug, s.key, `{"enabled":true}`)
}

// rotating is a provider that does as little as it can.
type rotating struct {
	*httptest.Server
	refreshes, reused atomic.Int64
	used              sync.Map
}

func startRotating(b *testing.B) *rotating {
	b.Helper()
	p := &rotating{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		form, parseErr := url.ParseQuery(string(body))
		if err != nil || parseErr != nil {
			return
		}
		if _, twice := p.used.LoadOrStore(form.Get("refresh_token"), true); twice {
			p.reused.Add(1)
		}
		n := p.refreshes.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"access-%d","refresh_token":"refreshed-%d","token_type":"bearer","expires_in":36000}`, n, n)
	}))
	b.Cleanup(p.Close)
	return p
}

// mustEnd imports accounts whose tokens have ended, at an integration that nobody may use yet.
func (s *bench) mustEnd(b *testing.B, provider, slug string, accounts int) {
	b.Helper()
	base := "http://" + s.culvert.addr
	mustCall(b, "POST", base+"/data-integrations", s.key, fmt.Sprintf(
		`{"provider":%[2]q,"enabled":false,"credentials":{"type":"custom","client_id":"id","client_secret":"secret-of-the-benchmark"},
		"custom_provider":{"name":"Due","authorization_url":"%[1]s/authorize","token_url":"%[1]s/token"}}`, provider, slug))
	var work sync.WaitGroup
	var next atomic.Int64
	for range importers {
		work.Go(func() {
			for n := int(next.Add(1)) - 1; n < accounts && !b.Failed(); n = int(next.Add(1)) - 1 {
				status, err := s.post("/user_management/users/"+dueUser(n)+"/connected_accounts/"+slug, fmt.Sprintf(
					`{"access_token":"ended-%[1]d","refresh_token":"refresh-%[2]s-%[1]d","expires_at":"2026-01-01T00:00:00Z"}`, n, slug), "")
				if err != nil || status != http.StatusCreated {
					b.Errorf("account %d: status %d, %v", n, status, err)
				}
			}
		})
	}
	work.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func dueUser(n int) string { return fmt.Sprintf("due_%06d", n) }

// refreshAll asks for every token until it is there, and returns after how many seconds all were.
func (s *bench) refreshAll(accounts int, stop <-chan struct{}) float64 {
	began := time.Now()
	left := make(chan int, accounts)
	for n := range accounts {
		left <- n
	}
	var work sync.WaitGroup
	var done atomic.Int64
	for range waiters {
		work.Go(func() {
			for done.Load() < int64(accounts) {
				select {
				case <-stop:
					return
				case n := <-left:
					_, err := s.post("/data-integrations/due/token", `{"user_id":"`+dueUser(n)+`"}`, `"active":true`)
					if err != nil {
						left <- n // come back later
						continue
					}
					done.Add(1)
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	work.Wait()
	return time.Since(began).Seconds()
}

// post sends a request whose answer must have this in it.
func (s *bench) post(path, body, want string) (status int, err error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.culvert.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.crowd.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(answer), want) {
		err = fmt.Errorf("status %d without %s", resp.StatusCode, want)
	}
	return resp.StatusCode, err
}
