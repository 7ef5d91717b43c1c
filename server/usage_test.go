package server_test

import (
	"strings"
	"testing"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

// TestQuota: what an environment may not hold as well is a 403 that names the setting, whose usage says the same.
func TestQuota(t *testing.T) {
	d := newDoorWith(t, vaulttest.Config{Quota: vault.Quota{Objects: 1, Bytes: 1000}}, nil)
	first := d.mustCreate(t, "first", "value")
	a := d.do(t, create(createBody("second", "value")))
	a.mustRefuse(t, 403, "quota_exceeded")
	if !strings.Contains(a.body, "limits.objects_per_environment") {
		t.Error(a.body)
	}
	a = d.do(t, put(kv+"/"+first["id"].(string), `{"value":"`+strings.Repeat("v", 1000)+`"}`))
	a.mustRefuse(t, 403, "quota_exceeded")
	if !strings.Contains(a.body, "limits.bytes_per_environment") {
		t.Error(a.body)
	}
	has := d.do(t, get("/culvert/v1/usage")).want(t, 200).object(t)
	if bytes := has["bytes"].(float64); bytes < 5 || bytes > 200 {
		t.Errorf("%v bytes", bytes)
	}
	delete(has, "bytes")
	shape(t, has, map[string]any{"object": "usage", "objects": 1.0, "at_least": false, "objects_limit": 1.0, "bytes_limit": 1000.0})
	d.do(t, remove(kv+"/"+first["id"].(string))).want(t, 200)
	d.mustCreate(t, "second", "value")
	shape(t, newDoor(t).do(t, get("/culvert/v1/usage")).want(t, 200).object(t), map[string]any{
		"object": "usage", "objects": 0.0, "at_least": false, "bytes": 0.0, "objects_limit": nil, "bytes_limit": nil,
	})
}
