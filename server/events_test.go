package server_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// TestEvents: what a consumer of the log sees of one object's life.
func TestEvents(t *testing.T) {
	d := newDoor(t)
	m := d.mustCreate(t, "thing", "1")
	path := "/vault/v1/kv/" + m["id"].(string)
	d.do(t, request{method: "PUT", path: path, body: `{"value":"2"}`}).want(t, 201)
	d.do(t, request{method: "DELETE", path: path}).want(t, 200)

	actor := func(data map[string]any) map[string]any {
		data["actor_id"], data["actor_source"], data["actor_name"] = actorShape, "api", "test admin"
		return data
	}
	event := func(name string, data map[string]any) map[string]any {
		return map[string]any{
			"object": "event", "id": eventShape, "event": name, "data": actor(data), "created_at": eventTimeShape,
		}
	}
	context := map[string]any{"org": "o1"}
	changed := map[string]any{"kv_name": "thing", "key_id": m["key_id"], "key_context": context}
	created := event("vault.data.created", changed)
	updated := event("vault.data.updated", map[string]any{"kv_name": "thing", "key_id": m["key_id"], "key_context": context})
	deleted := event("vault.data.deleted", map[string]any{"kv_name": "thing"})

	// Case 1: both encodings of the list, mixed too, oldest first.
	for _, query := range []string{
		"events=vault.data.created,vault.data.updated,vault.data.deleted",
		"events=vault.data.created&events=vault.data.updated&events=vault.data.deleted",
		"events=vault.data.created,vault.data.updated&events=vault.data.deleted,vault.data.created",
		"events[]=vault.data.created&events%5B%5D=vault.data.updated&events[]=vault.data.deleted",
		"events[]=vault.data.created,vault.data.updated&events=vault.data.deleted",
	} {
		shape(t, d.do(t, request{method: "GET", path: "/events?" + query}).want(t, 200).object(t), map[string]any{
			"object": "list", "data": []any{created, updated, deleted},
			"list_metadata": map[string]any{"before": nil, "after": nil},
		})
	}

	// Case 2: one type alone; the KEK that came with the context.
	kek := d.do(t, request{method: "GET", path: "/events?events=vault.kek.created"}).want(t, 200).object(t)
	shape(t, kek["data"], []any{event("vault.kek.created", map[string]any{"key_name": m["key_id"], "key_id": m["key_id"]})})

	// Case 3: a consumer that follows the log, one event at a time.
	var seen []any
	after := ""
	for range 10 {
		path := allEvents + "&limit=1"
		if after != "" {
			path += "&after=" + after
		}
		page := d.do(t, request{method: "GET", path: path}).want(t, 200).object(t)
		data := page["data"].([]any)
		if len(data) == 0 {
			break
		}
		seen = append(seen, data...)
		after = data[0].(map[string]any)["id"].(string)
	}
	if len(seen) != 4 {
		t.Errorf("%d events, want 4", len(seen))
	}

	// Case 4: events of the contract that this server does not write are no mistake.
	d.do(t, request{method: "GET", path: "/events?events=pipes.connected_account.connected"}).want(t, 200)
}

// TestEventsRefused: refusals have the shape of the contract's section 3.
func TestEventsRefused(t *testing.T) {
	d := newDoor(t)
	refusal := func(code, field string, message any) map[string]any {
		return map[string]any{
			"message": "Validation failed.", "code": "invalid_request_parameters", "request_id": requestShape,
			"errors": []any{map[string]any{"code": code, "field": field, "message": message}},
		}
	}
	missing := d.do(t, request{method: "GET", path: "/events"}).want(t, 422)
	shape(t, missing.object(t), refusal("required", "events", "events is required."))
	d.do(t, request{method: "GET", path: "/events?events="}).want(t, 422)
	d.do(t, request{method: "GET", path: "/events?events[]="}).want(t, 422)
	d.do(t, request{method: "GET", path: "/events?events[]=vault.data.created&events[]=user.created"}).want(t, 422)
	unknown := d.do(t, request{method: "GET", path: "/events?events=vault.data.created,user.created"}).want(t, 422)
	shape(t, unknown.object(t), refusal("unknown_event_type", "events", "events may only name events that the API has, in full and without wildcards."))

	for _, query := range []string{
		"&limit=0", "&limit=-1", "&limit=x", "&order=sideways", "&limit=1&limit=2",
		"&after=x", "&before=event_1", "&range_start=yesterday",
		"&after=event_01ARZ3NDEKTSV4RRFFQ69G5FAV&range_start=2026-01-01T00:00:00Z",
		"&after=event_01ARZ3NDEKTSV4RRFFQ69G5FAV&before=event_01ARZ3NDEKTSV4RRFFQ69G5FAV",
	} {
		d.do(t, request{method: "GET", path: allEvents + query}).want(t, 400)
	}
	for _, query := range []string{
		"", "&limit=100", "&limit=1000", "&order=asc", "&order=desc", "&order=normal", "&after=", "&unknown=1",
		"&range_start=2026-01-01T00:00:00Z&range_end=2027-01-01T00:00:00%2B01:00",
	} {
		d.do(t, request{method: "GET", path: allEvents + query}).want(t, 200)
	}
}

// TestEventsWritten: whatever this server writes can be asked for.
func TestEventsWritten(t *testing.T) {
	d := newDoor(t)
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/events/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	ast.Inspect(file, func(n ast.Node) bool {
		constant, ok := n.(*ast.ValueSpec)
		if !ok || len(constant.Values) != 1 {
			return true
		}
		name, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		asked++
		d.do(t, request{method: "GET", path: "/events?events=" + name}).want(t, 200)
		return false
	})
	if asked < 20 {
		t.Errorf("asked for %d events", asked)
	}
}
