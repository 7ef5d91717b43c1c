package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/vault/vaulttest"
)

// between stands between the use case and the real store: it notes what was asked, and can fail.
type between struct {
	events.Store
	calls []string
	query events.Query
	env   access.EnvironmentID
	fence error
	page  error
	// revoke makes the API key's record say so from the fence on.
	revoke bool
}

func (b *between) Fence(ctx context.Context) error {
	b.calls = append(b.calls, "fence")
	if b.fence != nil {
		return b.fence
	}
	return b.Store.Fence(ctx)
}

// keysOf is the real key store, behind which a key can be revoked.
type keysOf struct {
	access.KeyStore
	between *between
}

func (k keysOf) APIKey(ctx context.Context, env access.EnvironmentID, keyID string) (access.KeyRecord, int64, error) {
	r, revision, err := k.KeyStore.APIKey(ctx, env, keyID)
	if k.between.revoke && slices.Contains(k.between.calls, "fence") {
		r.RevokedAt, revision = time.Now(), revision+1
	}
	return r, revision, err
}

func (b *between) Page(ctx context.Context, env access.EnvironmentID, q events.Query) (events.Page, error) {
	b.calls = append(b.calls, "page")
	b.query, b.env = q, env
	if b.page != nil {
		return events.Page{Data: []events.Stored{{ID: "leftover"}}}, b.page
	}
	return b.Store.Page(ctx, env, q)
}

type house struct {
	*vaulttest.Stack
	between *between
	log     *events.Log
}

func newHouse(t *testing.T) *house {
	t.Helper()

	h := &house{Stack: vaulttest.New(t)}
	h.between = &between{Store: h.Store}
	gate, err := access.NewGate(access.GateConfig{
		Keys: keysOf{h.Store, h.between}, Peppers: h.Environments, Report: func(_ context.Context, _ access.EnvironmentID, keyID string, err error) { t.Error(keyID, err) },
	})
	if err != nil {
		t.Fatalf("new gate: %v", err)
	}
	h.log, err = events.New(events.Config{Store: h.between, Gate: gate, Audit: h.Audit})
	if err != nil {
		t.Fatalf("new log: %v", err)
	}
	return h
}

// list asks and returns the one audit record that the call left.
func (h *house) list(t *testing.T, call access.Call, q events.Query) (events.Page, audit.Record, error) {
	t.Helper()
	page, err := h.log.List(t.Context(), call, q)
	records := h.MustAuditOf(t, call.RequestID)
	if len(records) != 1 {
		t.Fatalf("the call left %d audit records, want 1", len(records))
	}
	return page, records[0], err
}

func created() events.Query { return events.Query{Types: []events.Type{events.DataCreated}} }

func ids(page events.Page) []string {
	var list []string
	for _, e := range page.Data {
		list = append(list, e.ID)
	}
	return list
}

func TestListFollowsTheLog(t *testing.T) {
	h := newHouse(t)
	for i := range 12 {
		h.MustCreate(t, fmt.Sprintf("object-%d", i), "value")
	}

	// Case 1: by default ten, oldest first, and the cursor leads to newer ones.
	page, record, err := h.list(t, h.Call(), created())
	if err != nil || len(page.Data) != events.DefaultLimit || page.Before != "" || page.After != page.Data[9].ID {
		t.Fatalf("first page: got %d events, cursors %q and %q, %v", len(page.Data), page.Before, page.After, err)
	}
	if !strings.Contains(string(page.Data[0].Data), `"object-0"`) || page.Data[0].Type != events.DataCreated {
		t.Errorf("first event: got %s %s", page.Data[0].Type, page.Data[0].Data)
	}
	want := events.Query{Types: created().Types, Limit: events.DefaultLimit, Order: events.Ascending}
	if diff := cmp.Diff(want, h.between.query); diff != "" || h.between.env != h.Environment.ID() {
		t.Errorf("the store was asked for %s (-want +got):\n%s", h.between.env, diff)
	}
	if record.Result != audit.Allowed || record.Status != 200 || record.Phase != audit.Access || record.Action != access.EventsList ||
		record.ActorID != "key_"+h.APIKey.ID || record.EnvironmentID != h.Environment.ID() {
		t.Errorf("record: got %+v", record)
	}

	// Case 2: the consumer's loop ends at the newest and goes on from there later.
	q := created()
	q.After = page.After
	rest, _, err := h.list(t, h.Call(), q)
	if err != nil || len(rest.Data) != 2 || rest.After != "" {
		t.Fatalf("second page: got %d events, cursor %q, %v", len(rest.Data), rest.After, err)
	}
	q.After = rest.Data[1].ID
	if later, _, err := h.list(t, h.Call(), q); err != nil || len(later.Data) != 0 || later.After != "" {
		t.Errorf("behind the newest: got %v, %v", ids(later), err)
	}
	h.MustCreate(t, "object-12", "value")
	if later, _, err := h.list(t, h.Call(), q); err != nil || len(later.Data) != 1 {
		t.Errorf("behind the newest, later: got %v, %v", ids(later), err)
	}

	// Case 3: the other orders and the clamped limit.
	q = created()
	q.Limit, q.Order = 1000, events.Normal
	all, _, err := h.list(t, h.Call(), q)
	if err != nil || len(all.Data) != 13 || h.between.query.Limit != events.MaxLimit {
		t.Fatalf("all: got %d events, %v", len(all.Data), err)
	}
	q.Order = events.Descending
	reversed, _, err := h.list(t, h.Call(), q)
	slices.Reverse(reversed.Data)
	if diff := cmp.Diff(ids(all), ids(reversed)); err != nil || diff != "" {
		t.Errorf("descending, %v (-ascending +reversed):\n%s", err, diff)
	}
}

func TestListRefusesQueries(t *testing.T) {
	h := newHouse(t)
	cursor := id.Event(time.Now(), 1)
	now := time.Now()
	for name, c := range map[string]struct {
		change func(q *events.Query)
		field  string
		status int
		code   string
	}{
		"no events":           {func(q *events.Query) { q.Types = nil }, "events", 422, "required"},
		"empty event":         {func(q *events.Query) { q.Types = append(q.Types, "") }, "events", 422, "required"},
		"unknown order":       {func(q *events.Query) { q.Order = "random" }, "order", 400, "invalid_query"},
		"negative limit":      {func(q *events.Query) { q.Limit = -1 }, "limit", 400, "invalid_query"},
		"after and before":    {func(q *events.Query) { q.After, q.Before = cursor, cursor }, "before", 422, "invalid"},
		"after and start":     {func(q *events.Query) { q.After, q.RangeStart = cursor, now }, "range_start", 422, "invalid"},
		"range turned around": {func(q *events.Query) { q.RangeStart, q.RangeEnd = now, now.Add(-1) }, "range_end", 422, "invalid"},
		"cursor of no form":   {func(q *events.Query) { q.After = "event_x" }, "", 400, "invalid_cursor"},
		"object id as cursor": {func(q *events.Query) { q.Before = "01935d2a-4f3b-7c1e-8a2b-9c3d4e5f6a7b" }, "", 400, "invalid_cursor"},
	} {
		q := created()
		c.change(&q)
		h.between.calls = nil
		_, record, err := h.list(t, h.Call(), q)
		var invalid *events.InvalidError
		if c.field == "" && !errors.Is(err, events.ErrUnknownCursor) ||
			c.field != "" && (!errors.As(err, &invalid) || invalid.Field != c.field || invalid.Malformed != (c.status == 400)) {
			t.Errorf("%s: got %v", name, err)
		}
		if record.Result != audit.Failed || record.Status != c.status || record.Code != c.code {
			t.Errorf("%s: record says %s %d %s", name, record.Result, record.Status, record.Code)
		}
		if slices.Contains(h.between.calls, "page") {
			t.Errorf("%s: the store was asked for a page", name)
		}
	}

	// Each of these is legal by itself.
	for name, change := range map[string]func(q *events.Query){
		"range":        func(q *events.Query) { q.RangeStart, q.RangeEnd = now.Add(-time.Hour), now },
		"empty range":  func(q *events.Query) { q.RangeStart, q.RangeEnd = now, now },
		"end alone":    func(q *events.Query) { q.RangeEnd = now },
		"before":       func(q *events.Query) { q.Before, q.RangeStart = "", now },
		"organization": func(q *events.Query) { q.OrganizationID = "org_1" },
	} {
		q := created()
		change(&q)
		if _, _, err := h.list(t, h.Call(), q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListChecksRightsFirst(t *testing.T) {
	h := newHouse(t)
	h.MustCreate(t, "object", "value")

	// Case 1: no rights, and nothing else of the query is looked at.
	page, record, err := h.list(t, h.MustCallAs(t, "nobody"), events.Query{})
	if !errors.Is(err, access.ErrDenied) || page.Data != nil || h.between.calls != nil {
		t.Errorf("without rights: got %v, %v after %v", ids(page), err, h.between.calls)
	}
	if record.Result != audit.Denied || record.Status != 403 || record.Code != "forbidden" || record.ActorName != "test nobody" {
		t.Errorf("record: got %+v", record)
	}

	// Case 2: a key that was revoked before the call is not served, though this replica learns of it
	// only behind the fence.
	h.between.revoke = true
	page, record, err = h.list(t, h.Call(), created())
	if !errors.Is(err, access.ErrUnauthenticated) || page.Data != nil || record.Status != 401 || record.Result != audit.Denied {
		t.Errorf("revoked: got %v, %v, recorded as %s %d", ids(page), err, record.Result, record.Status)
	}
	if diff := cmp.Diff([]string{"fence"}, h.between.calls); diff != "" {
		t.Errorf("revoked: calls (-want +got):\n%s", diff)
	}

	// Case 3: a valid key is served, behind the fence.
	h.between.revoke, h.between.calls = false, nil
	if page, _, err := h.list(t, h.Call(), created()); err != nil || len(page.Data) != 1 {
		t.Errorf("administrator: got %v, %v", ids(page), err)
	}
	if diff := cmp.Diff([]string{"fence", "page"}, h.between.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestListFailsClosed(t *testing.T) {
	h := newHouse(t)
	down := &outage.Error{Dependency: outage.Etcd}

	// Case 1: whatever the store says, no part of a page comes out, and the record says it.
	for name, c := range map[string]struct {
		fence, page error
		status      int
		code        string
	}{
		"fence":          {fence: down, status: 503, code: "storage_unavailable"},
		"page":           {page: down, status: 503, code: "storage_unavailable"},
		"tampered":       {page: fmt.Errorf("event: %w", events.ErrTampered), status: 500, code: "integrity_failure"},
		"unknown cursor": {page: events.ErrUnknownCursor, status: 400, code: "invalid_cursor"},
		"hung up":        {page: context.Canceled, status: 499, code: "client_closed_request"},
		"late":           {page: context.DeadlineExceeded, status: 503, code: "timeout"},
		"other":          {page: errors.New("text that stays out of the trail"), status: 500, code: "internal_error"},
	} {
		h.between.fence, h.between.page = c.fence, c.page
		page, record, err := h.list(t, h.Call(), created())
		if want := errors.Join(c.fence, c.page); !errors.Is(err, c.page) && !errors.Is(err, c.fence) || len(page.Data) > 0 {
			t.Errorf("%s: got %v and %v, want %v", name, ids(page), err, want)
		}
		if record.Result != audit.Failed || record.Status != c.status || record.Code != c.code {
			t.Errorf("%s: record says %s %d %s", name, record.Result, record.Status, record.Code)
		}
	}

	// Case 2: no record, no page.
	h.between.fence, h.between.page = nil, nil
	if err := h.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	page, err := h.log.List(t.Context(), h.Call(), created())
	if o := outage.Of(err); o == nil || o.Dependency != outage.Audit || len(page.Data) > 0 {
		t.Errorf("without audit log: got %v, %v", ids(page), err)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]events.Config{
		"store": {Gate: h.Gate, Audit: h.Audit}, "gate": {Store: h.Store, Audit: h.Audit}, "audit": {Store: h.Store, Gate: h.Gate},
	} {
		if _, err := events.New(c); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
}

// TestTypesOfTheContract pins the spelling that clients subscribe to.
func TestTypesOfTheContract(t *testing.T) {
	want := []events.Type{"vault.data.created", "vault.data.updated", "vault.data.deleted", "vault.kek.created"}
	got := []events.Type{events.DataCreated, events.DataUpdated, events.DataDeleted, events.KEKCreated}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}
