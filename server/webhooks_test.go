package server_test

import (
	"maps"
	"regexp"
	"strings"
	"testing"
)

const (
	hooks    = "/webhook_endpoints"
	ownHooks = "/culvert/v1/webhooks"
)

// mustEndpoint makes a webhook endpoint. Nothing is delivered by this door.
func (d *door) mustEndpoint(t *testing.T, url string) map[string]any {
	t.Helper()
	return d.do(t, post(hooks, `{"endpoint_url":"`+url+`","events":["vault.data.created"]}`)).want(t, 201).object(t)
}

// webhookVisits is what TestCanary sends to the routes of webhooks. A URL is no secret here, and shown.
func webhookVisits(id string) map[string]visit {
	one := ownHooks + "/" + id
	body := `{"endpoint_url":"http://127.0.0.1:1/good","events":["vault.data.read"],"` + canary + `":"` + canary + `"}`
	return map[string]visit{
		"POST /webhook_endpoints": {
			good: []request{post(hooks, body)},
			bad: []request{
				post(hooks, canary), post(hooks, `{"endpoint_url":"`+canary+`","events":["vault.data.read"]}`),
				post(hooks, `{"endpoint_url":"https://`+canary+`:x/","events":["vault.data.read"]}`), post(hooks, `{"endpoint_url":["`+canary+`"],"events":"`+canary+`"}`),
				post(hooks, `{"endpoint_url":"https://u:`+canary+`@receiver.example/","events":["vault.data.read"]}`),
				post(hooks, `{"endpoint_url":"http://127.0.0.1:1/","events":["`+canary+`"]}`), post(hooks, body),
			},
		},
		"GET /webhook_endpoints": {
			good: []request{get(hooks), get(hooks + "?" + canary + "=1")},
			bad:  []request{get(hooks + "?after=" + canary), get(hooks + "?order=" + canary), get(hooks + "?limit=" + canary)},
		},
		"PATCH /webhook_endpoints/:id": {
			good: []request{patch(hooks+"/"+id, `{"status":"disabled","events":["vault.data.read","vault.data.created"]}`)},
			bad: []request{patch(hooks+"/"+canary, `{}`), patch(hooks+"/"+id, `{"status":"`+canary+`"}`), patch(hooks+"/"+id, `{"events":["`+canary+`"]}`),
				patch(hooks+"/"+id, `{"endpoint_url":"`+canary+`"}`), patch(hooks+"/"+id, canary)},
		},
		"GET /culvert/v1/webhooks/:id": {good: []request{get(one)}, bad: []request{get(ownHooks + "/" + canary), get(one + "?" + canary + "=%z")}},
		"POST /culvert/v1/webhooks/:id/rotate-secret": {
			good: []request{post(one+"/rotate-secret", ""), post(one+"/rotate-secret", `{"overlap":"1h","`+canary+`":1}`)},
			bad: []request{post(one+"/rotate-secret", `{"overlap":"`+canary+`"}`), post(one+"/rotate-secret", canary),
				post(ownHooks+"/"+canary+"/rotate-secret", `{}`)},
		},
		"POST /culvert/v1/webhooks/:id/replay": {
			good: []request{post(one+"/replay", `{"since":"2026-01-01T00:00:00Z","`+canary+`":1}`)},
			bad: []request{post(one+"/replay", `{"since":"`+canary+`"}`), post(one+"/replay", `{"after":"`+canary+`"}`), post(one+"/replay", canary),
				post(ownHooks+"/"+canary+"/replay", `{"since":"2026-01-01T00:00:00Z"}`)},
		},
		"GET /culvert/v1/webhooks/:id/deliveries": {good: []request{get(one + "/deliveries")},
			bad: []request{get(one + "/deliveries?after=" + canary), get(ownHooks + "/" + canary + "/deliveries")}},
		"GET /culvert/v1/webhooks/:id/dead-letters": {good: []request{get(one + "/dead-letters")},
			bad: []request{get(one + "/dead-letters?after=" + canary), get(ownHooks + "/" + canary + "/dead-letters")}},
		"DELETE /webhook_endpoints/:id": {good: []request{remove(hooks + "/" + id)}, bad: []request{remove(hooks + "/" + canary), remove(hooks + "/" + id + "?" + canary + "=%z")}},
	}
}

func patch(path, body string) request { return request{method: "PATCH", path: path, body: body} }

// TestWebhookEndpoints: the life of an endpoint over the contract's routes and our own, and its refusals.
func TestWebhookEndpoints(t *testing.T) {
	d := newDoor(t)
	secret := regexp.MustCompile(`^whsec_[0-9A-Za-z]{43}$`)
	made := d.do(t, post(hooks, `{"endpoint_url":"http://127.0.0.1:1/a","events":["vault.data.created","pipes.connected_account.connected","vault.data.created"]}`)).want(t, 201)
	if got := made.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("an answer with a secret may be stored: %q", got)
	}
	first := made.object(t)
	if !secret.MatchString(first["secret"].(string)) {
		t.Errorf("secret %v", first["secret"])
	}
	want := map[string]any{
		"object": "webhook_endpoint", "id": first["id"], "endpoint_url": "http://127.0.0.1:1/a", "status": "enabled", "secret": first["secret"],
		"events": []any{"vault.data.created", "pipes.connected_account.connected"}, "created_at": eventTimeShape, "updated_at": eventTimeShape, "previous_secret_until": nil,
	}
	shape(t, first, want)
	one := hooks + "/" + first["id"].(string)
	own := ownHooks + "/" + first["id"].(string)

	// Case 1: never again the secret; the end of it tells which one it is.
	hint := "whsec_****" + first["secret"].(string)[45:]
	want["secret"] = hint
	second := d.mustEndpoint(t, "http://127.0.0.1:1/b")
	page := d.do(t, get(hooks+"?order=asc&limit=1")).want(t, 200).object(t)
	shape(t, page, map[string]any{"object": "list", "data": []any{want}, "list_metadata": map[string]any{"before": nil, "after": first["id"]}})
	for query, id := range map[string]any{
		"?order=asc&after=" + first["id"].(string): second["id"], "?limit=1": second["id"], "?order=desc&after=" + second["id"].(string): first["id"],
		"?order=normal&before=" + second["id"].(string): first["id"], "?order=asc&before=" + second["id"].(string): first["id"],
	} {
		found := d.do(t, get(hooks+query)).want(t, 200).object(t)["data"].([]any)
		if len(found) != 1 || found[0].(map[string]any)["id"] != id {
			t.Errorf("%s: %v", query, found)
		}
	}

	// Case 2: changes; what is not named stays.
	want["status"], want["events"] = "disabled", []any{"vault.data.deleted"}
	shape(t, d.do(t, patch(one, `{"status":"disabled","events":["vault.data.deleted"]}`)).want(t, 200).object(t), want)
	want["status"], want["endpoint_url"] = "enabled", "http://127.0.0.1:1/c"
	shape(t, d.do(t, patch(one, `{"status":"enabled","endpoint_url":"http://127.0.0.1:1/c"}`)).want(t, 200).object(t), want)
	shape(t, d.do(t, patch(one, `{}`)).want(t, 200).object(t), want)
	rotated := d.do(t, post(own+"/rotate-secret", `{"overlap":"1h"}`)).want(t, 200).object(t)
	if !secret.MatchString(rotated["secret"].(string)) || rotated["secret"] == first["secret"] || rotated["previous_secret_until"] == nil {
		t.Errorf("rotated: %v", rotated)
	}

	// Case 3: our own view, its lists and a replay.
	shown := maps.Clone(rotated)
	shown["secret"] = "whsec_****" + rotated["secret"].(string)[45:]
	shown["delivery"] = map[string]any{
		"state": "delivering", "cursor": nil, "attempts": 0.0, "accepted_at": nil, "failures": 0.0, "failing_since": nil, "next_attempt_at": nil, "dead_letters": 0.0,
	}
	got := d.do(t, get(own)).want(t, 200).object(t)
	shape(t, got, shown)
	d.mustCreate(t, "thing", "1")
	event := d.do(t, get("/events?events=vault.data.created")).want(t, 200).object(t)["data"].([]any)[0].(map[string]any)["id"]
	shown["delivery"].(map[string]any)["cursor"] = event
	shape(t, d.do(t, post(own+"/replay", `{"after":"`+event.(string)+`"}`)).want(t, 200).object(t), shown)
	for _, list := range []string{"/deliveries", "/dead-letters"} {
		empty := d.do(t, get(own+list)).want(t, 200).object(t)
		shape(t, empty, map[string]any{"object": "list", "data": []any{}, "list_metadata": map[string]any{"before": nil, "after": nil}})
	}

	// Case 4: refusals, in the contract's words.
	for body, code := range map[string]string{
		`{"events":["vault.data.read"]}`: "required", `{"endpoint_url":"http://127.0.0.1:1/x"}`: "required", `{"endpoint_url":"http://127.0.0.1:1/x","events":[]}`: "required",
		`{"endpoint_url":"http://127.0.0.1:1/x","events":["user.created"]}`: "unknown_event_type", `{"endpoint_url":"http://127.0.0.1:1/x","events":["*"]}`: "unknown_event_type",
	} {
		if a := d.do(t, post(hooks, body)).want(t, 422); !strings.Contains(a.body, `"code":"invalid_request_parameters"`) || !strings.Contains(a.body, `"code":"`+code+`"`) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	for _, url := range []string{"", "x", "http://receiver.example/", "https://10.0.0.1/", "https://receiver.example:8443/", "ftp://127.0.0.1/", "https://u@receiver.example/", "https://[fe80::1]/",
		"https://receiver.example/" + strings.Repeat("x", 2048)} {
		d.do(t, post(hooks, `{"endpoint_url":"`+url+`","events":["vault.data.read"]}`)).mustRefuse(t, 422, "invalid_url")
	}
	d.do(t, post(hooks, `{"endpoint_url":"http://127.0.0.1:1/c","events":["vault.data.read"]}`)).mustRefuse(t, 409, "duplicate_endpoint")
	d.do(t, patch(one, `{"endpoint_url":"http://127.0.0.1:1/b"}`)).mustRefuse(t, 409, "duplicate_endpoint")
	d.do(t, patch(one, `{"status":"paused"}`)).want(t, 422)
	d.do(t, post(own+"/replay", `{}`)).want(t, 422)
	d.do(t, post(own+"/replay", `{"after":"event_01ARZ3NDEKTSV4RRFFQ69G5FAV"}`)).mustRefuse(t, 400, "invalid_cursor")
	d.do(t, post(own+"/rotate-secret", `{"overlap":"721h"}`)).want(t, 422)

	// Case 5: gone is gone.
	d.do(t, remove(one)).want(t, 204)
	for _, q := range []request{remove(one), patch(one, `{}`), get(own), post(own+"/rotate-secret", ""), post(own+"/replay", `{"since":"2026-01-01T00:00:00Z"}`),
		get(own + "/deliveries"), get(own + "/dead-letters")} {
		d.do(t, q).mustRefuse(t, 404, "entity_not_found")
	}
	told := d.do(t, get("/events?events=webhook_endpoint.created,webhook_endpoint.updated,webhook_endpoint.secret_rotated,webhook_endpoint.replayed,webhook_endpoint.deleted&limit=100")).want(t, 200)
	for _, kind := range []string{"created", "updated", "secret_rotated", "replayed", "deleted"} {
		if !strings.Contains(told.body, `"webhook_endpoint.`+kind+`"`) || strings.Contains(told.body, "127.0.0.1") {
			t.Errorf("events of endpoints: %s", told.body)
		}
	}

	// Case 6: there may be so many.
	for n := range 19 {
		d.mustEndpoint(t, "http://127.0.0.1:1/"+strings.Repeat("n", n))
	}
	d.do(t, post(hooks, `{"endpoint_url":"http://127.0.0.1:1/more","events":["vault.data.read"]}`)).mustRefuse(t, 409, "too_many_endpoints")
}
