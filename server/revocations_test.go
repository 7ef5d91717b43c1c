package server_test

import (
	"testing"
	"time"

	"culvert/pipes/pipestest"
)

// TestRevocations: who disconnects says whether the provider is told, and reads what became of it.
func TestRevocations(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	made := d.mustIntegration(t, pipestest.Slug, "")
	const path = "/culvert/v1/revocations"
	empty := map[string]any{"object": "list", "data": []any{}, "list_metadata": map[string]any{"before": nil, "after": nil}}
	shape(t, d.do(t, get(path)).want(t, 200).object(t), empty)

	// Nothing is revoked as long as nobody asks for it.
	silent := d.do(t, post(account, `{"access_token":"at-0"}`)).want(t, 201).object(t)["id"].(string)
	d.do(t, remove(account+"?revoke_at_provider=maybe")).mustRefuse(t, 400, "invalid_query")
	d.do(t, remove(account)).want(t, 204)
	d.do(t, get(path+"/"+silent)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(path+"/x")).mustRefuse(t, 404, "entity_not_found")

	id := d.mustRevoke(t, "user_1", "at-1")
	want := map[string]any{
		"object": "revocation", "id": id, "connected_account_id": id, "attempt_id": nil, "data_integration_id": made["id"], "provider_slug": "provider",
		"user_id": "user_1", "organization_id": nil, "state": "revoked", "code": nil, "attempts": 1.0,
		"created_at": eventTimeShape, "next_attempt_at": nil, "ended_at": eventTimeShape,
	}
	var got map[string]any
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = d.do(t, get(path+"/"+id)).want(t, 200).object(t); got["state"] != "pending" {
			break
		}
	}
	shape(t, got, want)
	empty["data"] = []any{want}
	shape(t, d.do(t, get(path+"?limit=5")).want(t, 200).object(t), empty)
	d.do(t, get(path+"?after=x")).mustRefuse(t, 400, "invalid_cursor")

	// The integration's own choice, and the call that wins over it.
	updated := d.do(t, put(integrations+"/provider", `{"revoke_at_provider":true}`)).want(t, 200).object(t)
	if updated["revoke_at_provider"] != true {
		t.Errorf("integration %v", updated)
	}
	for query, status := range map[string]int{"": 200, "?revoke_at_provider=false": 404} {
		id := d.do(t, post(account, `{"access_token":"at-2"}`)).want(t, 201).object(t)["id"].(string)
		d.do(t, remove(account+query)).want(t, 204)
		d.do(t, get(path+"/"+id)).want(t, status)
	}
	d.do(t, remove(integrations+"/provider?revoke_at_provider=x")).mustRefuse(t, 400, "invalid_query")
	d.do(t, remove(integrations+"/provider?revoke_at_provider=false")).want(t, 204)
}
