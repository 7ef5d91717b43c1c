package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// Every fifth object is doomed. Those share contexts by five, the others have a few.
	jobObjects = 1500
	doomed     = jobObjects / 5
	doomedKEKs = doomed / 5
	keptKEKs   = 6
	// jobRate makes a job last long enough to be killed in the middle, on a slow machine too.
	jobRate = 100
)

// TestJobsOutliveTheirProcess kills the process that runs a rewrap and a shred, under clients that go on.
// The other one goes on with both, is killed too, starts again and ends them; then one is stopped in the
// middle of a rewrap, for so long that the other takes it over, and goes on beside it. What comes of it is
// what comes of running each once, and nothing fails but what the killed processes were about to answer.
func TestJobsOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	pair := MustPair(t)
	one, two := pair.sides[0], pair.sides[1]
	objects := mustFillForJobs(t, one.api)
	mustEndJob(t, one.api, mustJob(t, one.api, map[string]any{"kind": "rotate", "all": true}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("of jobs the processes said\n%s\n%s", one.jobLog(), two.jobLog())
		}
	})
	traffic := &Traffic{pair: pair}
	traffic.Begin(4, objects)

	// There is one process, so both jobs are its own.
	rewrap := mustJob(t, one.api, map[string]any{"kind": "rewrap", "all": true, "rate": jobRate})
	shred := mustJob(t, one.api, map[string]any{
		"kind": "shred", "context_name": "organization_id", "context_value": "doomed", "confirm": "organization_id=doomed", "rate": jobRate,
	})
	traffic.shredded.Store(true)
	patiently(t, "both jobs to begin", func() bool { return one.runs(rewrap) > 0 && one.runs(shred) > 0 })
	two.mustStart(t)
	mustGetTo(t, two.api, rewrap, 50+rand.IntN(300))
	one.kill()
	killed := time.Now()
	patiently(t, "the other process to take both jobs over", func() bool { return two.runs(rewrap) > 0 && two.runs(shred) > 0 })
	t.Logf("taken over after %v", time.Since(killed))
	one.mustStart(t)
	mustGetTo(t, two.api, rewrap, 500+rand.IntN(200))
	two.kill()
	two.mustStart(t)
	mustHaveRewrapped(t, one.api, rewrap)
	ended := mustEndJob(t, two.api, shred)
	if ended.State != "succeeded" || ended.Failed != 0 || ended.Unreadable != doomed || ended.Done != ended.Total || ended.Total != jobObjects+keptKEKs+doomedKEKs {
		t.Errorf("the shred ended as %+v", ended)
	}

	mustEndJob(t, one.api, mustJob(t, one.api, map[string]any{"kind": "rotate", "all": true}))
	rewrap = mustJob(t, one.api, map[string]any{"kind": "rewrap", "all": true, "rate": jobRate})
	mustGetTo(t, one.api, rewrap, 50+rand.IntN(300))
	owner, other := one, two
	if two.runs(rewrap) > 0 {
		owner, other = two, one
	}
	owner.mustPause(t)
	patiently(t, "the other process to take the rewrap over", func() bool { return other.runs(rewrap) > 0 })
	owner.mustContinue(t)
	// By a save that conflicts, or by an answer of etcd that was due while it stood still.
	patiently(t, "the first process to notice", func() bool {
		return owner.count("msg=\"job no longer runs here\" job="+rewrap)+owner.count("msg=\"job waits\" job="+rewrap) > 0
	})
	mustHaveRewrapped(t, other.api, rewrap)

	traffic.End(t)
	mustHaveOnce(t, one.api, "keys.job.ended", 5)
	mustHaveOnce(t, one.api, "vault.kek.deleted", doomedKEKs)
	mustOpenAll(t, pair, objects)
	owner.process.MustStop(t)
	other.process.MustStop(t)
}

// mustFillForJobs stores all objects through many connections at once.
func mustFillForJobs(t *testing.T, api *API) []*trafficObject {
	t.Helper()
	objects := make([]*trafficObject, jobObjects)
	var work sync.WaitGroup
	for c := range 16 {
		work.Go(func() {
			for i := c; i < jobObjects; i += 16 {
				o := &trafficObject{doomed: i%5 == 0}
				keyContext := map[string]string{"organization_id": fmt.Sprint("org_", i%keptKEKs)}
				if o.doomed {
					keyContext = map[string]string{"organization_id": "doomed", "n": fmt.Sprint(i / 5 % doomedKEKs)}
				}
				o.id = api.create(t, fmt.Sprint("object-", i), "made", keyContext)
				objects[i] = o
			}
		})
	}
	work.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return objects
}

// create has patience; it returns the id.
func (a *API) create(t *testing.T, name, value string, keyContext map[string]string) string {
	var o storedObject
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, err := a.Call(http.MethodPost, "/vault/v1/kv", map[string]string{"Idempotency-Key": name},
			map[string]any{"name": name, "value": value, "key_context": keyContext}, &o)
		if status == http.StatusCreated {
			return o.ID
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Errorf("create %s: status %d, %v", name, status, err)
			return ""
		}
	}
}

// storedJob is as much of a job as these tests look at.
type storedJob struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Total      int    `json:"total"`
	Done       int    `json:"done"`
	Changed    int    `json:"changed"`
	Failed     int    `json:"failed"`
	Unreadable int    `json:"unreadable"`
	EndedAt    string `json:"ended_at"`
}

// mustJob makes a job and returns its id.
func mustJob(t *testing.T, api *API, request map[string]any) string {
	t.Helper()
	var j storedJob
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, err := api.Call(http.MethodPost, "/culvert/v1/jobs", nil, request, &j)
		if status == http.StatusCreated {
			return j.ID
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("job %v: status %d, %v", request, status, err)
		}
	}
}

func mustReadJob(t *testing.T, api *API, id string) (j storedJob) {
	t.Helper()
	if status, err := api.Read("/culvert/v1/jobs/"+id, &j); status != http.StatusOK {
		t.Fatalf("job %s: status %d, %v", id, status, err)
	}
	return j
}

// patiently waits for what may take the time after which an owner is taken for dead, and more.
func patiently(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

func mustEndJob(t *testing.T, api *API, id string) (j storedJob) {
	t.Helper()
	patiently(t, "the end of job "+id, func() bool {
		j = mustReadJob(t, api, id)
		return j.EndedAt != ""
	})
	return j
}

// mustGetTo waits until a job has come as far and not to its end.
func mustGetTo(t *testing.T, api *API, id string, done int) {
	t.Helper()
	patiently(t, "progress", func() bool {
		j := mustReadJob(t, api, id)
		if j.EndedAt != "" {
			t.Fatalf("the job has ended before anything could happen to it: %+v", j)
		}
		return j.Done >= done
	})
}

// mustHaveRewrapped waits for the end of a rewrap of everything, which has left nothing stale.
func mustHaveRewrapped(t *testing.T, api *API, id string) {
	t.Helper()
	j := mustEndJob(t, api, id)
	if j.State != "succeeded" || j.Failed != 0 || j.Done != jobObjects || j.Total != jobObjects || j.Changed > jobObjects {
		t.Errorf("the rewrap ended as %+v", j)
	}
	var page struct {
		Data []struct {
			ID      string `json:"id"`
			State   string `json:"state"`
			Records *int   `json:"records"`
			Stale   *int   `json:"stale_records"`
		} `json:"data"`
	}
	patiently(t, "KEKs with their records", func() bool {
		page.Data = nil
		if status, err := api.Read("/culvert/v1/keks?limit=100", &page); status != http.StatusOK {
			t.Fatalf("KEKs: status %d, %v", status, err)
		}
		return len(page.Data) == keptKEKs+doomedKEKs && page.Data[0].Records != nil
	})
	for _, k := range page.Data {
		if k.State == "active" && (k.Stale == nil || *k.Stale != 0) {
			t.Errorf("KEK %s is %+v after a rewrap", k.ID, k)
		}
	}
}

// mustHaveOnce counts the events of a type.
func mustHaveOnce(t *testing.T, api *API, kind string, want int) {
	t.Helper()
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if status, err := api.Read("/events?limit=100&events="+kind, &page); status != http.StatusOK || len(page.Data) != want {
		t.Errorf("events %s: status %d, %v: %d, want %d", kind, status, err, len(page.Data), want)
	}
}

// mustOpenAll compares everything with what its writers know, on both sides.
func mustOpenAll(t *testing.T, pair *Pair, objects []*trafficObject) {
	t.Helper()
	var work sync.WaitGroup
	for c := range 16 {
		work.Go(func() {
			api := pair.sides[c%2].api
			for i := c / 2; i < len(objects); i += 8 {
				o, got := objects[i], storedObject{}
				status, err := api.Read("/vault/v1/kv/"+o.id, &got)
				if o.doomed && status != http.StatusForbidden || !o.doomed && (status != http.StatusOK || !o.mayBe(got.Value)) {
					t.Errorf("%s, doomed: %v: status %d, %v, %q", o.id, o.doomed, status, err, got.Value)
				}
			}
		})
	}
	work.Wait()
}
