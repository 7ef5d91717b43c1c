//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	callers = 48
	// vendsPerSecond is what all callers do together, on average.
	vendsPerSecond = 100
	// recovery is how long a grant may be without a living token after its last disturbance: another process
	// takes the lock for lost, and then waits for as long as a request may be on its way.
	recovery = 3 * time.Minute
)

// traffic is who uses the program meanwhile.
type traffic struct {
	ledger   *ledger
	dice     *dice
	replicas []*replica
	work     sync.WaitGroup
}

// vended is as much of an answer as is looked at.
type vended struct {
	Active      bool   `json:"active"`
	Error       string `json:"error"`
	AccessToken struct {
		AccessToken string `json:"access_token"`
	} `json:"access_token"`
}

// begin lets callers and an administrator work until the context ends.
func (tr *traffic) begin(ctx context.Context) {
	const every = time.Second * callers / vendsPerSecond
	for range callers {
		tr.work.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(tr.dice.upTo(2 * every)):
				}
				tr.vend(tr.ledger.families[tr.dice.n(len(tr.ledger.families))])
			}
		})
	}
	tr.work.Go(func() { tr.rewrap(ctx) })
}

// vend asks any process for a token, and holds the answer against the truth.
func (tr *traffic) vend(f *family) {
	r := tr.replicas[tr.dice.n(len(tr.replicas))]
	floor, asked := tr.ledger.seen(f), time.Now()
	var v vended
	status, err := r.call(http.MethodPost, "/data-integrations/"+familySlug+"/token", map[string]any{"user_id": f.user}, &v)
	switch {
	case err != nil:
		tr.ledger.count("vends that met a dead or stopped process, or impatience")
	case status == http.StatusServiceUnavailable:
		tr.ledger.count("vends that were told to come back")
	case status != http.StatusOK:
		tr.ledger.fail(f, "replica %d answers a vend with %d", r.n, status)
	case !v.Active:
		tr.ledger.dead(f, r.n, v.Error)
	default:
		tr.ledger.vend(f, v.AccessToken.AccessToken, floor, asked)
	}
}

// rewrap seals every record again, over and over.
func (tr *traffic) rewrap(ctx context.Context) {
	for ctx.Err() == nil {
		for _, kind := range []string{"rotate", "rewrap"} {
			tr.job(ctx, kind)
		}
	}
}

func (tr *traffic) job(ctx context.Context, kind string) {
	var made struct {
		ID string `json:"id"`
	}
	for made.ID == "" && ctx.Err() == nil {
		r := tr.replicas[tr.dice.n(len(tr.replicas))]
		if status, err := r.call(http.MethodPost, "/culvert/v1/jobs", map[string]any{"kind": kind, "all": true}, &made); err == nil && status >= 400 && status < 500 {
			tr.ledger.fail(nil, "job %s: status %d", kind, status)
			return
		}
		time.Sleep(tr.dice.upTo(200 * time.Millisecond))
	}
	for ctx.Err() == nil {
		var j struct {
			State   string `json:"state"`
			EndedAt string `json:"ended_at"`
			Failed  int    `json:"failed"`
		}
		r := tr.replicas[tr.dice.n(len(tr.replicas))]
		if status, err := r.call(http.MethodGet, "/culvert/v1/jobs/"+made.ID, nil, &j); err == nil && status == http.StatusOK && j.EndedAt != "" {
			if j.State != "succeeded" || j.Failed != 0 {
				tr.ledger.fail(nil, "job %s %s ended as %+v", kind, made.ID, j)
			}
			tr.ledger.count("jobs " + kind)
			return
		}
		time.Sleep(tr.dice.between(100*time.Millisecond, 500*time.Millisecond))
	}
}

// mustAllWork requires a token of each account, and then the next one, which proves that the store has the
// refresh token that is good.
func (tr *traffic) mustAllWork(t *testing.T) {
	t.Helper()
	var work sync.WaitGroup
	turns := make(chan *family, len(tr.ledger.families))
	for _, f := range tr.ledger.families {
		turns <- f
	}
	close(turns)
	for range callers {
		work.Go(func() {
			for f := range turns {
				begins := tr.ledger.newest(f)
				for until := time.Now().Add(recovery); tr.ledger.seen(f) <= begins; time.Sleep(300 * time.Millisecond) {
					if tr.ledger.isDead(f) {
						break
					}
					if time.Now().After(until) {
						tr.ledger.fail(f, "no new token within %s of the last fault", recovery)
						break
					}
					tr.vend(f)
				}
			}
		})
	}
	work.Wait()
}

// mustNotHaveLost looks for what the program itself says.
func (tr *traffic) mustNotHaveLost(t *testing.T) {
	t.Helper()
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	status, err := tr.replicas[0].call(http.MethodGet, "/events?limit=100&events=pipes.connected_account.reauthorization_needed", nil, &page)
	if err != nil || status != http.StatusOK || len(page.Data) != 0 {
		t.Errorf("events of accounts that need reauthorization: status %d, %v: %d, want none", status, err, len(page.Data))
	}
	for _, r := range tr.replicas {
		res, err := r.http.Get(r.admin + "/metrics")
		if err != nil {
			t.Errorf("metrics of replica %d: %v", r.n, err)
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !strings.Contains(string(text), "\nculvert_refreshes_total{outcome=\"rotation_lost\"} 0\n") {
			t.Errorf("the metrics of replica %d do not say that no rotation was lost: %v", r.n, err)
		}
	}
}

// mustHoldNothingInClear looks for tokens in what a process left behind. Each file of each process has many
// times more bytes than there are tokens, so it looks for the newest ones.
func (r *replica) mustHoldNothingInClear(t *testing.T, secrets ...string) {
	t.Helper()
	secrets = append(secrets, r.ledger.newestTokens()...)
	names := 0
	lookAround(t, r.dir, r.output, func(where string, content []byte) {
		names += bytes.Count(content, nameMark)
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("a token stands in clear in %s", where)
			}
		}
	})
	if names == 0 {
		t.Errorf("no name was found under %s: the search finds nothing", r.dir)
	}
}
