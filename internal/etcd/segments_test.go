package etcd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
)

// segmented is a store whose older events go to a directory as soon as they are asked to.
func segmented(dir string) func(*etcd.StoreConfig) {
	return func(c *etcd.StoreConfig) { c.EventsDir, c.EventAge, c.EventBytes = dir, time.Nanosecond, 1<<40 }
}

// mustFillLog makes a log of n events in epochs that are empty, crowded and hours long.
func (p *place) mustFillLog(t *testing.T, s *etcd.Store, random *rand.Rand, n int) []events.Stored {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Hour)
	for i := range n {
		if random.IntN(3) == 0 {
			p.mustEnd(t, s, 1+random.IntN(3))
		}
		at = at.Add(time.Duration(random.IntN(20_000)) * time.Millisecond)
		p.mustLog(t, s, events.DataUpdated, at.Add(time.Duration(random.IntN(8000)-4000)*time.Millisecond), fmt.Sprint(i))
	}
	p.mustEnd(t, s, 1)
	return p.mustEvents(t, s, events.DataUpdated)
}

// mustSameLog asks for pages of every kind, and compares them with what the log was.
func (p *place) mustSameLog(t *testing.T, s *etcd.Store, random *rand.Rand, log []events.Stored, rounds int) {
	t.Helper()
	mustFence(t, s)
	if diff := cmp.Diff(log, p.mustWalk(t, s, events.Query{Types: allTypes(), Limit: 7, Order: events.Ascending})); diff != "" {
		t.Fatalf("the log, page by page (-was +is):\n%s", diff)
	}
	tail, err := s.Tail(t.Context(), p.env, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(log, tail); diff != "" {
		t.Fatalf("the tail (-was +is):\n%s", diff)
	}
	for range rounds {
		q := events.Query{Types: allTypes(), Limit: 1 + random.IntN(20), Order: events.Ascending}
		if random.IntN(2) == 0 {
			q.Order = events.Descending
		}
		if random.IntN(3) == 0 {
			q.RangeStart = log[random.IntN(len(log))].At
		}
		if random.IntN(3) == 0 {
			q.RangeEnd = log[random.IntN(len(log))].At
		}
		if !q.RangeEnd.IsZero() && q.RangeEnd.Before(q.RangeStart) {
			q.RangeStart, q.RangeEnd = q.RangeEnd, q.RangeStart
		}
		if random.IntN(3) == 0 {
			q.Before = log[random.IntN(len(log))].ID
		}
		page, err := s.Page(t.Context(), p.env, q)
		if err != nil {
			t.Fatalf("page %+v: %v", q, err)
		}
		if diff := cmp.Diff(page, modelPage(log, q)); diff != "" {
			t.Fatalf("page %+v (-got +want):\n%s", q, diff)
		}
	}
}

// TestSegments: the log is the same wherever its events are, on every replica that has the directory, and however
// the process ended that moved them.
func TestSegments(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	p := newPlace(t, etcdtest.Embedded(t))
	dir := t.TempDir()
	s := p.mustStore(t, segmented(dir))
	log := p.mustFillLog(t, s, random, 60)
	s.SetSegments(10, nil)
	p.mustSameLog(t, s, random, log, 20)

	// Case 1: a process that ends after any step of a move loses nothing and shows nothing twice.
	died := errors.New("the process ended")
	for _, last := range []string{"written", "named"} {
		s.SetSegments(10, func(step string) error {
			if step == last {
				return died
			}
			return nil
		})
		if moved, err := s.MoveOldest(t.Context(), p.env); moved || !errors.Is(err, died) {
			t.Fatalf("a move that ends when it has %s: %v, %v", last, moved, err)
		}
		p.mustSameLog(t, p.mustStore(t, segmented(dir)), random, log, 5)
	}
	s.SetSegments(10, nil)

	// Case 2: move after move, by two replicas at once.
	other := p.mustStore(t, segmented(dir))
	other.SetSegments(10, nil)
	moves := 0
	for {
		second := make(chan error, 1)
		go func() {
			_, err := other.MoveOldest(t.Context(), p.env)
			second <- err
		}()
		moved, err := s.MoveOldest(t.Context(), p.env)
		if err != nil && !errors.Is(err, keys.ErrConflict) {
			t.Fatal(err)
		}
		if err := <-second; err != nil && !errors.Is(err, keys.ErrConflict) {
			t.Fatal(err)
		}
		p.mustSameLog(t, other, random, log, 10)
		left, err := s.CountEvents(t.Context(), p.env)
		if err != nil {
			t.Fatal(err)
		}
		if !moved && left == 0 {
			break
		}
		if moves++; moves > 60 {
			t.Fatalf("%d events are left after %d moves", left, moves)
		}
	}
	if moves < 3 {
		t.Fatalf("all moved in %d moves", moves)
	}
	// What comes now is behind them.
	for _, name := range []string{"new", "newer", "newest"} {
		p.mustLog(t, other, events.DataUpdated, time.Now(), name)
	}
	log = append(log, p.mustEvents(t, s, events.DataUpdated)[len(log):]...)
	p.mustSameLog(t, s, random, log, 40)

	// Case 3: a replica without the directory says so, and shows what it has.
	blind := p.mustStore(t)
	mustFence(t, blind)
	_, err := blind.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 5, Order: events.Ascending})
	if o := outage.Of(err); o == nil || o.Dependency != outage.Segments {
		t.Errorf("without the directory: %v", err)
	}
	page, err := blind.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 1, Order: events.Descending})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != log[len(log)-1].ID {
		t.Errorf("the newest without the directory: %v, %v", page, err)
	}

	// Case 4: a file that is not what was written is refused, and one that is gone is missed.
	files, err := filepath.Glob(filepath.Join(dir, string(p.env), "*.events"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	first := events.Query{Types: allTypes(), Limit: 1, Order: events.Ascending}
	ask := func() error {
		fresh := p.mustStore(t, segmented(dir))
		mustFence(t, fresh)
		_, err := fresh.Page(t.Context(), p.env, first)
		return err
	}
	content[len(content)/2] ^= 1
	must(t, os.WriteFile(files[0], content, 0o600))
	if err := ask(); !errors.Is(err, events.ErrTampered) {
		t.Errorf("a file that was edited: %v", err)
	}
	must(t, os.Remove(files[0]))
	if o := outage.Of(ask()); o == nil || o.Dependency != outage.Segments {
		t.Error("a file that is gone is not missed")
	}
	content[len(content)/2] ^= 1
	must(t, os.WriteFile(files[0], content, 0o600))
	if err := ask(); err != nil {
		t.Errorf("the file as it was: %v", err)
	}

	// Case 5: files that no record names go when they are old; segments that are too old go with their records.
	orphan := filepath.Join(dir, string(p.env), "orphan")
	for path, age := range map[string]time.Duration{orphan: 2 * time.Hour, orphan + "-young": 0, files[1]: 2 * time.Hour} {
		if path != files[1] {
			must(t, os.WriteFile(path, []byte("x"), 0o600))
		}
		must(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
	}
	must(t, s.SweepSegments(t.Context(), p.env))
	for path, stays := range map[string]bool{orphan: false, orphan + "-young": true, files[1]: true} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s after the sweep: %v", filepath.Base(path), err)
		}
	}
	must(t, s.ForgetOld(t.Context(), p.env, time.Now().Add(-2*time.Hour))) // none is as old
	p.mustSameLog(t, s, random, log, 5)
	must(t, s.ForgetOld(t.Context(), p.env, time.Now()))
	mustFence(t, s)
	page, err = s.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 100, Order: events.Ascending})
	if err != nil || len(page.Data) != 3 || page.Forgotten.IsZero() {
		t.Errorf("after all segments were too old: %d events, %v, %v", len(page.Data), page.Forgotten, err)
	}
	if _, err := os.Stat(files[0]); !os.IsNotExist(err) {
		t.Errorf("a segment that is forgotten: %v", err)
	}
}

// TestLogWithoutSegments: where there is no directory the log has a beginning, and says so.
func TestLogWithoutSegments(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	p := newPlace(t, etcdtest.Embedded(t))
	s := p.mustStore(t, func(c *etcd.StoreConfig) { c.EventAge, c.EventBytes = time.Nanosecond, 4000 })
	log := p.mustFillLog(t, s, random, 40)
	s.SetSegments(8, nil)
	must(t, s.MoveOlder(t.Context(), p.env))
	mustFence(t, s)
	page, err := s.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 100, Order: events.Ascending})
	if err != nil {
		t.Fatal(err)
	}
	kept := len(page.Data)
	if kept == 0 || kept >= len(log) || page.Forgotten.IsZero() {
		t.Fatalf("kept %d of %d, forgotten until %v", kept, len(log), page.Forgotten)
	}
	if diff := cmp.Diff(log[len(log)-kept:], page.Data); diff != "" {
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
	q := events.Query{Types: allTypes(), Limit: 100, Order: events.Ascending, After: log[0].ID}
	if _, err := s.Page(t.Context(), p.env, q); !errors.Is(err, events.ErrUnknownCursor) {
		t.Errorf("a cursor that is forgotten: %v", err)
	}
	q.After = page.Data[0].ID
	if rest, err := s.Page(t.Context(), p.env, q); err != nil || len(rest.Data) != kept-1 {
		t.Errorf("behind the first that is kept: %d events, %v", len(rest.Data), err)
	}
	tail, err := s.Tail(t.Context(), p.env, log[0].ID, 1000)
	if err != nil || len(tail) != kept {
		t.Errorf("the tail behind a cursor that is forgotten: %d events, %v", len(tail), err)
	}
}
