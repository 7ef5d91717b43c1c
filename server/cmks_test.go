package server_test

import (
	"strings"
	"testing"

	"culvert/connectors/connectorstest"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
	"culvert/pipes/pipestest"
)

const cmks = "/culvert/v1/cmks"

// newKMS is a KMS, and what opens customers' keys in it.
func newKMS(t testing.TB) (*keystest.AWS, keys.CMKSource) {
	t.Helper()
	keystest.SetAWSCredentials(t)
	kms := keystest.NewAWS(t)
	pool, err := awskms.NewPool(awskms.PoolConfig{Endpoint: kms.Endpoint()})
	must(t, err)
	return kms, pool
}

// attachBody is the body of POST /culvert/v1/cmks.
func attachBody(org, arn string) string {
	return `{"context_name":"organization_id","context_value":"` + org + `","key":"` + arn + `"}`
}

// mustAttach attaches a key to an organization, on a door without a runner, and returns the id of the CMK.
func (d *door) mustAttach(t testing.TB, arn, org string) string {
	t.Helper()
	job := d.do(t, post(cmks, attachBody(org, arn))).want(t, 201).object(t)
	runner := d.stack.MustRunner(t)
	defer runner.Close()
	if ended := d.mustEnd(t, jobs+"/"+job["id"].(string)); ended["state"] != "succeeded" || ended["backups_before"] != ended["ended_at"] {
		t.Fatalf("attaching ended as %v", ended)
	}
	return job["cmk_id"].(string)
}

// cmkVisits is what TestCanary sends to the routes of customers' keys: id is that of a CMK, arn a key that is
// not attached.
func cmkVisits(id, arn string) map[string]visit {
	one := cmks + "/" + id
	return map[string]visit{
		"POST /culvert/v1/cmks": {
			good: []request{post(cmks, `{"context_name":"o","context_value":"8","key":"`+arn+`","dry_run":true,"`+canary+`":"`+canary+`"}`)},
			bad: []request{post(cmks, canary), post(cmks, attachBody("org_8", canary)), post(cmks, attachBody("org_8", arn+canary)), post(cmks, attachBody("org_8", "local:"+canary)),
				post(cmks, `{"context_name":"`+canary+`=","context_value":"`+canary+`","key":"`+arn+`"}`),
				post(cmks, `{"context_name":"o","context_value":"8","key":["`+canary+`"]}`)},
		},
		"GET /culvert/v1/cmks":     {good: []request{get(cmks + "?" + canary)}, bad: []request{get(cmks + "?limit=" + canary), get(cmks + "?after=" + canary)}},
		"GET /culvert/v1/cmks/:id": {good: []request{get(one)}, bad: []request{get(cmks + "/" + canary)}},
		"POST /culvert/v1/cmks/:id/verify": {
			good: []request{post(one+"/verify", canary)}, bad: []request{post(cmks+"/"+canary+"/verify", canary)},
		},
		"DELETE /culvert/v1/cmks/:id": {
			good: []request{remove(one + "?rate=7")},
			bad:  []request{remove(cmks + "/" + canary), remove(one + "?dry_run=" + canary), remove(one + "?rate=" + canary)},
		},
	}
}

// TestCMKs: a customer's key is attached, and cuts everything of the customer when it is taken back: values,
// data keys and tokens, and nobody else's.
func TestCMKs(t *testing.T) {
	kms, source := newKMS(t)
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}, CMKs: source})
	arn := kms.NewKey(t, "444455556666")
	const theirs = `"key_context":{"organization_id":"org_1"}`
	object := d.do(t, post(kv, `{"name":"one","value":"v",`+theirs+`}`)).want(t, 201).object(t)["id"].(string)
	others := d.mustCreate(t, "other", "v")["id"].(string)
	d.mustIntegration(t, pipestest.Slug, "")
	const account = "/user_management/users/user_1/connected_accounts/provider"
	for _, of := range []string{account + "?organization_id=org_1", account} {
		d.do(t, post(of, `{"access_token":"at-1","scopes":["read"]}`)).want(t, 201)
	}
	vend := func(member string) answer {
		return d.do(t, post("/data-integrations/provider/token", `{"user_id":"user_1"`+member+`}`))
	}
	const inside = `,"organization_id":"org_1"`
	vend(inside).want(t, 200)

	id := d.mustAttach(t, arn, "org_1")
	want := map[string]any{
		"object": "cmk", "id": id, "context_name": "organization_id", "context_value": "org_1", "key_provider": "AWS_KMS",
		"key_uri": "awskms:" + arn, "state": "attached", "job_id": uuidShape, "created_at": eventTimeShape, "attached_at": eventTimeShape,
	}
	shape(t, d.do(t, get(cmks+"/"+id)).want(t, 200).object(t), want)
	shape(t, d.do(t, post(cmks+"/"+id+"/verify", "")).want(t, 200).object(t), want)
	page := d.do(t, get(cmks+"?limit=1")).want(t, 200).object(t)
	if data := page["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != id {
		t.Errorf("list: %v", page)
	}
	if told := d.do(t, get("/events?events=vault.byok_key.verification_completed")).want(t, 200); !strings.Contains(told.body,
		`"data":{"organization_id":"org_1","key_provider":"AWS_KMS","verified":true,"cmk_id":"`+id+`"}`) {
		t.Errorf("events: %s", told.body)
	}
	d.do(t, get(kv+"/"+object)).want(t, 200)
	vend(inside).want(t, 200)

	kms.Disable(arn)
	if a := d.do(t, post(cmks+"/"+id+"/verify", "")); a.status != 403 || !strings.Contains(a.body, "(DisabledException)") {
		t.Errorf("verify: %d %s", a.status, a.body)
	}
	// The refusal has taken all KEKs of the customer out of the cache.
	d.do(t, get(kv+"/"+object)).mustRefuse(t, 403, "cmk_refused")
	d.do(t, put(kv+"/"+object, `{"value":"w"}`)).mustRefuse(t, 403, "cmk_refused")
	d.do(t, post(kv, `{"name":"two","value":"v",`+theirs+`}`)).mustRefuse(t, 403, "cmk_refused")
	d.do(t, post("/vault/v1/keys/data-key", `{"context":{"organization_id":"org_1"}}`)).mustRefuse(t, 403, "cmk_refused")
	vend(inside).mustRefuse(t, 403, "cmk_refused")
	d.do(t, remove(cmks+"/"+id)).mustRefuse(t, 403, "cmk_refused")
	d.do(t, get(kv+"/"+others)).want(t, 200)
	vend("").want(t, 200)

	kms.Enable(arn)
	d.do(t, post(cmks+"/"+id+"/verify", "")).want(t, 200)
	d.do(t, get(kv+"/"+object)).want(t, 200)
	vend(inside).want(t, 200)

	d.do(t, post(cmks, attachBody("org_1", kms.NewKey(t, "444455556666")))).mustRefuse(t, 409, "cmk_exists")
	d.do(t, post(cmks, attachBody("org_2", arn+"0"))).mustRefuse(t, 403, "cmk_refused")
	d.do(t, post(cmks, attachBody("org_2", "/etc/passwd"))).want(t, 422)
	d.do(t, get(cmks+"?after=x")).mustRefuse(t, 400, "invalid_cursor")
	d.do(t, get(cmks+"/x")).mustRefuse(t, 404, "entity_not_found")
	d.do(t, remove(cmks+"/x")).mustRefuse(t, 404, "entity_not_found")
	d.do(t, remove(cmks+"/"+id+"?rate=x")).mustRefuse(t, 400, "invalid_query")
	job := d.do(t, remove(cmks+"/"+id)).want(t, 200).object(t)
	d.do(t, remove(cmks+"/"+id)).mustRefuse(t, 409, "cmk_busy")
	d.stack.MustRunner(t)
	if ended := d.mustEnd(t, jobs+"/"+job["id"].(string)); ended["state"] != "succeeded" || ended["backups_before"] != nil {
		t.Errorf("detaching ended as %v", ended)
	}
	d.do(t, get(cmks+"/"+id)).mustRefuse(t, 404, "entity_not_found")
	kms.Disable(arn)
	d.do(t, get(kv+"/"+object)).want(t, 200)
}
