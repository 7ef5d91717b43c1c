package history_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// recorder lets clients work and keeps the history of what they asked and were told.
type recorder struct {
	// doors are the processes; each operation goes through one of them by chance.
	doors []*api
	// prefix begins every name of this history and of no other.
	prefix string
	began  time.Time

	mu sync.Mutex
	// history, seen and counts are guarded by mu. seen is what was last told of a name, by anybody.
	history []porcupine.Operation
	seen    map[string]told
	counts  map[string]int
}

const (
	clients = 16
	names   = 6
)

func newRecorder(prefix string, doors ...*api) *recorder {
	return &recorder{doors: doors, prefix: prefix, began: time.Now(), seen: map[string]told{}, counts: map[string]int{}}
}

// run lets all clients work for a while.
func (r *recorder) run(ctx context.Context, d time.Duration) {
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for c := range clients {
		all.Go(func() {
			for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
				r.one(ctx, c, fmt.Sprintf("%s %d.%d", r.prefix, c, n))
			}
		})
	}
	all.Wait()
}

// one does one operation, with a value that no other has.
func (r *recorder) one(ctx context.Context, client int, value string) {
	door := r.doors[rand.IntN(len(r.doors))]
	in := asked{name: fmt.Sprintf("%s-%d", r.prefix, rand.IntN(names))}
	r.mu.Lock()
	known := r.seen[in.name]
	r.mu.Unlock()
	switch n := rand.IntN(100); {
	case n < 10:
		r.list(ctx, client, door)
		return
	case n < 35 || known.id == "":
		in.verb = read
		if known.id == "" && n%2 == 0 || n < 15 {
			in.verb, in.value = create, value
		}
	case n < 60:
		in.verb, in.id = get, known.id
	case n < 90:
		in.verb, in.id, in.value = update, known.id, value
		if n%2 == 0 {
			in.check = known.version
		}
	default:
		in.verb, in.id = remove, known.id
		if n%2 == 0 {
			in.check = known.version
		}
	}
	call := time.Since(r.began).Nanoseconds()
	out, aside := door.do(ctx, in)
	if aside != "" {
		r.count(in.verb, aside)
		return
	}
	r.note(client, in, out, call)
}

// list asks for all names at once, and is an operation on each of them.
func (r *recorder) list(ctx context.Context, client int, door *api) {
	call := time.Since(r.began).Nanoseconds()
	page, took := door.page(ctx, []string{"asc", "desc"}[rand.IntN(2)], r.prefix)
	if !took {
		r.count(list, refused)
		return
	}
	for i := range names {
		name := fmt.Sprintf("%s-%d", r.prefix, i)
		out, found := page[name]
		if !found {
			out = told{verdict: notFound}
		}
		r.note(client, asked{verb: list, name: name}, out, call)
	}
}

// note adds an operation that returns now. One whose outcome is unknown may take effect at any time from
// its call on, so it never returns.
func (r *recorder) note(client int, in asked, out told, call int64) {
	back := time.Since(r.began).Nanoseconds()
	if out.verdict == unknown {
		back = math.MaxInt64
	}
	r.count(in.verb, string(out.verdict))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: back})
	if out.verdict == done && out.id != "" {
		if out.version == "" { // a list: the version it knew is of another moment
			return
		}
		r.seen[in.name] = out
	}
}

func (r *recorder) count(v verb, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[string(v)+" "+what]++
}

// mustBeLinearizable looks for an order in which one vault would have told the same.
func (r *recorder) mustBeLinearizable(t *testing.T) {
	t.Helper()
	var counts []string
	for _, key := range slices.Sorted(maps.Keys(r.counts)) {
		counts = append(counts, fmt.Sprintf("%s: %d", key, r.counts[key]))
		if strings.Contains(key, unexpected) {
			t.Errorf("%s, %d times", key, r.counts[key])
		}
	}
	t.Logf("%d operations: %s", len(r.history), strings.Join(counts, ", "))
	for _, v := range []verb{create, read, get, update, remove, list} {
		if r.counts[string(v)+" "+string(done)] == 0 {
			t.Errorf("no %s succeeded", v)
		}
	}
	result, info := porcupine.CheckOperationsVerbose(model(), r.history, time.Minute)
	if result == porcupine.Ok {
		return
	}
	path := filepath.Join(t.ArtifactDir(), r.prefix+".html")
	must(t, porcupine.VisualizePath(model(), info, path))
	t.Errorf("the history of %d operations is not linearizable: %s (see %s with -artifacts)", len(r.history), result, path)
}
