package server_test

import (
	"strings"
	"testing"
)

const (
	apiKeys     = "/culvert/v1/api-keys"
	roles       = "/culvert/v1/roles"
	orgKeys     = "/organizations/org_1/api_keys"
	validations = "/api_keys/validations"
	roleBody    = `{"name":"made","rules":[{"effect":"allow","actions":["vault.data.read"],"scope":{"name_prefix":"a"}}]}`
)

// mustKey makes an API key, and returns its id and its text.
func (d *door) mustKey(t *testing.T, path, body string) (id, value string) {
	t.Helper()
	a := d.do(t, post(path, body)).want(t, 201)
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of an answer with a key: %q", got)
	}
	o := a.object(t)
	return o["id"].(string), o["value"].(string)
}

// as sends a request with another API key.
func (q request) as(value string) request { return q.with("Authorization", "Bearer "+value) }

// admissionVisits is what TestCanary sends to the routes of API keys and roles, and a key that was made for it.
func (d *door) admissionVisits(t *testing.T) (map[string]visit, string) {
	t.Helper()
	made := func() string {
		id, _ := d.mustKey(t, apiKeys, `{"name":"visited","role":"reader"}`)
		return apiKeys + "/" + id
	}
	owned := func() string {
		id, _ := d.mustKey(t, orgKeys, `{"name":"visited"}`)
		return "/api_keys/" + id
	}
	_, value := d.mustKey(t, orgKeys, `{"name":"of an organization","permissions":["posts:read"]}`)
	d.do(t, post(roles, strings.Replace(roleBody, "made", "visited", 1))).want(t, 201)
	rule := func(more string) string { return `{"name":"r-2","rules":[{"effect":"allow",` + more + `}]}` }
	return map[string]visit{
		"POST /culvert/v1/api-keys": {
			good: []request{post(apiKeys, `{"name":"k","role":"writer","`+canary+`":"`+canary+`"}`)},
			bad: []request{post(apiKeys, canary), post(apiKeys, `{"name":"`+canary+`\u0000","role":"reader"}`), post(apiKeys, `{"name":"n","role":"`+canary+`"}`),
				post(apiKeys, `{"name":"n","permissions":["`+canary+`","`+canary+`"]}`), post(apiKeys, `{"name":"n","role":"reader","expires_in":"`+canary+`"}`),
				post(apiKeys, `{"name":"n","role":"reader","expires_at":"`+canary+`"}`), post(apiKeys, `{"name":"n","role":"reader","scope":"`+canary+`"}`),
				post(apiKeys, `{"name":"n","role":"reader","scope":{"context":{"`+canary+`\n":"v"}}}`), post(apiKeys, `{"name":"n","role":"reader","organization_id":"`+canary+`\u0000"}`)},
		},
		"GET /culvert/v1/api-keys":                      {good: []request{get(apiKeys + "?" + canary + "=1")}, bad: []request{get(apiKeys + "?limit=" + canary), get(apiKeys + "?after=" + canary), get(apiKeys + "?order=" + canary)}},
		"GET /culvert/v1/api-keys/:id":                  {good: []request{get(made())}, bad: []request{get(apiKeys + "/" + canary)}},
		"POST /culvert/v1/api-keys/:id/rotate":          {good: []request{post(made()+"/rotate", "")}, bad: []request{post(made()+"/rotate", `{"overlap":"`+canary+`"}`), post(made()+"/rotate", canary), post(apiKeys+"/"+canary+"/rotate", "")}},
		"POST /culvert/v1/api-keys/:id/expire":          {good: []request{post(made()+"/expire", "{}")}, bad: []request{post(made()+"/expire", `{"expires_in":"`+canary+`"}`), post(apiKeys+"/"+canary+"/expire", "")}},
		"DELETE /culvert/v1/api-keys/:id":               {good: []request{remove(made())}, bad: []request{remove(apiKeys + "/" + canary), remove(made() + "?force=" + canary)}},
		"POST /culvert/v1/roles":                        {good: []request{post(roles, roleBody)}, bad: []request{post(roles, canary), post(roles, rule(`"actions":["`+canary+`"]`)), post(roles, rule(`"actions":"`+canary+`"`)), post(roles, `{"name":"`+canary+`","rules":[]}`), post(roles, `{"name":"r-3","description":"`+canary+`\u0000","rules":["`+canary+`"]}`)}},
		"GET /culvert/v1/roles":                         {good: []request{get(roles + "?" + canary)}, bad: []request{get(roles + "?" + canary + "=%z")}},
		"GET /culvert/v1/roles/:name":                   {good: []request{get(roles + "/visited"), get(roles + "/reader")}, bad: []request{get(roles + "/" + canary)}},
		"PUT /culvert/v1/roles/:name":                   {good: []request{put(roles+"/visited", roleBody)}, bad: []request{put(roles+"/visited", canary), put(roles+"/"+canary, roleBody)}},
		"DELETE /culvert/v1/roles/:name":                {good: []request{remove(roles + "/visited")}, bad: []request{remove(roles + "/" + canary)}},
		"POST /culvert/v1/access/explain":               {good: []request{post("/culvert/v1/access/explain", `{"action":"vault.data.read","name":"`+canary+`"}`)}, bad: []request{post("/culvert/v1/access/explain", `{"action":"`+canary+`"}`), post("/culvert/v1/access/explain", `{"action":"vault.data.read","api_key_id":"`+canary+`"}`)}},
		"GET /organizations/:organization_id/api_keys":  {good: []request{get(orgKeys)}, bad: []request{get(orgKeys + "?limit=" + canary), get("/organizations/" + canary + "%00/api_keys")}},
		"POST /organizations/:organization_id/api_keys": {good: []request{post(orgKeys, `{"name":"k","`+canary+`":1}`)}, bad: []request{post(orgKeys, canary), post(orgKeys, `{"name":"`+canary+`\n"}`), post("/organizations/"+canary+"%0A/api_keys", `{"name":"k"}`)}},
		"POST /api_keys/validations":                    {good: []request{post(validations, `{"value":"`+value+`"}`), post(validations, `{"value":"`+canary+`"}`)}, bad: []request{post(validations, `{"value":["`+canary+`"]}`), post(validations, canary)}},
		"POST /api_keys/:id/expire":                     {good: []request{post(owned()+"/expire", "")}, bad: []request{post(owned()+"/expire", `{"expires_at":"`+canary+`"}`), post("/api_keys/"+canary+"/expire", "")}},
		"DELETE /api_keys/:id":                          {good: []request{remove(owned())}, bad: []request{remove("/api_keys/" + canary)}},
	}, value
}

// keyPicture is an API key as our own routes tell it.
func keyPicture(id string, change map[string]any) map[string]any {
	picture := map[string]any{
		"object": "api_key", "id": id, "owner": nil, "name": "ci", "obfuscated_value": nil, "last_used_at": nil, "expires_at": nil,
		"permissions": []any{}, "created_at": eventTimeShape, "updated_at": eventTimeShape, "organization_id": nil, "role": "reader",
		"scope": nil, "state": "active", "revoked_at": nil, "created_by": nil, "predecessor_id": nil, "successor_id": nil,
	}
	for name, value := range change {
		picture[name] = value
	}
	return picture
}

// TestAPIKeys walks a key through its life over HTTP.
func TestAPIKeys(t *testing.T) {
	d := newDoor(t)
	environment := map[string]any{"type": "environment", "id": d.stack.Environment.ID().OnWire()}
	admin := "key_" + d.stack.APIKey.ID
	d.mustCreate(t, "thing", "value")
	thing := get(kv + "/name/thing")

	id, value := d.mustKey(t, apiKeys, `{"name":"ci","role":"reader","expires_in":"720h"}`)
	obfuscated := "sk_..." + value[len(value)-4:]
	base := map[string]any{"owner": environment, "obfuscated_value": obfuscated, "created_by": admin, "expires_at": eventTimeShape}
	shape(t, d.do(t, get(apiKeys+"/"+id)).want(t, 200).object(t), keyPicture(id, base))
	// The trail's spelling of the id is understood.
	shape(t, d.do(t, get(apiKeys+"/"+strings.TrimPrefix(id, "api_"))).want(t, 200).object(t), keyPicture(id, base))
	d.do(t, thing.as(value)).want(t, 200)
	d.do(t, post(kv, createBody("x", "v")).as(value)).mustRefuse(t, 403, "forbidden")

	// Rotated: both work, and each names the other.
	next, nextValue := d.mustKey(t, apiKeys+"/"+id+"/rotate", `{"overlap":"1h"}`)
	d.do(t, thing.as(value)).want(t, 200)
	d.do(t, thing.as(nextValue)).want(t, 200)
	base["successor_id"] = next
	shape(t, d.do(t, get(apiKeys+"/"+id)).want(t, 200).object(t), keyPicture(id, base))
	d.do(t, post(apiKeys+"/"+id+"/rotate", "")).mustRefuse(t, 409, "api_key_rotated")
	if got := d.do(t, get(apiKeys+"/"+next)).want(t, 200).object(t)["predecessor_id"]; got != id {
		t.Errorf("predecessor %v, want %s", got, id)
	}

	// Ended: one by expiry, one by revocation; both stay in the list.
	d.do(t, post(apiKeys+"/"+id+"/expire", "")).want(t, 200)
	d.do(t, thing.as(value)).mustRefuse(t, 401, "unauthorized")
	d.do(t, post(apiKeys+"/"+id+"/expire", `{"expires_at":null}`)).mustRefuse(t, 409, "api_key_already_expired")
	d.do(t, remove(apiKeys+"/"+next)).want(t, 204)
	d.do(t, thing.as(nextValue)).mustRefuse(t, 401, "unauthorized")
	d.do(t, remove(apiKeys+"/"+next)).want(t, 204)
	page := d.do(t, get(apiKeys+"?order=asc")).want(t, 200).object(t)
	var states []string
	for _, k := range page["data"].([]any) {
		states = append(states, k.(map[string]any)["state"].(string))
		if strings.Contains(strings.Join(states, ""), "value") {
			t.Error("a list tells a value")
		}
	}
	if got := strings.Join(states, " "); got != "active expired revoked" {
		t.Errorf("states %s", got)
	}
	d.do(t, get(apiKeys+"/"+d.stack.IDs.UUID())).mustRefuse(t, 404, "entity_not_found")

	// The last key with every right stays, unless somebody insists.
	root := apiKeys + "/api_key_" + d.stack.APIKey.ID
	d.do(t, remove(root)).mustRefuse(t, 409, "last_admin_api_key")
	d.do(t, post(root+"/expire", "")).mustRefuse(t, 409, "last_admin_api_key")
	second, secondValue := d.mustKey(t, apiKeys, `{"name":"second","role":"admin"}`)
	d.do(t, remove(root)).want(t, 204)
	d.do(t, thing).mustRefuse(t, 401, "unauthorized")
	d.do(t, remove(apiKeys+"/"+second).as(secondValue)).mustRefuse(t, 409, "last_admin_api_key")
	d.do(t, remove(apiKeys+"/"+second+"?force=true").as(secondValue)).want(t, 204)
	d.do(t, thing.as(secondValue)).mustRefuse(t, 401, "unauthorized")
}

// TestOrganizationKeys: the contract's routes, letter for letter, and what such a key reaches.
func TestOrganizationKeys(t *testing.T) {
	d := newDoor(t)
	owner := map[string]any{"type": "organization", "id": "org_1"}
	a := d.do(t, post(orgKeys, `{"name":"theirs","permissions":["posts:read","vault.data.read"],"expires_at":"2099-01-01T00:00:00Z"}`)).want(t, 201).object(t)
	value := a["value"].(string)
	picture := map[string]any{
		"object": "api_key", "id": a["id"], "owner": owner, "name": "theirs", "obfuscated_value": "sk_..." + value[len(value)-4:],
		"last_used_at": nil, "expires_at": "2099-01-01T00:00:00.000Z", "permissions": []any{"posts:read", "vault.data.read"},
		"created_at": eventTimeShape, "updated_at": eventTimeShape,
	}
	withValue := map[string]any{"value": value}
	for name, v := range picture {
		withValue[name] = v
	}
	shape(t, a, withValue)
	shape(t, d.do(t, get(orgKeys)).want(t, 200).object(t), map[string]any{
		"object": "list", "data": []any{picture}, "list_metadata": map[string]any{"before": nil, "after": nil},
	})
	if none := d.do(t, get("/organizations/org_2/api_keys")).want(t, 200).object(t)["data"].([]any); len(none) != 0 {
		t.Errorf("another organization has keys: %v", none)
	}
	shape(t, d.do(t, post(validations, `{"value":"`+value+`"}`)).want(t, 200).object(t), map[string]any{"api_key": picture})

	// What is no usable key of an organization is null: garbage, a wrong secret, the environment's own key.
	for _, other := range []string{"", "x", spliced(t, value, d.key()), d.key()} {
		shape(t, d.do(t, post(validations, `{"value":"`+other+`"}`)).want(t, 200).object(t), map[string]any{"api_key": nil})
	}

	// It reaches what is of its organization, and of that what its permissions say.
	d.do(t, post(kv, `{"name":"mine","value":"v","key_context":{"organization_id":"org_1","team":"a"}}`)).want(t, 201)
	d.do(t, post(kv, `{"name":"other","value":"v","key_context":{"organization_id":"org_2"}}`)).want(t, 201)
	d.do(t, post(kv, `{"name":"nobodys","value":"v","key_context":{}}`)).want(t, 201)
	d.do(t, get(kv+"/name/mine").as(value)).want(t, 200)
	for _, q := range []request{get(kv + "/name/other"), get(kv + "/name/nobodys"), get(kv), remove(kv + "/" + d.stack.IDs.UUID()), get(orgKeys), get(allEvents)} {
		d.do(t, q.as(value)).mustRefuse(t, 403, "forbidden")
	}

	// The contract's routes know nothing of keys that no organization owns.
	d.do(t, remove("/api_keys/api_key_"+d.stack.APIKey.ID)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, post("/api_keys/api_key_"+d.stack.APIKey.ID+"/expire", "")).mustRefuse(t, 404, "entity_not_found")

	id := "/api_keys/" + a["id"].(string)
	picture["expires_at"] = nil
	shape(t, d.do(t, post(id+"/expire", `{"expires_at":null}`)).want(t, 200).object(t), picture)
	d.do(t, remove(id)).want(t, 204)
	d.do(t, remove(id)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(kv+"/name/mine").as(value)).mustRefuse(t, 401, "unauthorized")
	shape(t, d.do(t, post(validations, `{"value":"`+value+`"}`)).want(t, 200).object(t), map[string]any{"api_key": nil})
	if left := d.do(t, get(orgKeys)).want(t, 200).object(t)["data"].([]any); len(left) != 0 {
		t.Errorf("a deleted key is listed: %v", left)
	}
	d.wantKeyEvents(t, a["id"].(string), owner, "api_key.created", "api_key.updated", "api_key.revoked")
}

// wantKeyEvents checks the events of a key: their order, whose the key is, and that no secret is in them.
func (d *door) wantKeyEvents(t *testing.T, id string, owner map[string]any, want ...string) {
	t.Helper()
	page := d.do(t, get("/events?events=api_key.created,api_key.updated,api_key.revoked&organization_id=org_1")).want(t, 200).object(t)
	var got []string
	for _, e := range page["data"].([]any) {
		event := e.(map[string]any)
		data := event["data"].(map[string]any)
		if data["id"] != id {
			continue
		}
		got = append(got, event["event"].(string))
		wanted := map[string]any{
			"object": "api_key", "id": id, "owner": owner, "organization_id": "org_1", "name": "theirs", "obfuscated_value": data["obfuscated_value"], "last_used_at": nil,
			"expires_at": data["expires_at"], "permissions": []any{"posts:read", "vault.data.read"}, "created_at": eventTimeShape,
			"updated_at": eventTimeShape, "actor_id": "key_" + d.stack.APIKey.ID, "actor_source": "api", "actor_name": "test admin",
		}
		if event["event"] == "api_key.updated" {
			wanted["previous_attributes"] = map[string]any{"expires_at": "2099-01-01T00:00:00.000Z"}
		}
		shape(t, data, wanted)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("events %v, want %v", got, want)
	}
}
