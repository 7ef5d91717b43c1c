package main_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/reads"
	"culvert/internal/record"
	"culvert/keys"
	"culvert/keys/localkms"
)

// history writes events of an hour ago into the store of a pair, as a replica would have that ran then.
type history struct {
	store *etcd.Store
	place reads.Place
	// revision is that of the place.
	revision int64
	names    []string
	writer   *etcdtest.Writer
}

func mustHistory(t *testing.T, p *Pair) *history {
	t.Helper()
	client := etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{p.endpoint}, Prefix: "/culvert"})
	codec, err := record.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	root, err := localkms.Open(p.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	environments, err := client.Environments(t.Context(), codec, func(r keys.EnvironmentRecord) (*keys.Environment, error) {
		return keys.OpenEnvironment(t.Context(), keys.NewRootKeys(root), r)
	})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etcd.NewStore(t.Context(), etcd.StoreConfig{
		Client: client, Environments: environments, Codec: codec, IDs: id.NewClock(time.Now), Node: "node-" + id.ULID(time.Now()),
		Logger: slog.New(slog.DiscardHandler), EventBytes: 1 << 40, // it moves nothing itself
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return &history{
		store: store, place: reads.Place{Environment: environments.IDs()[0], Node: "of-an-hour-ago"},
		writer: etcdtest.NewWriter(t, "/culvert", p.endpoint),
	}
}

// mustWrite writes n events, a hundred in a transaction, and waits for the end of their epoch: before that they stay.
func (h *history) mustWrite(t *testing.T, n int) {
	t.Helper()
	defer func() {
		t.Helper()
		key := "epoch/" + string(h.place.Environment)
		last := h.writer.MustAll(t)[key]
		for deadline := time.Now().Add(time.Minute); bytes.Equal(h.writer.MustAll(t)[key], last); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the epoch does not end")
			}
		}
	}()
	for range n / 100 {
		var batch []events.Event
		for range 100 {
			name := fmt.Sprint("event-", len(h.names))
			h.names = append(h.names, name)
			batch = append(batch, events.Event{
				Type: events.DataRead, At: time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond), Node: h.place.Node,
				Data: fmt.Appendf(nil, `{"kv_name":%q,"padding":%q}`, name, strings.Repeat("x", 300)),
			})
		}
		var err error
		if h.revision, err = h.store.TellReads(t.Context(), h.place, h.revision, batch); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledMove kills the server while it moves older events to a file, at several steps of it: afterwards GET /events
// shows each event once, in order.
func TestKilledMove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := MustPair(t, "--set", "events.dir="+dir, "--set", "events.store_bytes=1048576")
	one := p.sides[0]
	h := mustHistory(t, p)
	files := filepath.Join(dir, string(h.place.Environment))
	one.process.MustStop(t)
	for round, sign := range []string{"new-", ".events"} {
		h.mustWrite(t, 2500)
		before := names(files)
		process := mustStart(t, append([]string{"dev", "--addr", one.addr, "--data-dir", one.dir}, one.flags...)...)
		for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(names(files), func(name string) bool {
			return strings.Contains(name, sign) && !slices.Contains(before, name)
		}); time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing moves in round %d\n%s", round, process.logs)
			}
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond * time.Duration(round))
		process.Kill()
		t.Logf("round %d: %v", round, names(files))
	}
	one.mustStart(t)
	for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(slices.Collect(maps.Keys(h.writer.MustAll(t))), func(key string) bool {
		return strings.HasPrefix(key, "segment/")
	}); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing moves in the end")
		}
	}
	var got []string
	for _, e := range one.api.mustEvents(t, "vault.data.read") {
		got = append(got, e.Data.Name)
	}
	if !slices.Equal(got, h.names) {
		t.Errorf("%d events, want %d in their order", len(got), len(h.names))
	}
}

// names are those of the files in a directory; none if there is no such directory.
func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return all
}
