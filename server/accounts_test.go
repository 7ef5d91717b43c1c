package server_test

import (
	"strings"
	"testing"
	"time"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

const account = "/user_management/users/user_1/connected_accounts/provider"

func accountPicture(members map[string]any) map[string]any {
	picture := map[string]any{
		"object": "connected_account", "id": accountShape, "connection_role": "compatibility",
		"account_identifier": nil, "account_display_name": nil, "user_id": "user_1", "organization_id": nil,
		"scopes": []any{}, "auth_method": "oauth", "api_key_last_4": nil, "client_id": nil, "client_secret_last_4": nil,
		"config": map[string]any{}, "state": "connected", "reason": nil, "reason_hint": nil, "token_names": []any{}, "created_at": eventTimeShape, "updated_at": eventTimeShape,
	}
	for name, value := range members {
		picture[name] = value
	}
	return picture
}

// TestAccountLife imports an account, reads, changes and removes it.
func TestAccountLife(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.do(t, get(account)).mustRefuse(t, 404, "entity_not_found")

	made := d.do(t, post(account, `{"access_token":"at-1","scopes":["read"],"connection_intent":"add"}`).with("Idempotency-Key", "retry-1")).want(t, 201).object(t)
	shape(t, made, accountPicture(map[string]any{"scopes": []any{"read"}}))
	shape(t, d.do(t, get(account+"?supports_multiple_connections=true&connected_account_id="+made["id"].(string))).want(t, 200).object(t), made)
	d.do(t, post(account, `{"access_token":"at-2"}`)).mustRefuse(t, 409, "account_exists")

	changed := d.do(t, put(account+"?connection_intent=reauthorize", `{"state":"needs_reauthorization","scopes":null}`)).want(t, 200).object(t)
	shape(t, changed, accountPicture(map[string]any{"state": "needs_reauthorization", "scopes": []any{"read"}, "reason": "set_by_caller", "reason_hint": pipes.ReasonHint("set_by_caller")}))
	changed = d.do(t, put(account, `{"access_token":"at-3","refresh_token":"rt-3","expires_at":"2126-01-01T00:00:00.5+02:00","scopes":["a","b"]}`)).want(t, 200).object(t)
	shape(t, changed, accountPicture(map[string]any{"scopes": []any{"a", "b"}}))
	if changed["id"] != made["id"] {
		t.Error("an update changed the account's id")
	}

	// Within an organization the same user has another account.
	inside := account + "?organization_id=org%2F1"
	d.do(t, get(inside)).mustRefuse(t, 404, "entity_not_found")
	without := d.do(t, request{method: "POST", path: inside}).want(t, 201).object(t) // no body: no tokens
	shape(t, without, accountPicture(map[string]any{"organization_id": "org/1", "state": "needs_reauthorization", "reason": "imported_without_tokens", "reason_hint": pipes.ReasonHint("imported_without_tokens")}))

	for _, path := range []string{account, inside} {
		if a := d.do(t, remove(path)).want(t, 204); a.body != "" {
			t.Errorf("204 with %q", a.body)
		}
		d.do(t, get(path)).mustRefuse(t, 404, "entity_not_found")
		d.do(t, remove(path)).mustRefuse(t, 404, "entity_not_found")
	}
	// Ids of users are the caller's own, whatever they look like.
	odd := strings.Replace(account, "user_1", "a%2Fb%20%C3%A9+", 1)
	o := d.do(t, post(odd, `{"access_token":"at"}`)).want(t, 201).object(t)
	if o["user_id"] != "a/b é+" {
		t.Errorf("user_id %q", o["user_id"])
	}
}

// TestHostileAccounts: selectors and tokens that are refused, each next to one that is not.
func TestHostileAccounts(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	const selector = "?connected_account_id="
	for path, code := range map[string]string{
		account + selector + marker: "invalid_query", account + selector + "data_installation_x": "invalid_query",
		account + selector + "a&connected_account_id=b":            "invalid_query",
		account + "?supports_multiple_connections=" + marker:       "invalid_query",
		account + "?organization_id=a&organization_id=b":           "invalid_query",
		account + "?organization_id=%FF":                           "invalid_query",
		account + "?x=%z" + marker:                                 "invalid_query",
		strings.Replace(account, "user_1", "%FF"+marker, 1):        "invalid_path",
		strings.Replace(account, "/provider", "/%FF", 1) + "?x=%7": "invalid_query",
	} {
		d.do(t, get(path)).mustRefuse(t, 400, code)
		d.do(t, remove(path)).mustRefuse(t, 400, code)
		d.do(t, put(path, `{}`)).mustRefuse(t, 400, code)
	}
	d.do(t, get(account+selector+"data_installation_01KAR8Z3S3Z0C5M2N1V7W9X4YQ")).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(strings.Replace(account, "/provider", "/"+strings.ToLower(marker), 1))).mustRefuse(t, 404, "entity_not_found")
	mustList(t, d.do(t, get(strings.Replace(account, "user_1", marker+"%00", 1))).want(t, 422), "invalid_value")

	ends := `"expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`
	for name, c := range map[string]struct{ body, code string }{
		"end without refresh token":  {`{"access_token":"` + marker + `",` + ends + `}`, "invalid_token_combination"},
		"end without access token":   {`{` + ends + `}`, "invalid_token_combination"},
		"refresh token alone":        {`{"refresh_token":"` + marker + `"}`, "invalid_token_combination"},
		"connected without a token":  {`{"state":"connected"}`, "invalid_token_combination"},
		"another state":              {`{"access_token":"x","state":"` + marker + `"}`, "invalid_value"},
		"disconnected":               {`{"access_token":"x","state":"disconnected"}`, "invalid_value"},
		"end in words":               {`{"access_token":"x","refresh_token":"y","expires_at":"` + marker + `"}`, "invalid_value"},
		"end as a number":            {`{"access_token":"x","refresh_token":"y","expires_at":1700000000}`, "invalid_type"},
		"Go's own zero time":         {`{"access_token":"x","expires_at":"0001-01-01T00:00:00Z"}`, "invalid_value"},
		"token as a number":          {`{"access_token":7}`, "invalid_type"},
		"scope with a control":       {`{"access_token":"x","scopes":["` + marker + `\u0000"]}`, "invalid_value"},
		"token larger than 64 KiB":   {`{"access_token":"` + strings.Repeat(marker, 8<<10) + `"}`, "invalid_value"},
		"scopes as one":              {`{"access_token":"x","scopes":"` + marker + `"}`, "invalid_type"},
		"more scopes than there are": {`{"access_token":"x","scopes":["a"` + strings.Repeat(`,"a"`, 300) + `]}`, "invalid_value"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(t, post(account, c.body)).want(t, 422)
			if strings.Contains(a.body, marker) {
				t.Errorf("the input is repeated: %s", a.body)
			}
			if c.code == "invalid_token_combination" {
				a.mustRefuse(t, 422, c.code)
				return
			}
			mustList(t, a, c.code)
		})
	}
	for _, body := range []string{`{`, `[]`, `{"access_token":"a","access_token":"b"}`, `{"Access_Token":"` + marker + `"}`, `{} {}`} {
		d.do(t, post(account, body)).mustRefuse(t, 400, "invalid_json")
	}
	d.do(t, post(account, `{"access_token":"x","refresh_token":"y",`+ends+`,"scopes":null,"state":null,"more":1}`)).want(t, 201)
}

// TestProviders lists what a user can connect, with every member the contract has, the old spellings
// included.
func TestProviders(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	made := d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Second, "organization") // not a user's
	const path = "/user_management/users/user_1/data_providers"
	provider := map[string]any{
		"object": "data_provider", "id": made["id"], "name": "Test provider", "description": nil, "slug": "provider",
		"integration_type": "custom", "credentials_type": "oauth2", "scopes": nil, "auth_methods": []any{"oauth"},
		"connection_owner": "user", "ownership": "userland_user", "created_at": eventTimeShape, "updated_at": eventTimeShape,
		"integrationType": "custom", "credentialsType": "oauth2", "preview": false, "createdAt": eventTimeShape, "updatedAt": eventTimeShape,
		"connected_account": nil, "connected_accounts": []any{},
	}
	want := map[string]any{"object": "list", "data": []any{provider}}
	shape(t, d.do(t, get(path)).want(t, 200).object(t), want)

	d.do(t, post(account, `{"access_token":"at","scopes":["read"]}`)).want(t, 201)
	nested := accountPicture(map[string]any{
		"scopes": []any{"read"}, "userlandUserId": "user_1", "organizationId": nil, "createdAt": eventTimeShape, "updatedAt": eventTimeShape,
	})
	provider["connected_account"], provider["connected_accounts"] = nested, []any{nested}
	shape(t, d.do(t, get(path+"?supports_multiple_connections=true&x=y")).want(t, 200).object(t), want)

	// Somebody else, and the same user within an organization, is not connected.
	provider["connected_account"], provider["connected_accounts"] = nil, []any{}
	shape(t, d.do(t, get(path+"?organization_id=org_1")).want(t, 200).object(t), want)
	shape(t, d.do(t, get(strings.Replace(path, "user_1", "user_2", 1))).want(t, 200).object(t), want)
	d.do(t, get(path+"?organization_id=a&organization_id=b")).mustRefuse(t, 400, "invalid_query")
}
