package etcd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/internal/id"
)

// testEventTimes asks for ranges of time of a log whose epochs are empty, crowded, or hours long, and
// whose times are out of order by as much as clocks and deadlines allow.
func testEventTimes(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now().UTC().Truncate(time.Millisecond).Add(-24 * time.Hour)
	at := start
	for i := range 120 {
		switch random.IntN(16) {
		case 0: // a quiet hour within one epoch
			at = at.Add(time.Hour)
		case 1, 2, 3, 4, 5, 6: // the epoch ends
			p.mustEnd(t, s, 1)
		case 7: // also when nothing happened in it
			p.mustEnd(t, s, 2+random.IntN(40))
		}
		at = at.Add(time.Duration(random.IntN(1500)) * time.Millisecond)
		disorder := time.Duration(random.IntN(8000)-4000) * time.Millisecond
		p.mustLog(t, s, events.DataUpdated, at.Add(disorder), fmt.Sprint(i))
	}
	log := p.mustEvents(t, s, events.DataUpdated)
	if len(log) != 120 {
		t.Fatalf("%d events, want 120", len(log))
	}
	moment := func() time.Time {
		if random.IntN(3) > 0 {
			// Within the millisecond of an event: a bound is no finer than what it bounds.
			return log[random.IntN(len(log))].At.Add(time.Duration(random.Int64N(int64(time.Millisecond))))
		}
		span := at.Sub(start) + 2*time.Hour
		return start.Add(time.Duration(random.Int64N(int64(span))) - time.Hour)
	}
	for range 150 {
		q := events.Query{Types: allTypes(), Limit: 1 + random.IntN(100), Order: events.Ascending}
		if random.IntN(2) == 0 {
			q.Order = events.Descending
		}
		if random.IntN(4) > 0 {
			q.RangeStart = moment()
		}
		if random.IntN(4) > 0 {
			q.RangeEnd = moment()
		}
		if !q.RangeEnd.IsZero() && q.RangeEnd.Before(q.RangeStart) {
			q.RangeStart, q.RangeEnd = q.RangeEnd, q.RangeStart
		}
		if random.IntN(4) == 0 {
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

// testEventOrganization: an event is an organization's if its data or its key context say so.
func testEventOrganization(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	want := map[string][]string{}
	for i, data := range []struct{ json, organization string }{
		{`{"key_context":{"organization_id":"org_1"}}`, "org_1"},
		{`{"organization_id":"org_1","key_context":{}}`, "org_1"},
		{`{"organization_id":"org_2"}`, "org_2"},
		{`{"key_context":{"organization":"org_1"}}`, ""},
		{`{"key_name":"org_1"}`, ""},
		{`{}`, ""},
		{`{"key_context":{"organization_id":"org_11"}}`, "org_11"},
	} {
		c := p.newKEK(map[string]string{"n": fmt.Sprint(i)})
		c.Create.Event.Data = json.RawMessage(data.json)
		if err := s.CreateKEK(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want[data.organization] = append(want[data.organization], data.json)
		want["any"] = append(want["any"], data.json)
	}
	mustFence(t, s)
	for organization, events := range want {
		if organization == "" {
			continue
		}
		q := eventsOf(organization)
		var got []string
		for _, e := range p.mustWalk(t, s, q) {
			got = append(got, string(e.Data))
		}
		if diff := cmp.Diff(got, events); diff != "" {
			t.Errorf("events of %s (-got +want):\n%s", organization, diff)
		}
	}
}

func eventsOf(organization string) events.Query {
	q := events.Query{Types: allTypes(), Limit: 2, Order: events.Ascending, OrganizationID: organization}
	if organization == "any" {
		q.OrganizationID = ""
	}
	return q
}

// mustEnd ends epochs.
func (p *place) mustEnd(t testing.TB, s *etcd.Store, epochs int) {
	t.Helper()
	for range epochs {
		if err := s.AdvanceEpoch(t.Context(), p.env); err != nil {
			t.Fatal(err)
		}
	}
}

func testEventCursors(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	for i := range 3 {
		p.mustLog(t, s, events.DataCreated, time.Now(), fmt.Sprint(i))
	}
	if err := s.AdvanceEpoch(t.Context(), p.env); err != nil {
		t.Fatal(err)
	}
	log := p.mustEvents(t, s, events.DataCreated)
	genuine := log[1].ID
	epoch, _ := id.EventEpoch(genuine)
	for name, cursor := range map[string]string{
		"no id":                    "cursor",
		"an object's id":           p.ids.UUID(),
		"nothing of the epoch":     id.Event(time.Now(), epoch),
		"an epoch to come":         id.Event(time.Now(), epoch+1000),
		"epoch zero":               id.Event(time.Now(), 0),
		"lower case":               string(bytes.ToLower([]byte(genuine))),
		"something behind the end": genuine + "0",
		"a path":                   "event_../../kek/",
	} {
		for _, q := range []events.Query{{After: cursor}, {Before: cursor}} {
			q.Types, q.Limit, q.Order = allTypes(), 10, events.Ascending
			_, err := s.Page(t.Context(), p.env, q)
			mustBe(t, name, err, events.ErrUnknownCursor)
		}
	}
	// The twin, and the same cursor asked of a log that does not have it.
	page, err := s.Page(t.Context(), p.env, events.Query{Types: allTypes(), Limit: 10, Order: events.Ascending, After: genuine})
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != log[2].ID {
		t.Errorf("behind a genuine cursor: %+v, %v", page, err)
	}
	stranger := newPlace(t, open(t))
	_, err = stranger.mustStore(t).Page(t.Context(), stranger.env, events.Query{Types: allTypes(), Limit: 10, Order: events.Ascending, After: genuine})
	mustBe(t, "another environment's cursor", err, events.ErrUnknownCursor)

	// A type nobody writes matches nothing, and is no reason for a cursor.
	page, err = s.Page(t.Context(), p.env, events.Query{Types: []events.Type{"user.created"}, Limit: 10, Order: events.Ascending})
	if err != nil || len(page.Data) != 0 || page.After+page.Before != "" {
		t.Errorf("another type: %+v, %v", page, err)
	}
	// An event that somebody edited fails the pages that would show it, and moved elsewhere too.
	key := etcd.KeyEvent(p.env, epoch, genuine)
	bytesOf := p.rawGet(t, key)
	edited := bytes.Clone(bytesOf)
	edited[len(edited)-1] ^= 1
	q := events.Query{Types: allTypes(), Limit: 10, Order: events.Ascending}
	p.rawPut(t, key, edited)
	_, err = s.Page(t.Context(), p.env, q)
	mustBe(t, "an edited event", err, events.ErrTampered)
	p.rawPut(t, key, bytesOf)
	moved := etcd.KeyEvent(p.env, epoch, id.Event(time.Now(), epoch))
	p.rawPut(t, moved, bytesOf)
	_, err = s.Page(t.Context(), p.env, q)
	mustBe(t, "a copied event", err, events.ErrTampered)
	if _, err := p.client.KV().Delete(t.Context(), p.client.Abs(moved)); err != nil {
		t.Fatal(err)
	}
	if page, err := s.Page(t.Context(), p.env, q); err != nil || len(page.Data) != 3 {
		t.Errorf("the genuine log: %d events, %v", len(page.Data), err)
	}
}
