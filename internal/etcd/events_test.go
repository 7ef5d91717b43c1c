package etcd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/internal/id"
)

// allTypes are those that this package's tests write.
func allTypes() []events.Type {
	return []events.Type{events.DataCreated, events.DataUpdated, events.DataDeleted, events.KEKCreated}
}

// mustEvents reads the whole log of these types, oldest first.
func (p *place) mustEvents(t testing.TB, s *etcd.Store, types ...events.Type) []events.Stored {
	t.Helper()
	mustFence(t, s)
	return p.mustWalk(t, s, events.Query{Types: types, Limit: 100, Order: events.Ascending})
}

// mustWalk follows a query's pages to their end.
func (p *place) mustWalk(t testing.TB, s *etcd.Store, q events.Query) []events.Stored {
	t.Helper()
	var all []events.Stored
	for {
		page, err := s.Page(t.Context(), p.env, q)
		if err != nil {
			t.Fatalf("page %+v: %v", q, err)
		}
		all = append(all, page.Data...)
		if page.After == "" {
			return all
		}
		if len(page.Data) == 0 || page.After != page.Data[len(page.Data)-1].ID {
			t.Fatalf("page %+v: cursor %s is not that of its last event", q, page.After)
		}
		q.After = page.After
	}
}

// mustLog commits one event and nothing else of interest.
func (p *place) mustLog(t testing.TB, s *etcd.Store, kind events.Type, at time.Time, what string) {
	t.Helper()
	c := p.newKEK(map[string]string{"n": what})
	c.Create.Event = p.event(kind, what)
	c.Create.Event.At = at
	if err := s.CreateKEK(t.Context(), c); err != nil {
		t.Fatalf("commit an event: %v", err)
	}
}

func what(t testing.TB, e events.Stored) string {
	t.Helper()
	var data struct{ ID string }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data.ID
}

// testEventOrder: two replicas write, with clocks apart, while epochs end under them; whoever follows
// the log misses nothing and sees everything once, in the order in which he will always see it.
func testEventOrder(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	stores := []*etcd.Store{p.mustStore(t), p.mustStore(t)}
	reader := p.mustStore(t)
	const writers, each = 8, 60
	var acknowledged sync.Map
	var writing, ending sync.WaitGroup
	stop, cancel := context.WithCancel(t.Context())
	for w := range writers {
		s, skew := stores[w%2], time.Duration(w%3-1)*1500*time.Millisecond
		writing.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d/%d", w, i)
				c := p.newKEK(map[string]string{"n": name})
				c.Create.Event = p.event(events.DataCreated, name)
				c.Create.Event.At = time.Now().Add(skew)
				if err := s.CreateKEK(t.Context(), c); err != nil {
					t.Errorf("write %s: %v", name, err)
				}
				acknowledged.Store(name, true)
				sleep(t.Context(), time.Duration(rand.IntN(12))*time.Millisecond)
			}
		})
	}
	ending.Go(func() {
		for stop.Err() == nil {
			if err := stores[0].AdvanceEpoch(t.Context(), p.env); err != nil {
				t.Errorf("advance: %v", err)
			}
			sleep(stop, 60*time.Millisecond)
		}
	})
	// The follower: each page behind the last event it saw.
	var seen []events.Stored
	q := events.Query{Types: allTypes(), Limit: 7, Order: events.Ascending}
	done := make(chan struct{})
	go func() { writing.Wait(); cancel(); ending.Wait(); close(done) }()
	for finished := false; ; {
		mustFence(t, reader)
		page, err := reader.Page(t.Context(), p.env, q)
		if err != nil {
			t.Fatalf("page: %v", err)
		}
		if seen = append(seen, page.Data...); len(seen) > 0 {
			q.After = seen[len(seen)-1].ID
		}
		if finished && len(page.Data) == 0 {
			break
		}
		select {
		case <-done:
			finished = true
		default:
		}
	}
	found := map[string]bool{}
	for _, e := range seen {
		if found[what(t, e)] {
			t.Errorf("%s was seen twice", what(t, e))
		}
		found[what(t, e)] = true
	}
	acknowledged.Range(func(name, _ any) bool {
		if !found[name.(string)] {
			t.Errorf("%s was acknowledged and never seen", name)
		}
		return true
	})
	if len(seen) != writers*each {
		t.Errorf("%d events seen, want %d", len(seen), writers*each)
	}
	if diff := cmp.Diff(seen, p.mustEvents(t, stores[1], allTypes()...)); diff != "" {
		t.Errorf("what was seen while it was written, and what is read now (-then +now):\n%s", diff)
	}
	last := uint64(0)
	for _, e := range seen {
		epoch, ok := id.EventEpoch(e.ID)
		if !ok || epoch < last {
			t.Fatalf("epoch %d after epoch %d", epoch, last)
		}
		last = epoch
	}
	if last < 3 {
		t.Errorf("the log has only %d epochs: nothing was tried", last)
	}
}

// testEventPages compares pages with what a plain list says they hold, in both orders and directions.
func testEventPages(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	if page, err := s.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 10, Order: events.Descending}); err != nil || len(page.Data) != 0 || page.Before+page.After != "" {
		t.Errorf("an empty log: %+v, %v", page, err)
	}
	kinds := allTypes()
	for i := range 40 {
		p.mustLog(t, s, kinds[i*i%7%len(kinds)], time.Now(), fmt.Sprint(i))
		for range i % 5 / 3 * (i % 4) {
			if err := s.AdvanceEpoch(t.Context(), p.env); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := p.mustEvents(t, s, kinds...)
	for i, e := range log {
		if what(t, e) != fmt.Sprint(i) || e.Node != "node-1" || e.Index != 7 {
			t.Fatalf("event %d is %s (%s %d)", i, what(t, e), e.Node, e.Index)
		}
	}
	for range 200 {
		types := slices.Clone(kinds)
		rand.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
		q := events.Query{Types: types[:1+rand.IntN(len(types))], Limit: 1 + rand.IntN(9), Order: events.Ascending}
		if rand.IntN(2) == 0 {
			q.Order = events.Descending
		}
		cursor := log[rand.IntN(len(log))].ID
		switch rand.IntN(4) {
		case 0:
			q.After = cursor
		case 1:
			q.Before = cursor
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

// modelPage is a page of a log, the plain way.
func modelPage(log []events.Stored, q events.Query) events.Page {
	all := slices.Clone(log)
	if q.Order == events.Descending {
		slices.Reverse(all)
	}
	position := func(cursor string) int {
		return slices.IndexFunc(all, func(e events.Stored) bool { return e.ID == cursor })
	}
	from, to := 0, len(all)
	if q.After != "" {
		from = position(q.After) + 1
	}
	if q.Before != "" {
		to = position(q.Before)
	}
	kept := []events.Stored{}
	start, end := q.RangeStart.Truncate(time.Millisecond), q.RangeEnd.Truncate(time.Millisecond)
	for _, e := range all[from:to] {
		late := !end.IsZero() && !e.At.Before(end)
		if slices.Contains(q.Types, e.Type) && !e.At.Before(start) && !late {
			kept = append(kept, e)
		}
	}
	page := events.Page{Data: kept}
	more := len(kept) > q.Limit
	switch {
	case len(kept) == 0:
		return page
	case q.Before != "":
		page.Data = kept[max(0, len(kept)-q.Limit):]
		page.After = page.Data[len(page.Data)-1].ID
		if more {
			page.Before = page.Data[0].ID
		}
	default:
		page.Data = kept[:min(len(kept), q.Limit)]
		if more {
			page.After = page.Data[len(page.Data)-1].ID
		}
		if q.After != "" {
			page.Before = page.Data[0].ID
		}
	}
	return page
}
