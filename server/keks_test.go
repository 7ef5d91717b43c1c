package server_test

import (
	"fmt"
	"strings"
	"testing"
)

const (
	keks = "/culvert/v1/keks"
	jobs = "/culvert/v1/jobs"
)

// keyVisits is what TestCanary sends to the routes of operations on keys. Context items are not secret
// by design, so no well-formed one holds the canary.
func keyVisits(kek, job string) map[string]visit {
	return map[string]visit{
		"GET /culvert/v1/keks": {
			good: []request{get(keks), get(keks + "?context_name=o&context_value=1&" + canary + "=1")},
			bad: []request{get(keks + "?limit=" + canary), get(keks + "?after=" + canary), get(keks + "?context_name=" + canary),
				get(keks + "?context_name=" + canary + "%00&context_value=" + canary), get(keks + "?context_value=" + canary), get(keks + "?counts=" + canary)},
		},
		"GET /culvert/v1/keks/:id":         {good: []request{get(keks + "/" + kek)}, bad: []request{get(keks + "/" + canary), get(keks + "/" + kek + "?" + canary + "=%z")}},
		"POST /culvert/v1/keks/:id/rotate": {good: []request{post(keks+"/"+kek+"/rotate", canary)}, bad: []request{post(keks+"/"+canary+"/rotate", canary)}},
		"POST /culvert/v1/jobs": {
			good: []request{post(jobs, `{"kind":"rewrap","all":true,"`+canary+`":"`+canary+`"}`), post(jobs, `{"kind":"rewrap_root","all":true,"dry_run":true}`), post(jobs, `{"kind":"reencrypt","all":true,"dry_run":true}`)},
			bad: []request{post(jobs, canary), post(jobs, `{"kind":"`+canary+`","all":true}`), post(jobs, `{"kind":"rewrap","key_id":"`+canary+`"}`),
				post(jobs, `{"kind":"rotate","all":true,"older_than":"`+canary+`"}`), post(jobs, `{"kind":"rewrap","all":"`+canary+`"}`),
				post(jobs, `{"kind":"rewrap","all":true,"rate":"`+canary+`"}`), post(jobs, `{"kind":"rewrap","context_name":"`+canary+`"}`),
				post(jobs, `{"kind":"shred","context_name":"o","context_value":"1","confirm":"`+canary+`"}`)},
		},
		"GET /culvert/v1/jobs":             {good: []request{get(jobs)}, bad: []request{get(jobs + "?limit=" + canary), get(jobs + "?after=" + canary)}},
		"GET /culvert/v1/jobs/:id":         {good: []request{get(jobs + "/" + job)}, bad: []request{get(jobs + "/" + canary)}},
		"POST /culvert/v1/jobs/:id/cancel": {good: []request{post(jobs+"/"+job+"/cancel", canary)}, bad: []request{post(jobs+"/"+canary+"/cancel", canary)}},
		"POST /culvert/v1/jobs/:id/resume": {good: []request{post(jobs+"/"+job+"/resume", canary)}, bad: []request{post(jobs+"/"+canary+"/resume", canary)}},
	}
}

// TestKEKs: KEKs are listed, described and rotated, and what was stored before a rotation is read after.
func TestKEKs(t *testing.T) {
	d := newDoor(t)
	one := d.mustCreate(t, "one", "value")
	other := d.do(t, post(kv, createBody("other", "v"))).want(t, 201).object(t)
	id := one["key_id"].(string)
	kek := func(versions float64, primary, records, stale any) map[string]any {
		return map[string]any{
			"object": "kek", "id": id, "key_context": map[string]any{"org": "o1"}, "state": "active",
			"created_at": eventTimeShape, "versions": versions, "primary_created_at": primary, "shredded_at": nil,
			"records": records, "stale_records": stale,
			"root_keys": []any{map[string]any{"slot": "root", "uri": d.stack.Root.URI()}},
		}
	}
	page := d.do(t, get(keks)).want(t, 200).object(t)
	if data := page["data"].([]any); len(data) != 2 || page["object"] != "list" {
		t.Fatalf("list: %v", page)
	}
	shape(t, page["data"].([]any)[0], kek(1, eventTimeShape, 1.0, 0.0))
	uncounted := d.do(t, get(keks+"?counts=false")).want(t, 200).object(t)
	shape(t, uncounted["data"].([]any)[0], kek(1, eventTimeShape, nil, nil))
	ofItem := d.do(t, get(keks+"?context_name=org&context_value=o1")).want(t, 200).object(t)
	if data := ofItem["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != id {
		t.Errorf("of an item: %v", ofItem)
	}
	first := d.do(t, get(keks+"?limit=1")).want(t, 200).object(t)
	after := first["list_metadata"].(map[string]any)["after"]
	second := d.do(t, get(fmt.Sprintf("%s?limit=1&after=%s", keks, after))).want(t, 200).object(t)
	if data := second["data"].([]any); after != id || data[0].(map[string]any)["id"] != other["key_id"] {
		t.Errorf("second page: %v after %v", second, after)
	}
	shape(t, d.do(t, post(keks+"/"+id+"/rotate", "")).want(t, 200).object(t), kek(2, eventTimeShape, nil, nil))
	shape(t, d.do(t, get(keks+"/"+id)).want(t, 200).object(t), kek(2, eventTimeShape, 1.0, 1.0))
	if got := d.do(t, get(kv+"/"+one["id"].(string))).want(t, 200); !strings.Contains(got.body, `"value":"value"`) {
		t.Errorf("after the rotation: %s", got.body)
	}
	told := d.do(t, get("/events?events=vault.kek.rotated")).want(t, 200)
	if !strings.Contains(told.body, id) {
		t.Errorf("events: %s", told.body)
	}
	unknown := keks + "/" + d.stack.IDs.UUID()
	d.do(t, get(unknown)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, post(unknown+"/rotate", "")).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(keks+"?context_name=org")).mustRefuse(t, 400, "invalid_query")
	d.do(t, get(keks+"?context_value=o1")).mustRefuse(t, 400, "invalid_query")
	d.do(t, get(keks+"?after=nope")).mustRefuse(t, 400, "invalid_cursor")
	d.do(t, get(keks+"?counts=maybe")).mustRefuse(t, 400, "invalid_query")
	d.do(t, get(keks+"?limit=0")).mustRefuse(t, 400, "invalid_query")
	d.do(t, get(keks+"?context_name=a%00&context_value=b")).mustRefuse(t, 422, "invalid_request_parameters")
}
