package server_test

import (
	"strings"
	"testing"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestSeveralConnections: a user's further account is added, read, used and removed by its id, and a client
// that knows of one account sees the first.
func TestSeveralConnections(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	const add, plural = `"connection_intent":"add"}`, "supports_multiple_connections=true"
	first := d.do(t, post(account, `{"access_token":"at-1",`+add)).want(t, 201).object(t)
	second := d.do(t, post(account, `{"access_token":"at-2","scopes":["read"],`+add)).want(t, 201).object(t)
	shape(t, second, accountPicture(map[string]any{"connection_role": "standard", "scopes": []any{"read"}}))
	d.do(t, post(account, `{"access_token":"at-2",`+add)).mustRefuse(t, 409, "account_exists")
	d.do(t, post(account, `{"access_token":"at-3"}`)).mustRefuse(t, 409, "account_exists")

	selected := account + "?connected_account_id=" + second["id"].(string)
	shape(t, d.do(t, get(account)).want(t, 200).object(t), first)
	shape(t, d.do(t, get(selected)).want(t, 200).object(t), second)
	d.do(t, get(account+"?"+plural)).mustRefuse(t, 409, "account_selection_required")
	d.do(t, remove(account+"?"+plural)).mustRefuse(t, 409, "account_selection_required")
	for body, want := range map[string]string{
		`{"user_id":"user_1"}`: "at-1",
		`{"user_id":"user_1","connected_account_id":"` + second["id"].(string) + `","supports_multiple_connections":true}`: "at-2",
	} {
		token := d.do(t, post(tokenPath, body)).want(t, 200).object(t)["access_token"].(map[string]any)
		if token["access_token"] != want {
			t.Errorf("%s: vended %v", body, token["access_token"])
		}
	}
	d.do(t, post(tokenPath, `{"user_id":"user_1","supports_multiple_connections":true}`)).mustRefuse(t, 409, "account_selection_required")
	d.do(t, post(tokenPath, `{"user_id":"user_1","connected_account_id":"`+marker+`"}`)).mustRefuse(t, 400, "invalid_value")

	for query, n := range map[string]int{"": 1, "?" + plural: 2} {
		data := d.do(t, get("/user_management/users/user_1/data_providers"+query)).want(t, 200).object(t)["data"].([]any)
		if all := data[0].(map[string]any)["connected_accounts"].([]any); len(all) != n {
			t.Errorf("%q lists %d accounts", query, len(all))
		}
	}
	changed := d.do(t, put(selected+"&connection_intent=reauthorize", `{"access_token":"at-4"}`)).want(t, 200).object(t)
	if changed["id"] != second["id"] || changed["connection_role"] != "standard" {
		t.Errorf("changed %v", changed)
	}
	d.do(t, remove(account)).want(t, 204)
	d.do(t, get(account)).mustRefuse(t, 404, "entity_not_found")
	shape(t, d.do(t, get(account+"?"+plural)).want(t, 200).object(t), changed)
}

// TestConnectionIntents: what an intent cannot be, for each call that takes one.
func TestConnectionIntents(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Slug, "organization")
	const authorize = "/data-integrations/provider/authorize"
	of := func(intent, more string) string {
		return `{"user_id":"user_1","connection_intent":"` + intent + `"` + more + `}`
	}
	for _, path := range []string{account, sharedAccount} {
		mustList(t, d.do(t, post(path, of("reauthorize", ""))).want(t, 422), "invalid_value")
		mustList(t, d.do(t, post(path, of(marker, ""))).want(t, 422), "invalid_value")
		d.do(t, post(path, of("add", ""))).want(t, 201)
		d.do(t, post(path, of("add", ""))).want(t, 201)
		d.do(t, put(path+"?connection_intent=add", of("reauthorize", ""))).mustRefuse(t, 400, "invalid_query")
		mustList(t, d.do(t, put(path, of("add", ""))).want(t, 422), "invalid_value")
		d.do(t, put(path+"?connection_intent=reauthorize", of("reauthorize", ""))).want(t, 200)
	}
	const unknown = "data_installation_01KAR8Z3S3Z0C5M2N1V7W9X4YQ"
	a := d.do(t, post(authorize, of(marker, ""))).want(t, 422)
	mustList(t, a, "invalid_value")
	if strings.Contains(a.body, marker) {
		t.Errorf("the input is repeated: %s", a.body)
	}
	mustList(t, d.do(t, post(authorize, of("add", `,"connected_account_id":"`+unknown+`"`))).want(t, 422), "invalid_value")
	d.do(t, post(authorize, of("reauthorize", `,"connected_account_id":"`+marker+`"`))).mustRefuse(t, 400, "invalid_value")
	d.do(t, post(authorize, of("reauthorize", `,"connected_account_id":"`+unknown+`"`))).mustRefuse(t, 404, "entity_not_found")
	d.do(t, post(authorize, of("reauthorize", ""))).mustRefuse(t, 409, "account_selection_required")
	d.do(t, post(authorize, of("add", ""))).want(t, 200)
	for range pipes.MaxConnections - 2 {
		d.do(t, post(account, of("add", ""))).want(t, 201)
	}
	d.do(t, post(authorize, of("add", ""))).mustRefuse(t, 422, "too_many_connections")
}
