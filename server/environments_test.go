package server_test

import (
	"maps"
	"net/http"
	"testing"

	"culvert/internal/access"
	"culvert/internal/audit"
)

const environmentsPath = "/culvert/v1/environments"

// environmentVisits is what TestCanary sends to the routes of environments. A name is no secret.
func environmentVisits() map[string]visit {
	return map[string]visit{
		"POST /culvert/v1/environments": {
			good: []request{post(environmentsPath, `{"name":"visited","`+canary+`":"`+canary+`"}`)},
			bad: []request{post(environmentsPath, canary), post(environmentsPath, `{"name":"`+canary+`\n"}`), post(environmentsPath, `{"name":["`+canary+`"]}`),
				post(environmentsPath, `{"name":"default","x":"`+canary+`"}`)},
		},
		"GET /culvert/v1/environments":     {good: []request{get(environmentsPath + "?" + canary)}, bad: []request{get(environmentsPath + "?" + canary + "=%z")}},
		"GET /culvert/v1/environments/:id": {good: []request{get(environmentsPath + "/default")}, bad: []request{get(environmentsPath + "/" + canary), get(environmentsPath + "/default?" + canary + "=%z")}},
	}
}

// mustEnvironment makes an environment, and returns its id and its first API key.
func (d *door) mustEnvironment(t *testing.T, name string) (id, key string) {
	t.Helper()
	made := d.do(t, post(environmentsPath, `{"name":"`+name+`"}`)).want(t, http.StatusCreated).object(t)
	return made["id"].(string), made["api_key"].(map[string]any)["value"].(string)
}

// TestEnvironments: one is made, with a key that works in it and sees nothing else; who may not make one cannot.
func TestEnvironments(t *testing.T) {
	d := newDoor(t)
	reply := d.do(t, post(environmentsPath, `{"name":"sandbox"}`).with("Idempotency-Key", "k")).want(t, http.StatusCreated)
	if got := reply.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of an answer with a key: %q", got)
	}
	made := reply.object(t)
	id, first := made["id"].(string), made["api_key"].(map[string]any)
	key := first["value"].(string)
	picture := map[string]any{"object": "environment", "id": id, "name": "sandbox", "created_at": eventTimeShape}
	whole := maps.Clone(picture)
	whole["api_key"] = keyPicture(first["id"].(string), map[string]any{
		"name": "root", "role": "admin", "created_by": "system", "value": key, "obfuscated_value": "sk_..." + key[len(key)-4:],
		"owner": map[string]any{"type": "environment", "id": id},
	})
	shape(t, made, whole)
	d.do(t, post(environmentsPath, `{"name":"sandbox"}`).with("Idempotency-Key", "k")).mustRefuse(t, http.StatusConflict, "environment_exists")
	d.do(t, post(environmentsPath, `{"name":"default"}`)).mustRefuse(t, http.StatusConflict, "environment_exists")
	for _, name := range []string{"", "Sandbox", "sand_box", "1st", "sand/box", "environment_" + id} {
		d.do(t, post(environmentsPath, `{"name":"`+name+`"}`)).want(t, http.StatusUnprocessableEntity)
	}
	listed := d.do(t, get(environmentsPath)).want(t, 200).object(t)["data"].([]any)
	if len(listed) != 2 {
		t.Fatalf("listed: %v", listed)
	}
	shape(t, listed[1], picture)
	for _, named := range []string{id, "sandbox"} {
		shape(t, d.do(t, get(environmentsPath+"/"+named)).want(t, 200).object(t), picture)
	}

	// The new key sees its own environment and may make none, whatever role it gives itself.
	own := d.do(t, get(environmentsPath).as(key)).want(t, 200).object(t)["data"].([]any)
	if len(own) != 1 || own[0].(map[string]any)["id"] != id {
		t.Errorf("the sandbox's key sees %v", own)
	}
	d.do(t, get(environmentsPath+"/default").as(key)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(environmentsPath+"/"+d.stack.Environment.ID().OnWire()).as(key)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(environmentsPath+"/sandbox").as(key)).want(t, 200)
	refused := d.do(t, post(environmentsPath, `{"name":"more"}`).as(key))
	refused.mustRefuse(t, 403, "forbidden")
	records := d.stack.MustAuditOf(t, refused.header.Get("X-Request-Id"))
	if len(records) != 1 || records[0].Result != audit.Denied || records[0].Action != access.EnvironmentsCreate || records[0].EnvironmentID == d.stack.Environment.ID() {
		t.Errorf("records of a refusal: %+v", records)
	}
	why := d.do(t, post("/culvert/v1/access/explain", `{"action":"environments.create"}`).as(key)).want(t, 200).object(t)
	if why["allowed"] != false || why["reason"] != "other_environment" {
		t.Errorf("explained: %v", why)
	}
	why = d.do(t, post("/culvert/v1/access/explain", `{"action":"environments.create"}`)).want(t, 200).object(t)
	if why["allowed"] != true {
		t.Errorf("explained for the first environment: %v", why)
	}
	// A reader of the first environment sees none of it.
	reader := string(d.stack.MustAPIKey(t, access.RoleReader).Text().Reveal())
	d.do(t, get(environmentsPath).as(reader)).mustRefuse(t, 403, "forbidden")
	d.do(t, post(environmentsPath, `{"name":"more"}`).as(reader)).mustRefuse(t, 403, "forbidden")
}

// TestEnvironmentsTrail: who made an environment stands in the trail and the events of the first one, its first key in
// those of the new one.
func TestEnvironmentsTrail(t *testing.T) {
	d := newDoor(t)
	reply := d.do(t, post(environmentsPath, `{"name":"sandbox"}`)).want(t, http.StatusCreated)
	made := reply.object(t)
	key := made["api_key"].(map[string]any)["value"].(string)
	var phases []audit.Phase
	for _, r := range d.stack.MustAuditOf(t, reply.header.Get("X-Request-Id")) {
		phases = append(phases, r.Phase)
		ofKey := r.Action == access.APIKeyCreate
		if ofKey != (r.EnvironmentID != d.stack.Environment.ID()) || !ofKey && (r.ObjectID != made["id"] || r.ObjectName != "sandbox") {
			t.Errorf("record %+v", r)
		}
	}
	if len(phases) != 3 {
		t.Errorf("phases %q", phases)
	}
	data := func(a answer, event string) map[string]any {
		for _, e := range a.want(t, 200).object(t)["data"].([]any) {
			if e := e.(map[string]any); e["event"] == event {
				return e["data"].(map[string]any)
			}
		}
		t.Fatalf("no %s in %s", event, a.body)
		return nil
	}
	created := data(d.do(t, get("/events?events=environment.created")), "environment.created")
	if created["id"] != made["id"] || created["name"] != "sandbox" || created["actor_id"] != d.stack.Call().Actor.ID() {
		t.Errorf("event %v", created)
	}
	first := data(d.do(t, get("/events?events=api_key.created,environment.created").as(key)), "api_key.created")
	if first["actor_source"] != "system" || first["id"] != made["api_key"].(map[string]any)["id"] {
		t.Errorf("event %v", first)
	}
}
