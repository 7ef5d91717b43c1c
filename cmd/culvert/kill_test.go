package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	killRounds  = 20
	killWriters = 64
	// versionsKept is the default of vault.versions_kept: no object gets more writes than that, so that
	// every acknowledged version has to be there in the end, and none can hide behind pruning.
	versionsKept = 10
)

// TestKill kills the server with SIGKILL under 64 writers, 20 times. What it answered 201 for is noted
// outside of it; in the end every noted version is there, and every object opens to what was written.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p := MustStartDev(t, dir, addrs[0])
	api := MustAPI(t, p.Base, dir)
	var count atomic.Int64
	writers := make([]*killWriter, killWriters)
	for i := range writers {
		writers[i] = &killWriter{api: api, id: i, count: &count}
	}
	for round := range killRounds {
		if round > 0 {
			p = MustStartDev(t, dir, addrs[0])
		}
		var running sync.WaitGroup
		for _, w := range writers {
			running.Go(w.run)
		}
		// At any moment, but not before there is something to lose.
		for before := count.Load(); count.Load() < before+killWriters; {
			if t.Context().Err() != nil {
				t.Fatal("no writes get through")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		p.Kill()
		running.Wait()
		api.http.CloseIdleConnections()
	}
	p = MustStartDev(t, dir, addrs[0])
	acknowledged, objects := 0, map[string]bool{}
	for _, w := range writers {
		for _, problem := range w.problems {
			t.Errorf("writer %d: %s", w.id, problem)
		}
		for _, o := range w.objects {
			if o.id != "" {
				o.verify(t, api)
				objects[o.id] = true
			}
			acknowledged += len(o.acknowledged)
		}
	}
	mustListAll(t, api, objects)
	p.MustStop(t)
	t.Logf("%d versions of %d objects acknowledged", acknowledged, len(objects))
}

// killWriter is one client. It knows what it sent and what was acknowledged; the server's death in
// between leaves it in doubt, as it would a real one.
type killWriter struct {
	api *API
	id  int
	// count is that of all writers' acknowledgements.
	count   *atomic.Int64
	objects []*killObject
	// problems are answers that no crash explains.
	problems []string
}

// killObject is what a writer knows of one object.
type killObject struct {
	name string
	// id is empty until the create was acknowledged.
	id string
	// attempts counts the writes that were sent; the n-th one carries the value name#n.
	attempts int
	// acknowledged maps version ids to the attempt that got them, last is the latest of these attempts.
	acknowledged map[string]int
	last         int
}

func (o *killObject) value(attempt int) string { return fmt.Sprintf("%s#%d", o.name, attempt) }

// run writes until the connection breaks.
func (w *killWriter) run() {
	for {
		var o *killObject
		if n := len(w.objects); n > 0 && (w.objects[n-1].id == "" || w.objects[n-1].attempts < versionsKept) {
			o = w.objects[n-1]
		} else {
			o = &killObject{name: fmt.Sprintf("w%d-%d", w.id, n), acknowledged: map[string]int{}}
			w.objects = append(w.objects, o)
		}
		write := w.update
		if o.id == "" {
			write = w.create
		}
		if !write(o) {
			return
		}
	}
}

// create may be the repetition of one whose answer was lost: the same key and body get the answer of
// the first, whether it had been committed or not.
func (w *killWriter) create(o *killObject) bool {
	var out struct {
		ID        string `json:"id"`
		VersionID string `json:"version_id"`
	}
	o.attempts = 1
	status, err := w.api.Call(http.MethodPost, "/vault/v1/kv", map[string]string{"Idempotency-Key": "create-" + o.name}, map[string]any{
		"name": o.name, "value": o.value(1), "key_context": map[string]string{"organization_id": fmt.Sprint("org_", w.id%8)},
	}, &out)
	if err != nil {
		return false
	}
	if status != http.StatusCreated {
		return w.refused("create", o, status)
	}
	w.count.Add(1)
	o.id, o.last, o.acknowledged[out.VersionID] = out.ID, 1, 1
	return true
}

func (w *killWriter) update(o *killObject) bool {
	var out struct {
		Metadata struct {
			VersionID string `json:"version_id"`
		} `json:"metadata"`
	}
	o.attempts++
	status, err := w.api.Call(http.MethodPut, "/vault/v1/kv/"+o.id, nil, map[string]any{"value": o.value(o.attempts)}, &out)
	if err != nil {
		return false
	}
	if status != http.StatusCreated {
		return w.refused("update", o, status)
	}
	w.count.Add(1)
	o.last, o.acknowledged[out.Metadata.VersionID] = o.attempts, o.attempts
	return true
}

// refused tells whether to go on after an answer that acknowledges nothing. A disk that stalls for
// seconds makes a 503; anything else is a fault.
func (w *killWriter) refused(what string, o *killObject, status int) bool {
	if status == http.StatusServiceUnavailable {
		return true
	}
	w.problems = append(w.problems, fmt.Sprintf("%s %d of %s: status %d", what, o.attempts, o.name, status))
	return false
}

// verify compares an object with what its writer knows.
func (o *killObject) verify(t *testing.T, api *API) {
	t.Helper()
	var versions struct {
		Data []struct {
			ID      string `json:"id"`
			Current bool   `json:"current_version"`
		} `json:"data"`
	}
	if status, err := api.Read("/vault/v1/kv/"+o.id+"/versions", &versions); status != http.StatusOK {
		t.Errorf("versions of %s: status %d, %v", o.name, status, err)
		return
	}
	found, current := map[string]bool{}, ""
	for _, v := range versions.Data {
		found[v.ID] = true
		if v.Current {
			current += v.ID
		}
	}
	for version, attempt := range o.acknowledged {
		if !found[version] {
			t.Errorf("write %d of %s was acknowledged as version %s and is gone", attempt, o.name, version)
		}
	}
	if len(versions.Data) > o.attempts {
		t.Errorf("%s has %d versions after %d writes", o.name, len(versions.Data), o.attempts)
	}
	var object struct {
		Value    string `json:"value"`
		Metadata struct {
			VersionID string `json:"version_id"`
		} `json:"metadata"`
	}
	if status, err := api.Read("/vault/v1/kv/"+o.id, &object); status != http.StatusOK {
		t.Errorf("%s does not open: status %d, %v", o.name, status, err)
		return
	}
	if object.Metadata.VersionID != current {
		t.Errorf("%s: version %s was read, and %q is current", o.name, object.Metadata.VersionID, current)
	}
	// The current version is the last acknowledged one, or a later one whose answer was lost.
	attempt, acknowledged := o.acknowledged[current]
	if !acknowledged {
		if _, err := fmt.Sscanf(object.Value, o.name+"#%d", &attempt); err != nil {
			t.Errorf("%s opens to something that was never written", o.name)
		}
	}
	if attempt < o.last || attempt > o.attempts || object.Value != o.value(attempt) {
		t.Errorf("%s opens to write %d; write %d of %d was acknowledged", o.name, attempt, o.last, o.attempts)
	}
}

// mustListAll walks the list of names and checks that every object is in it once.
func mustListAll(t *testing.T, api *API, want map[string]bool) {
	t.Helper()
	seen := map[string]bool{}
	for after := ""; ; {
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			Metadata struct {
				After *string `json:"after"`
			} `json:"list_metadata"`
		}
		path := "/vault/v1/kv?limit=100"
		if after != "" {
			path += "&after=" + after
		}
		if status, err := api.Read(path, &page); status != http.StatusOK {
			t.Fatalf("list: status %d, %v", status, err)
		}
		for _, o := range page.Data {
			if seen[o.ID] {
				t.Errorf("object %s is listed twice", o.ID)
			}
			seen[o.ID] = true
		}
		if page.Metadata.After == nil {
			break
		}
		after = *page.Metadata.After
	}
	for id := range want {
		if !seen[id] {
			t.Errorf("object %s is not listed", id)
		}
	}
}
