package sdkv9_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

var types = []string{"vault.kek.created", "vault.data.created", "vault.data.updated", "vault.data.deleted"}

// brief is what the test compares of an event.
type brief struct {
	Event string
	Data  map[string]any
}

// mine keeps the events about an object, or about the key of its context.
func mine(all []workos.EventSchema, name, keyID string) []brief {
	var kept []brief
	for _, e := range all {
		if e.Data["kv_name"] == name || e.Data["kv_name"] == nil && e.Data["key_id"] == keyID {
			kept = append(kept, brief{e.Event, e.Data})
		}
	}
	return kept
}

func TestEvents(t *testing.T) {
	c := newClient(t)
	mark := sdktest.Unique("")
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{"mark": mark})
	mustUpdate(t, c, o.ID, sdktest.Secret(""), nil)
	if err := c.Vault().DeleteKv(t.Context(), o.ID, nil); err != nil {
		t.Fatal(err)
	}

	data := func(more map[string]any) map[string]any {
		more["actor_id"] = o.Metadata.UpdatedBy.ID
		more["actor_name"] = o.Metadata.UpdatedBy.Name
		more["actor_source"] = "api"
		return more
	}
	keyContext := map[string]any{"mark": mark}
	keyID := o.Metadata.KeyID
	want := []brief{
		{"vault.kek.created", data(map[string]any{"key_name": keyID, "key_id": keyID})},
		{"vault.data.created", data(map[string]any{"kv_name": o.Name, "key_id": keyID, "key_context": keyContext})},
		{"vault.data.updated", data(map[string]any{"kv_name": o.Name, "key_id": keyID, "key_context": keyContext})},
		{"vault.data.deleted", data(map[string]any{"kv_name": o.Name})},
	}
	reversed := slices.Clone(want)
	slices.Reverse(reversed)

	for _, tc := range []struct {
		name   string
		params workos.EventsListParams
		want   []brief
	}{
		// The iterator asks for descending order where the caller does not.
		{"default", workos.EventsListParams{Events: types}, reversed},
		{"ascending", workos.EventsListParams{Events: types, PaginationParams: workos.PaginationParams{Order: new("asc")}}, want},
		{"normal", workos.EventsListParams{Events: types, PaginationParams: workos.PaginationParams{Order: new("normal"), Limit: new(3)}}, want},
		{"one type", workos.EventsListParams{Events: types[2:3]}, want[2:3]},
		{"two types", workos.EventsListParams{Events: types[2:]}, []brief{want[3], want[2]}},
		// The contract excludes range_start together with after, so one page has to be enough.
		{"since then", workos.EventsListParams{
			Events: types[3:], RangeStart: &o.Metadata.UpdatedAt, PaginationParams: workos.PaginationParams{Limit: new(100)},
		}, want[3:]},
		{"since later", workos.EventsListParams{Events: types, RangeStart: new("2100-01-01T00:00:00Z")}, nil},
		{"until then", workos.EventsListParams{Events: types, RangeEnd: new("2024-01-01T00:00:00Z")}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := drain(t, c.Events().List(t.Context(), &tc.params))
			if diff := cmp.Diff(mine(all, o.Name, keyID), tc.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			seen := map[string]bool{}
			for _, e := range all {
				sdktest.Match(t, "event id", sdktest.EventID, e.ID)
				if seen[e.ID] || e.Object != "event" {
					t.Errorf("event %s of object %q came twice or is none", e.ID, e.Object)
				}
				seen[e.ID] = true
			}
		})
	}
}

func TestEventsAfter(t *testing.T) {
	c := newClient(t)
	first := mustCreate(t, c, sdktest.Unique(""), map[string]string{"mark": sdktest.Unique("")})
	all := drain(t, c.Events().List(t.Context(), &workos.EventsListParams{
		Events: types, PaginationParams: workos.PaginationParams{Order: new("asc")},
	}))
	last := all[len(all)-1].ID

	second := mustCreate(t, c, sdktest.Unique(""), first.Metadata.Context)
	news := drain(t, c.Events().List(t.Context(), &workos.EventsListParams{
		Events: types, PaginationParams: workos.PaginationParams{Order: new("asc"), After: &last},
	}))
	if got := mine(news, first.Name, "none"); got != nil {
		t.Errorf("an old event came again: %v", got)
	}
	if got := mine(news, second.Name, "none"); len(got) != 1 || got[0].Event != "vault.data.created" {
		t.Errorf("events of the second object: %v", got)
	}
}

func TestEventsRefusals(t *testing.T) {
	c := newClient(t)
	mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	for name, tc := range map[string]struct {
		params workos.EventsListParams
		status int
	}{
		"no types": {workos.EventsListParams{}, http.StatusUnprocessableEntity},
		"limit":    {workos.EventsListParams{Events: types, PaginationParams: workos.PaginationParams{Limit: new(0)}}, http.StatusBadRequest},
		"order":    {workos.EventsListParams{Events: types, PaginationParams: workos.PaginationParams{Order: new("up")}}, http.StatusBadRequest},
		"cursor":   {workos.EventsListParams{Events: types, PaginationParams: workos.PaginationParams{After: new("event_nope")}}, http.StatusBadRequest},
		"time":     {workos.EventsListParams{Events: types, RangeStart: new("yesterday")}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			it := c.Events().List(t.Context(), &tc.params)
			if it.Next() {
				t.Error("a page came")
			}
			api := refused(t, it.Err(), tc.status)
			if api.ErrorCode != "" {
				t.Errorf("error %q: that member is the vault's", api.ErrorCode)
			}
		})
	}
	if got := drain(t, c.Events().List(t.Context(), &workos.EventsListParams{Events: types[1:2]})); len(got) == 0 {
		t.Error("no events")
	}
}
