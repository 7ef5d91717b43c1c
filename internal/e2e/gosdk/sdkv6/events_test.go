package sdkv6_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v6/pkg/events"
	"github.com/workos/workos-go/v6/pkg/vault"

	"culvert/internal/e2e/gosdk/sdktest"
)

// This SDK names no order, so it reads the log as a consumer does: forward, from the last id it has seen.
func TestEvents(t *testing.T) {
	s := sdktest.Ours(t)
	c := newClient(t)
	log := &events.Client{APIKey: s.APIKey, Endpoint: s.BaseURL}
	types := []string{"vault.data.created", "vault.data.updated", "vault.data.deleted"}

	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{"mark": "m"})
	mustUpdate(t, c, vault.UpdateObjectOpts{Id: o.Id, Value: sdktest.Secret("")})
	if _, err := c.DeleteObject(t.Context(), vault.DeleteObjectOpts{Id: o.Id}); err != nil {
		t.Fatal(err)
	}

	var got []map[string]any
	for opts := (events.ListEventsOpts{Events: types, Limit: 3}); ; {
		page, err := log.ListEvents(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Data {
			sdktest.Match(t, "event id", sdktest.EventID, e.ID)
			var data map[string]any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if data["kv_name"] == o.Name {
				data["event"] = e.Event
				got = append(got, data)
			}
		}
		if page.ListMetadata.After == "" {
			break
		}
		opts.After = page.ListMetadata.After
	}
	written := func(event string) map[string]any {
		return map[string]any{
			"event": event, "kv_name": o.Name, "key_id": o.Metadata.KeyId, "key_context": map[string]any{"mark": "m"},
			"actor_id": o.Metadata.UpdatedBy.Id, "actor_name": o.Metadata.UpdatedBy.Name, "actor_source": "api",
		}
	}
	deleted := written(types[2])
	delete(deleted, "key_id")
	delete(deleted, "key_context")
	if diff := cmp.Diff(got, []map[string]any{written(types[0]), written(types[1]), deleted}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}

	_, err := log.ListEvents(t.Context(), events.ListEventsOpts{Events: types, After: "event_nope"})
	refused(t, err, http.StatusBadRequest, "")
	_, err = log.ListEvents(t.Context(), events.ListEventsOpts{})
	refused(t, err, http.StatusUnprocessableEntity, "")
}
