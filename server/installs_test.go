package server_test

import (
	"strings"
	"testing"

	"culvert/pipes/pipestest"
)

const (
	keyPath    = "/data-integrations/keys/api-key"
	clientPath = "/data-integrations/machines/client-credentials"
)

// mustMachines configures a custom provider that takes client credentials alone: those of the test's provider.
func (d *door) mustMachines(t testing.TB) {
	t.Helper()
	d.do(t, post(integrations, `{"provider":"machines","enabled":true,"auth_methods":["client_credentials"],"scopes":["api"],
		"custom_provider":{"name":"Machines","token_url":"`+d.pipes.Provider.URL+`/token"}}`)).want(t, 201)
}

// mustKeys configures a custom provider that takes API keys alone.
func (d *door) mustKeys(t testing.TB) map[string]any {
	t.Helper()
	return d.do(t, post(integrations, `{"provider":"keys","enabled":true,"auth_methods":["api_key"],"custom_provider":{"name":"Keys"}}`)).want(t, 201).object(t)
}

// TestAPIKeyLife installs a key, rotates and vends it, member by member.
func TestAPIKeyLife(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	made := d.mustKeys(t)
	if made["redirect_uri"] != "" || made["state"] != "valid" || made["credentials"] != nil || made["installation"] != nil {
		t.Errorf("integration %v", made)
	}
	picture := accountPicture(map[string]any{"auth_method": "api_key", "api_key_last_4": "cdef"})
	account := d.do(t, put(keyPath, `{"user_id":"user_1","secret":"sk-1234567890abcdef"}`)).want(t, 200).object(t)
	shape(t, account, picture)
	shape(t, d.do(t, get("/user_management/users/user_1/connected_accounts/keys")).want(t, 200).object(t), account)
	vended := d.do(t, post("/data-integrations/keys/credentials", user1)).want(t, 200)
	shape(t, vended.object(t), map[string]any{"active": true, "credential": map[string]any{
		"object": "credential", "auth_method": "api_key", "value": "sk-1234567890abcdef", "config": map[string]any{},
	}})
	if got := vended.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q on a key", got)
	}
	const instead = "This installation uses api_key authentication. Use the POST /:slug/credentials endpoint instead."
	mismatch := d.do(t, post("/data-integrations/keys/token", user1))
	mismatch.mustRefuse(t, 422, "auth_method_mismatch")
	if got := mismatch.object(t)["message"]; got != instead {
		t.Errorf("message %v", got)
	}
	rotated := d.do(t, put(keyPath, `{"user_id":"user_1","organization_id":null,"connected_account_id":"`+account["id"].(string)+
		`","connection_owner":"user","connection_intent":"reauthorize","secret":"sk-other-key-7890","x":1}`)).want(t, 200).object(t)
	if rotated["id"] != account["id"] || rotated["api_key_last_4"] != "7890" {
		t.Errorf("rotated %v", rotated)
	}
	// Adding is another verb, and says so. The labels are the caller's.
	second := d.do(t, post(keyPath, `{"user_id":"user_1","secret":"sk-a-second-key","connection_intent":"add"}`)).want(t, 201).object(t)
	if second["connection_role"] != "standard" || second["id"] == account["id"] {
		t.Errorf("added %v", second)
	}
	d.do(t, put(keyPath, `{"user_id":"user_1","secret":"sk-whose-is-this"}`)).mustRefuse(t, 409, "account_selection_required")
	d.do(t, remove("/user_management/users/user_1/connected_accounts/keys?connected_account_id="+second["id"].(string))).want(t, 204)
	added := d.do(t, post(keyPath, `{"user_id":"user_2","secret":"short","connection_intent":"add","account_identifier":"acme","account_display_name":"Acme"}`)).want(t, 201).object(t)
	shape(t, added, accountPicture(map[string]any{
		"auth_method": "api_key", "user_id": "user_2", "account_identifier": "acme", "account_display_name": "Acme",
	}))
	providers := d.do(t, get("/user_management/users/user_1/data_providers")).want(t, 200).object(t)["data"].([]any)[0].(map[string]any)
	if providers["credentials_type"] != "api_key" || providers["credentialsType"] != "api_key" {
		t.Errorf("provider %v", providers)
	}
	d.do(t, remove("/user_management/users/user_1/connected_accounts/keys")).want(t, 204)
	shape(t, d.do(t, post("/data-integrations/keys/credentials", user1)).want(t, 200).object(t), map[string]any{"active": false, "error": "not_installed"})
}

// TestInstallRefused: what is wrong with an install, and its twin.
func TestInstallRefused(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustKeys(t)
	d.mustIntegration(t, pipestest.Slug, "")
	for name, c := range map[string]struct{ method, body, code string }{
		"no user":           {"PUT", `{"secret":"s"}`, "required"},
		"empty user":        {"PUT", `{"user_id":"","secret":"s"}`, "required"},
		"no secret":         {"PUT", `{"user_id":"u"}`, "required"},
		"empty secret":      {"PUT", `{"user_id":"u","secret":""}`, "required"},
		"secret of numbers": {"PUT", `{"user_id":"u","secret":7}`, "invalid_type"},
		"long secret":       {"PUT", `{"user_id":"u","secret":"` + strings.Repeat("s", 64<<10+1) + `"}`, "invalid_value"},
		"added by PUT":      {"PUT", `{"user_id":"u","secret":"s","connection_intent":"add"}`, "invalid_value"},
		"renewed by POST":   {"POST", `{"user_id":"u","secret":"s","connection_intent":"reauthorize"}`, "invalid_value"},
		"nothing by POST":   {"POST", `{"user_id":"u","secret":"s"}`, "required"},
		"selector by POST":  {"POST", `{"user_id":"u","secret":"s","connection_intent":"add","connected_account_id":"data_installation_01KAR8Z3S3Z0C5M2N1V7W9X4YQ"}`, "invalid_value"},
		"owner":             {"PUT", `{"user_id":"u","secret":"s","connection_owner":"` + marker + `"}`, "invalid_value"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(t, request{method: c.method, path: keyPath, body: c.body}).want(t, 422)
			mustList(t, a, c.code)
			if strings.Contains(a.body, marker) {
				t.Errorf("the input is repeated: %s", a.body)
			}
		})
	}
	d.do(t, put(keyPath, `{"user_id":"u","secret":"s","connected_account_id":"`+marker+`"}`)).mustRefuse(t, 400, "invalid_value")
	const good = `{"user_id":"u","secret":"s"}`
	d.do(t, put("/data-integrations/nobody/api-key", good)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, put("/data-integrations/provider/api-key", good)).mustRefuse(t, 422, "auth_method_mismatch")
	d.do(t, put(keyPath, `{"user_id":"u","secret":"s","connection_intent":"reauthorize"}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, put(keyPath, `{"user_id":"u","secret":"s"`)).mustRefuse(t, 400, "invalid_json")
	d.do(t, put(keyPath, good)).want(t, 200)
	d.do(t, put("/user_management/users/u/connected_accounts/keys", `{"access_token":"at"}`)).mustRefuse(t, 422, "auth_method_mismatch")
	d.do(t, put(integrations+"/keys", `{"enabled":false}`)).want(t, 200)
	d.do(t, put(keyPath, good)).mustRefuse(t, 400, "integration_disabled")
}

// TestIntegrationWithAPIKey: a create that brings a key shows whose it is, and later reads do not.
func TestIntegrationWithAPIKey(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	const body = `{"provider":"keys","enabled":true,"auth_methods":["api_key"],"custom_provider":{"name":"Keys"},
		"api_key":{"secret":"sk-1234567890abcdef","user_id":"user_1","organization_id":"org_1"}}`
	made := d.do(t, post(integrations, body)).want(t, 201).object(t)
	installation := map[string]any{
		"id": accountShape, "connection_role": "compatibility", "account_identifier": nil, "account_display_name": nil,
		"user_id": "user_1", "organization_id": "org_1", "api_key_last_4": "cdef",
	}
	shape(t, made["installation"], installation)
	if o := d.do(t, get(integrations+"/keys")).want(t, 200).object(t); o["installation"] != nil {
		t.Errorf("read: %v", o)
	}
	installation["api_key_last_4"] = "7890"
	updated := d.do(t, put(integrations+"/keys", `{"api_key":{"secret":"sk-other-key-7890","user_id":"user_1","organization_id":"org_1"}}`)).want(t, 200).object(t)
	shape(t, updated["installation"], installation)
	mustList(t, d.do(t, post(integrations, strings.Replace(body, "sk-1234567890abcdef", "1234", 1))).want(t, 422), "invalid_value")
	mustList(t, d.do(t, put(integrations+"/keys", `{"api_key":{"secret":"sk-other-key-7890","user_id":"u"},"credentials":{"type":"custom","client_id":"id"}}`)).want(t, 422), "invalid_value")
}

// TestClientCredentialsLife installs a client, and vends the token that the provider gave it.
func TestClientCredentialsLife(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustMachines(t)
	const good = `{"user_id":"user_1","client_id":"` + pipestest.ClientID + `","client_secret":"` + pipestest.ClientSecret + `"}`
	picture := accountPicture(map[string]any{
		"auth_method": "client_credentials", "client_id": pipestest.ClientID, "client_secret_last_4": "p5vJ", "scopes": []any{"api"},
	})
	account := d.do(t, put(clientPath, good)).want(t, 200).object(t)
	shape(t, account, picture)
	credential := d.do(t, post("/data-integrations/machines/credentials", user1)).want(t, 200).object(t)["credential"].(map[string]any)
	if !d.pipes.Provider.Alive(credential["value"].(string)) {
		t.Error("the token does not work")
	}
	shape(t, credential, map[string]any{
		"object": "credential", "auth_method": "client_credentials", "value": credential["value"], "expires_at": eventTimeShape,
		"scopes": []any{"api"}, "missing_scopes": []any{}, "metadata": map[string]any{}, "config": map[string]any{},
	})
	d.do(t, post("/data-integrations/machines/token", user1)).mustRefuse(t, 422, "auth_method_mismatch")
	d.do(t, put(clientPath, strings.Replace(good, pipestest.ClientSecret, "wrong", 1))).mustRefuse(t, 422, "invalid_client_credentials")
	if second := d.do(t, post(clientPath, strings.Replace(good, "}", `,"connection_intent":"add"}`, 1))).want(t, 201).object(t); second["connection_role"] != "standard" {
		t.Errorf("added %v", second)
	}
	mustList(t, d.do(t, put(clientPath, `{"user_id":"u","client_id":"c"}`)).want(t, 422), "required")
	mustList(t, d.do(t, put(clientPath, `{"user_id":"u","client_id":"","client_secret":"s"}`)).want(t, 422), "required")
	d.do(t, put(keyPath, `{"user_id":"u","secret":"s"}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, put("/data-integrations/machines/api-key", `{"user_id":"user_1","secret":"s"}`)).mustRefuse(t, 422, "auth_method_mismatch")
}
