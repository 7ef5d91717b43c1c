package main_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/audit"
)

// readEvent is what this test looks at of an event of a read.
type readEvent struct {
	ID   string `json:"id"`
	Data struct {
		Name   string `json:"kv_name"`
		ReadAt string `json:"read_at"`
	} `json:"data"`
}

// mustEvents follows the log of events of a type from its beginning.
func (a *API) mustEvents(t *testing.T, kind string) []readEvent {
	t.Helper()
	var all []readEvent
	for after := ""; ; {
		var page struct {
			Data []readEvent `json:"data"`
		}
		path := "/events?limit=100&events=" + kind
		if after != "" {
			path += "&after=" + after
		}
		if status, err := a.Read(path, &page); status != http.StatusOK {
			t.Fatalf("events: status %d, %v", status, err)
		}
		if len(page.Data) == 0 {
			return all
		}
		all = append(all, page.Data...)
		after = all[len(all)-1].ID
	}
}

// TestKilledReads kills the server while objects are read, with events of reads switched on: in the end each read in
// the audit log is one event, and what was read before it was switched on is none.
func TestKilledReads(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p := MustStartDev(t, dir, addrs[0])
	api := MustAPI(t, p.Base, dir)
	var objects []storedObject
	for i := range 4 {
		o, _ := api.write(t, fmt.Sprint("object-", i))
		objects = append(objects, o)
		if status, err := api.Read("/vault/v1/kv/"+o.ID, &storedObject{}); status != http.StatusOK {
			t.Fatalf("read: status %d, %v", status, err)
		}
	}
	if all := api.mustEvents(t, "vault.data.read"); len(all) > 0 {
		t.Errorf("%d events of reads, and they are off", len(all))
	}
	p.MustStop(t)
	for range 3 {
		p = MustStartDev(t, dir, addrs[0], "--set", "events.reads=true")
		var running sync.WaitGroup
		var acknowledged atomic.Int64
		for _, o := range objects {
			running.Go(func() {
				for {
					status, err := api.Call(http.MethodGet, "/vault/v1/kv/"+o.ID, nil, nil, &storedObject{})
					if err != nil {
						return
					}
					if status == http.StatusOK {
						acknowledged.Add(1)
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		// Long enough for some to be events, and some not yet.
		for began := time.Now(); acknowledged.Load() < 100 || time.Since(began) < 1500*time.Millisecond; {
			if t.Context().Err() != nil {
				t.Fatal("no reads get through")
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.Kill()
		running.Wait()
		api.http.CloseIdleConnections()
	}
	p = MustStartDev(t, dir, addrs[0], "--set", "events.reads=true")
	var want []string
	if err := audit.Read(filepath.Join(dir, "audit"), 0, func(r audit.Record, _ []byte) error {
		if r.Action == "vault.data.read" && r.Result == audit.Allowed {
			want = append(want, r.Time.Format("2006-01-02T15:04:05.000Z")+" "+r.ObjectName)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want = want[len(objects):]
	var got []string
	for deadline := time.Now().Add(time.Minute); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got = nil
		for _, e := range api.mustEvents(t, "vault.data.read") {
			got = append(got, e.Data.ReadAt+" "+e.Data.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events of reads, and %d in the audit log; or they are others", len(got), len(want))
	}
	t.Logf("%d reads", len(got))
	p.MustStop(t)
}
