package server_test

import (
	"strings"
	"testing"
	"time"
)

const schedule = "/culvert/v1/rotation-schedule"

// scheduleVisits is what TestCanary sends to the routes of the rotation schedule.
func scheduleVisits() map[string]visit {
	return map[string]visit{
		"GET /culvert/v1/rotation-schedule": {bad: []request{get(schedule + "?" + canary + "=%z")}},
		"PUT /culvert/v1/rotation-schedule": {
			good: []request{put(schedule, `{"older_than":"2160h","every":"1h","rewrap":true,"`+canary+`":"`+canary+`"}`)},
			bad: []request{put(schedule, canary), put(schedule, `{"older_than":"`+canary+`"}`), put(schedule, `{"older_than":["`+canary+`"]}`),
				put(schedule, `{"older_than":"2160h","every":"`+canary+`"}`), put(schedule, `{"older_than":"2160h","rewrap":"`+canary+`"}`),
				put(schedule, `{"older_than":"2160h","rate":"`+canary+`"}`)},
		},
		"DELETE /culvert/v1/rotation-schedule": {good: []request{remove(schedule + "?" + canary)}, bad: []request{remove(schedule + "?" + canary + "=%z")}},
	}
}

// TestSchedule: a schedule is set, shown, followed, replaced and removed.
func TestSchedule(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, "one", "value")
	d.do(t, get(schedule)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, remove(schedule)).mustRefuse(t, 404, "entity_not_found")
	want := map[string]any{
		"object": "rotation_schedule", "older_than": "2160h", "every": "24h", "rewrap": false, "rate": 0.0, "actor_id": actorShape,
		"updated_at": eventTimeShape, "next_at": eventTimeShape, "last_at": nil, "rotation": nil, "rewrapping": nil,
	}
	shape(t, d.do(t, put(schedule, `{"older_than":"2160h"}`)).want(t, 200).object(t), want)
	shape(t, d.do(t, get(schedule)).want(t, 200).object(t), want)
	want["older_than"], want["every"], want["rewrap"], want["rate"] = "24h0m1s", "1h30m", true, 7.0
	shape(t, d.do(t, put(schedule, `{"older_than":"24h0m1s","every":"90m","rewrap":true,"rate":7}`)).want(t, 200).object(t), want)
	for body, code := range map[string]string{
		`{}`: "required", `{"older_than":"soon"}`: "invalid_value", `{"older_than":"23h59m"}`: "invalid_value", `{"older_than":"87601h"}`: "invalid_value", `{"older_than":"-2160h"}`: "invalid_value",
		`{"older_than":2160}`: "invalid_type", `{"older_than":"2160h","every":"59s"}`: "invalid_value", `{"older_than":"2160h","every":"8761h"}`: "invalid_value",
		`{"older_than":"2160h","every":"0s"}`: "invalid_value", `{"older_than":"2160h","rewrap":1}`: "invalid_type", `{"older_than":"2160h","rate":1000001}`: "invalid_value",
	} {
		if a := d.do(t, put(schedule, body)).want(t, 422); !strings.Contains(a.body, `"code":"`+code+`"`) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	shape(t, d.do(t, get(schedule)).want(t, 200).object(t), want)

	d.stack.MustRunner(t)
	began := d.awaitRotation(t)
	if began["actor_id"] != "system" || began["kind"] != "rotate" || began["rate"] != 7.0 || began["primaries_before"] == nil {
		t.Errorf("the job of the schedule: %v", began)
	}
	if ended := d.mustEnd(t, jobs+"/"+began["id"].(string)); ended["state"] != "succeeded" || ended["done"] != 1.0 || ended["changed"] != 0.0 {
		t.Errorf("the job of the schedule ended as %v", ended)
	}
	d.do(t, remove(schedule)).want(t, 204)
	d.do(t, get(schedule)).mustRefuse(t, 404, "entity_not_found")
	told := d.do(t, get("/events?events=keys.schedule.updated,keys.schedule.deleted,keys.job.created")).want(t, 200)
	for text, n := range map[string]int{
		`"event":"keys.schedule.updated"`: 2, `"event":"keys.schedule.deleted"`: 1, `"event":"keys.job.created"`: 1,
		`"older_than":"24h0m1s","every":"1h30m0s","rewrap":true`: 2, `"actor_id":"system","actor_source":"system","actor_name":"rotation schedule"`: 1,
	} {
		if strings.Count(told.body, text) != n {
			t.Errorf("not %d times %s in the events: %s", n, text, told.body)
		}
	}
}

// awaitRotation waits for the job that the schedule begins.
func (d *door) awaitRotation(t testing.TB) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if began, ok := d.do(t, get(schedule)).want(t, 200).object(t)["rotation"].(map[string]any); ok {
			return began
		}
	}
	t.Fatal("the schedule begins nothing")
	return nil
}
