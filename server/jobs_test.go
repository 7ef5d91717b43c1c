package server_test

import (
	"strings"
	"testing"
	"time"
)

// mustJob makes a job over HTTP.
func (d *door) mustJob(t testing.TB, body string) map[string]any {
	t.Helper()
	return d.do(t, post(jobs, body)).want(t, 201).object(t)
}

// mustEnd waits for the end of a job.
func (d *door) mustEnd(t testing.TB, path string) map[string]any {
	t.Helper()
	var ended map[string]any
	for deadline := time.Now().Add(time.Minute); ended["ended_at"] == nil; time.Sleep(5 * time.Millisecond) {
		if ended = d.do(t, get(path)).want(t, 200).object(t); time.Now().After(deadline) {
			t.Fatalf("the job does not end: %v", ended)
		}
	}
	return ended
}

// TestJobs: a job is made, listed, run and cancelled, and says how far it is.
func TestJobs(t *testing.T) {
	d := newDoor(t)
	one := d.mustCreate(t, "one", "value")
	kek := one["key_id"].(string)
	d.do(t, post(keks+"/"+kek+"/rotate", "")).want(t, 200)
	job := func(state string, about map[string]any) map[string]any {
		shape := map[string]any{
			"object": "job", "id": uuidShape, "kind": "rewrap", "state": state, "reason": nil, "key_id": nil, "context_name": nil,
			"context_value": nil, "primaries_before": nil, "root_key": nil, "dry_run": false, "rate": 0.0, "total": 0.0, "done": 0.0, "changed": 0.0, "failed": 0.0,
			"unreadable": 0.0, "opened": 0.0, "shredded": 0.0, "refused": 0.0, "findings": []any{}, "caches_until": nil, "history_until": nil, "cmk_id": nil, "backups_before": nil, "actor_id": actorShape, "created_at": eventTimeShape, "started_at": nil, "ended_at": nil,
		}
		for name, value := range about {
			shape[name] = value
		}
		return shape
	}
	made := d.mustJob(t, `{"kind":"rewrap","context_name":"org","context_value":"o1","rate":7}`)
	shape(t, made, job("queued", map[string]any{"context_name": "org", "context_value": "o1", "rate": 7.0}))
	path := jobs + "/" + made["id"].(string)
	cancelled := d.do(t, post(path+"/cancel", "")).want(t, 200).object(t)
	shape(t, cancelled, job("cancelled", map[string]any{"context_name": "org", "context_value": "o1", "rate": 7.0, "ended_at": eventTimeShape}))

	shape(t, d.do(t, post(path+"/resume", "")).want(t, 200).object(t), job("queued", map[string]any{"context_name": "org", "context_value": "o1", "rate": 7.0}))
	d.do(t, post(path+"/cancel", "")).want(t, 200)

	d.stack.MustRunner(t)
	path = jobs + "/" + d.mustJob(t, `{"kind":"rewrap","key_id":"`+kek+`"}`)["id"].(string)
	ended := d.mustEnd(t, path)
	shape(t, ended, job("succeeded", map[string]any{
		"key_id": kek, "total": 1.0, "done": 1.0, "changed": 1.0, "started_at": eventTimeShape, "ended_at": eventTimeShape,
	}))
	d.do(t, post(path+"/cancel", "")).mustRefuse(t, 409, "job_ended")
	d.do(t, post(path+"/resume", "")).mustRefuse(t, 409, "job_not_cancelled")
	page := d.do(t, get(jobs+"?limit=1")).want(t, 200).object(t)
	if data := page["data"].([]any); len(data) != 1 || jobs+"/"+data[0].(map[string]any)["id"].(string) != path {
		t.Errorf("the newest job: %v", page)
	}
	told := d.do(t, get("/events?events=keys.job.created,keys.job.ended")).want(t, 200)
	if strings.Count(told.body, `"event":"keys.job.ended"`) != 3 || !strings.Contains(told.body, `"total":1,"done":1,"changed":1,"failed":0`) {
		t.Errorf("events: %s", told.body)
	}
	for body, code := range map[string]string{
		`{"kind":"rewrap","all":true,"rate":-1}`: "invalid_type", `{"kind":"rewrap","all":true,"rate":1.5}`: "invalid_type",
		`{"kind":"rewrap","all":true,"rate":99999999999}`: "invalid_type", `{"kind":"rewrap","all":true,"rate":"1"}`: "invalid_type",
		`{"kind":"rewrap","all":1}`: "invalid_type", `{"all":true}`: "required", `{"kind":"x","all":true}`: "invalid_value", `{"kind":"rewrap"}`: "invalid_value",
		`{"kind":"rewrap","context_name":"org"}`: "invalid_value", `{"kind":"rewrap","context_name":"","context_value":""}`: "invalid_value",
		`{"kind":"rotate","all":true,"older_than":"soon"}`: "invalid_value", `{"kind":"rewrap","all":true,"older_than":"1h"}`: "invalid_value",
	} {
		if a := d.do(t, post(jobs, body)).want(t, 422); !strings.Contains(a.body, `"code":"`+code+`"`) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	d.do(t, post(jobs, `{"kind":"shred","context_name":"org","context_value":"o1","confirm":"org=o2"}`)).want(t, 422)
	d.mustJob(t, `{"kind":"shred","context_name":"org","context_value":"o1","confirm":"org=o1"}`)
	// From the answer on, whatever the job has come to.
	d.do(t, get(kv+"/"+one["id"].(string))).mustRefuse(t, 403, "key_shredded")
	move := d.mustJob(t, `{"kind":"rewrap_root","all":true,"dry_run":true}`)
	if move["root_key"] != d.stack.Root.URI() {
		t.Errorf("a move to the root key %v, want the current one, %s", move["root_key"], d.stack.Root.URI())
	}
	d.do(t, get(jobs+"/"+d.stack.IDs.UUID())).mustRefuse(t, 404, "entity_not_found")
	d.do(t, post(jobs, `{"kind":"rewrap","key_id":"`+d.stack.IDs.UUID()+`"}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(jobs+"?after=x")).mustRefuse(t, 400, "invalid_cursor")
}
