package server_test

import (
	"strings"
	"testing"

	"culvert/internal/audit"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

const sharedAccount = "/organizations/org_1/connected_accounts/provider"

// TestOrganizationAccounts walks an account of an organization through its life: the member who acts is in
// the trail and not in the account, and neither his own accounts nor those of anybody within the
// organization are it.
func TestOrganizationAccounts(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Slug, "organization")
	within := account + "?organization_id=org_1"
	d.do(t, post(account, `{"access_token":"users-own"}`)).want(t, 201)
	d.do(t, post(within, `{"access_token":"within"}`)).want(t, 201)
	d.do(t, get(sharedAccount)).mustRefuse(t, 404, "entity_not_found")

	a := d.do(t, post(sharedAccount, `{"user_id":"user_1","access_token":"shared","scopes":["read"]}`)).want(t, 201)
	made := a.object(t)
	shape(t, made, accountPicture(map[string]any{"user_id": nil, "organization_id": "org_1", "scopes": []any{"read"}}))
	for _, r := range d.stack.MustAuditOf(t, a.header.Get("X-Request-Id")) {
		if r.UserID != "user_1" || r.OrganizationID != "org_1" || r.Phase != audit.Intent && r.Phase != audit.Outcome {
			t.Errorf("record %+v", r)
		}
	}
	d.do(t, post(sharedAccount, `{"user_id":"user_2","access_token":"again"}`)).mustRefuse(t, 409, "account_exists")
	shape(t, d.do(t, get(sharedAccount+"?supports_multiple_connections=true&connected_account_id="+made["id"].(string))).want(t, 200).object(t), made)
	d.do(t, get(account+"?connected_account_id="+made["id"].(string))).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(strings.Replace(sharedAccount, "org_1", "org_2", 1))).mustRefuse(t, 404, "entity_not_found")

	// Each member is given the same token, and by another owner each his own.
	for body, want := range map[string]string{
		`{"user_id":"user_1"}`:                           "users-own",
		`{"user_id":"user_1","organization_id":"org_1"}`: "within",
		`{"user_id":"user_1","organization_id":"org_1","connection_owner":"organization"}`: "shared",
		`{"user_id":"user_9","organization_id":"org_1","connection_owner":"organization"}`: "shared",
	} {
		token := d.do(t, post(tokenPath, body)).want(t, 200).object(t)["access_token"].(map[string]any)
		if token["access_token"] != want {
			t.Errorf("%s: vended %v", body, token["access_token"])
		}
	}
	d.do(t, post(tokenPath, `{"user_id":"","organization_id":"org_1","connection_owner":"organization"}`)).want(t, 422)

	changed := d.do(t, put(sharedAccount, `{"user_id":"user_2","state":"needs_reauthorization"}`)).want(t, 200).object(t)
	shape(t, changed, accountPicture(map[string]any{
		"user_id": nil, "organization_id": "org_1", "scopes": []any{"read"}, "state": "needs_reauthorization",
		"reason": "set_by_caller", "reason_hint": pipes.ReasonHint("set_by_caller"),
	}))
	d.do(t, remove(sharedAccount)).want(t, 204)
	d.do(t, remove(sharedAccount)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(account)).want(t, 200)
	d.do(t, get(within)).want(t, 200)
}

// TestHostileOrganizationAccounts: who acts has to be said, and ids are the caller's own, whatever they look like.
func TestHostileOrganizationAccounts(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "organization")
	for body, code := range map[string]string{
		`{"access_token":"x"}`: "required", `{"user_id":"","access_token":"x"}`: "required", `{"user_id":7}`: "invalid_type",
		`{"user_id":"` + marker + `\u0000"}`: "invalid_value",
	} {
		for _, q := range []request{post(sharedAccount, body), put(sharedAccount, body)} {
			a := d.do(t, q).want(t, 422)
			if mustList(t, a, code); strings.Contains(a.body, marker) {
				t.Errorf("the input is repeated: %s", a.body)
			}
		}
	}
	d.do(t, request{method: "POST", path: sharedAccount}).mustRefuse(t, 400, "invalid_json")
	for path, code := range map[string]string{
		sharedAccount + "?connected_account_id=" + marker:          "invalid_query",
		sharedAccount + "?supports_multiple_connections=" + marker: "invalid_query",
		strings.Replace(sharedAccount, "org_1", "%FF"+marker, 1):   "invalid_path",
	} {
		d.do(t, get(path)).mustRefuse(t, 400, code)
		d.do(t, post(path, user1)).mustRefuse(t, 400, code)
	}
	mustList(t, d.do(t, get(strings.Replace(sharedAccount, "org_1", marker+"%00", 1))).want(t, 422), "invalid_value")
	odd := strings.Replace(sharedAccount, "org_1", "..%2F%C3%A9", 1)
	if made := d.do(t, post(odd, `{"user_id":"user_1","access_token":"x"}`)).want(t, 201).object(t); made["organization_id"] != "../é" {
		t.Errorf("organization_id %q", made["organization_id"])
	}
}

// TestOrganizationProviders lists what an organization can connect, which is not what its members can.
func TestOrganizationProviders(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Second, "")
	d.mustIntegration(t, pipestest.Slug, "organization")
	d.do(t, post(sharedAccount, `{"user_id":"user_1","access_token":"shared"}`)).want(t, 201)
	for path, account := range map[string]any{
		"/organizations/org_1/data_providers": accountPicture(map[string]any{
			"user_id": nil, "organization_id": "org_1", "userlandUserId": nil, "organizationId": "org_1",
			"createdAt": eventTimeShape, "updatedAt": eventTimeShape,
		}),
		"/organizations/org_2/data_providers": nil,
	} {
		data := d.do(t, get(path)).want(t, 200).object(t)["data"].([]any)
		if len(data) != 1 {
			t.Fatalf("%s: %d providers", path, len(data))
		}
		p := data[0].(map[string]any)
		if p["slug"] != pipestest.Slug || p["connection_owner"] != "organization" || p["ownership"] != "organization" {
			t.Errorf("%s: %v", path, p)
		}
		shape(t, p["connected_account"], account)
	}
}
